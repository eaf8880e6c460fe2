/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * List and watch of one kind of objects; for kubernetes.c alone.
 *
 *   list, page by page -> watch from its version -> (lost: watch again) -> (410: list again)
 */
#pragma once

#include "base/text.h"
#include "registry/kubernetes_config.h"
#include "registry/kubernetes_join.h"
#include "registry/registry.h"

#define KUBERNETES_LINE (4u << 20) /* bytes of one event; an object is at most 1.5 MiB */

struct kubernetes;

struct kubernetes_watch {
	struct kubernetes *k;
	enum kubernetes_kind kind;
	bool watching; /* what the next request is: a watch, or a (page of a) list */
	bool listed;   /* whole, at least once */
	bool denied;   /* nodes: we may not read them, and do without */
	bool beta;     /* slices: discovery.k8s.io/v1beta1 */
	bool is_gone;  /* within a watch: its version is too old */
	bool is_bad;   /* within a watch: it said what cannot be understood, or not be kept */
	struct kubernetes_refusal refusal; /* within a watch */
	char version[KUBERNETES_VERSION], next[KUBERNETES_CONTINUE];
	struct text_buffer line; /* of a watch: the beginning of one */
	struct fetch *fetch;
	uv_timer_t timer; /* until the next try */
	uint64_t wait_ms;
};

struct kubernetes {
	struct registry *r;
	struct kubernetes_access access;
	struct kubernetes_join *join;
	struct kubernetes_watch watches[_KUBERNETES_KIND_MAX];
	uv_timer_t settle; /* until the first change is due */
	size_t left_out;   /* told so far */
	unsigned int n_closing;
	bool told;
};

void kubernetes_watch_begin(struct kubernetes_watch *w);
/* Ends its request; the timer is the caller's to close. */
void kubernetes_watch_stop(struct kubernetes_watch *w);

/* --- what a watch tells the source (kubernetes.c) --------------------------------------------- */

/* A kind was listed whole (again), or we do without it. */
void kubernetes_on_listed(struct kubernetes *k);
/* Objects changed. */
void kubernetes_on_change(struct kubernetes *k);
/* The server knows us no more. */
void kubernetes_on_unauthorized(struct kubernetes *k);
