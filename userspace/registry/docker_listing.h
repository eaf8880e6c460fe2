/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The list of a Docker Engine's containers, asked for and said; for docker.c alone.
 *
 *   list -> (Podman: inspect those that matter) -> say -> again after an event, or a while
 */
#pragma once

#include "base/text.h"
#include "registry/docker_decode.h"
#include "registry/draft.h"
#include "registry/registry.h"

#define DOCKER_ANSWER_MS 10000
#define DOCKER_DEAD 256

/* An answer about one container, kept while nothing happens to it. */
struct inspected {
	struct docker_list one;
};

/* The engine tells that a container died before its list does. */
struct dead {
	char id[DOCKER_ID]; /* "": a free place */
	uint64_t until_ms;
};

struct docker {
	struct registry *r;
	char *socket; /* NULL: TCP */
	char *base;   /* "http://docker" */
	struct sn_addr node;
	struct draft_service *draft;
	char version[16];      /* "v1.41" */
	uint64_t since_ns;     /* of the last event; 0: none yet */
	uint64_t pinged_s;     /* the engine's clock at the ping */
	struct fetch *control; /* ping, then the event stream */
	struct fetch *ask;     /* list, or inspect */
	uv_timer_t reconnect, again;
	uint64_t stream_wait_ms; /* after a short one; lists may go well meanwhile */
	bool is_listing, missed; /* missed: something happened meanwhile */
	bool is_bad;             /* the event stream said what cannot be understood */
	struct text_buffer line;
	struct docker_list list; /* the one being completed */
	size_t next, passes;     /* of its containers, the one to inspect */
	struct inspected *inspected;
	size_t n_inspected;
	struct dead dead[DOCKER_DEAD];
	size_t looks; /* of looks_ms, done since the last event */
	uint64_t began_us;
	unsigned int n_closing;
};

void docker_listing_init(struct docker *d);
/* Everything but the timer, which is the caller's to close. */
void docker_listing_done(struct docker *d);
/* A list in `ms`, unless one is due before; once docker.c knows the version. */
void docker_listing_in(struct docker *d, uint64_t ms);
/* What an event means for the next list, which is soon. */
void docker_listing_note(struct docker *d, const struct docker_event *e);
/* What was inspected of that container; NULL: of all. */
void docker_listing_forget(struct docker *d, const char *id);

/* One request; path without the version. Its `arg` is d. As fetch_begin(). */
int docker_listing_ask(struct docker *d, const char *path, struct fetch_request *request,
		       struct fetch **ret);
void docker_listing_say_failure(struct docker *d, const char *what,
				const struct fetch_result *result);
