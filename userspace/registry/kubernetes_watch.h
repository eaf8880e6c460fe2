/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The parts of the Kubernetes source that know each other; for kubernetes*.c alone.
 *
 *   kubernetes_access: who we are, and requests    kubernetes_discover: what the server offers
 *   kubernetes_watch: list and watch of one kind   kubernetes: what comes of it, and life
 *   kubernetes_pods: this node's pods, while they are wanted, by a watch or (kubernetes_kubelet)
 *   asked of the kubelet
 *   kubernetes_look: whether it is so, asked beside the watches
 *
 *   list, page by page, or as a stream -> watch from its version -> (lost: check, watch again) ->
 * (410, or another history: list again)
 */
#pragma once

#include "base/text.h"
#include "registry/kubernetes_config.h"
#include "registry/kubernetes_exec.h"
#include "registry/kubernetes_join.h"
#include "registry/kubernetes_policy.h"
#include "registry/pods.h"
#include "registry/registry.h"

#define KUBERNETES_PAGE 500        /* objects of a list's page */
#define KUBERNETES_LINE (4u << 20) /* bytes of one event; an object is at most 1.5 MiB */

struct kubernetes;

struct kubernetes_mark {
	char namespace[64], name[KUBERNETES_NAME + 1];
	struct kubernetes_identity identity; /* version 0: none is known */
};

struct kubernetes_watch {
	struct kubernetes *k;
	enum kubernetes_kind kind;
	/* What the next request is. */
	enum kubernetes_step {
		KUBERNETES_LIST,
		KUBERNETES_STREAM,
		KUBERNETES_CHECK,
		KUBERNETES_WATCH
	} step;
	bool waits;    /* for kubernetes_go() */
	bool listed;   /* whole, at least once */
	bool relisted; /* since a look forgot its version */
	bool denied;   /* nodes, ConfigMaps, pods: we may not read them, and do without */
	bool failing;  /* since its last good answer */
	bool is_gone;  /* within a stream: its version is too old */
	bool is_bad;   /* within a stream: it said what cannot be understood, or not be kept */
	struct kubernetes_refusal refusal; /* within a stream */
	unsigned int streams;              /* that ended before they were whole */
	unsigned int page;                 /* objects of one */
	char version[KUBERNETES_VERSION], next[KUBERNETES_CONTINUE];
	struct kubernetes_mark newest; /* what a server that lost its last changes does not have */
	struct text_buffer line;       /* of a stream: the beginning of one */
	struct fetch *fetch;
	uint64_t heard_ms; /* loop time */
	uv_timer_t timer;  /* until the next try */
	uint64_t wait_ms;
};

/* A second look at a service: first at its slices, then at itself. */
struct kubernetes_look {
	struct fetch *fetch;
	enum kubernetes_kind kind;
	char namespace[64], name[64];         /* of the Service */
	char say_namespace[64], say_name[64]; /* of the service that comes of it */
	unsigned int differs;                 /* looks in a row that saw something else */
	bool all; /* everything is being listed anew, to be said as a whole */
};

struct kubernetes {
	struct registry *r;
	struct kubernetes_access access, older; /* who connects has the paths of older ones */
	struct kubernetes_exec *exec;
	uint64_t credential_ms, usable_ms; /* loop time: when it was got, until when it is used */
	uv_timer_t again; /* until the next try to find out, or to get credentials */
	struct fetch *discovery;
	bool discovered, knows_release;
	bool streams;       /* lists may be asked for as streams */
	const char *slices; /* "v1": the version of their API */
	struct kubernetes_join *join;
	struct kubernetes_policies *policies;
	struct kubernetes_watch watches[_KUBERNETES_KIND_MAX];
	struct kubernetes_look look;
	uv_timer_t settle; /* until the first change is due */
	uv_timer_t pods_again;
	bool pods_changed;
	struct fetch *kubelet;
	uint64_t kubelet_wait_ms; /* the last wait between tries */
	uint64_t pods_asked_ms;   /* loop time: until then nobody needs to ask for a missed one */
	uint64_t pods_wait_ms;    /* the last wait before they were listed anew; 0: all is known */
	size_t left_out;          /* told so far */
	uint64_t maps_ms;         /* loop time when they were listed for room that was freed */
	unsigned int n_closing;
	bool told, stopping;
	char node[KUBERNETES_NAME + 1]; /* this one, as far as we know */
};

/* --- kubernetes_access.c ---------------------------------------------------------------------- */

/* Begins it, with our credentials and the server's address before request->url, if that begins with
 * a slash; else it is a kubelet's, who gets no token but over TLS. -EAGAIN: credentials are being
 * got, kubernetes_go() is called then. Other errors are said.
 */
int kubernetes_ask(struct kubernetes *k, struct fetch_request *request, struct fetch **ret);
/* The server knew us not, in a request of so long: credentials got before it are no good. */
void kubernetes_distrust(struct kubernetes *k, uint64_t elapsed_us);
void kubernetes_access_stop(struct kubernetes *k);

/* Says a failure; `verb` and `resource` name what was asked. */
struct kubernetes_failure {
	const char *verb, *resource;
	enum registry_error error;
	const struct fetch_result *result;
};
/* How long the server wants to be left alone, in ms. */
uint64_t kubernetes_say_failure(struct kubernetes *k, const struct kubernetes_failure *f);
/* What a person may do about it; "": nothing. */
void kubernetes_hint(const struct kubernetes *k, const struct kubernetes_failure *f,
		     char ret[static 200]);

/* --- kubernetes_discover.c -------------------------------------------------------------------- */

/* Finds out what the server offers; then kubernetes_go(). */
void kubernetes_discover(struct kubernetes *k);

/* --- kubernetes_watch.c ----------------------------------------------------------------------- */

void kubernetes_watch_begin(struct kubernetes_watch *w);
/* Ends its request; the timer is the caller's to close. */
void kubernetes_watch_stop(struct kubernetes_watch *w);
/* Its connection may be as dead as another's: it is asked anew. */
void kubernetes_watch_doubt(struct kubernetes_watch *w);
/* The server has another history than the one that it knows: it lists anew. */
void kubernetes_watch_forget(struct kubernetes_watch *w);

/* --- kubernetes_pods.c ------------------------------------------------------------------------ */

void kubernetes_pods_begin(struct kubernetes *k);
void kubernetes_pods_end(struct kubernetes *k);
void kubernetes_pods_put(struct kubernetes *k, struct kubernetes_object *o); /* takes it */
void kubernetes_pods_delete(struct kubernetes *k, const struct kubernetes_object *o);
/* Tells what has changed since it was told last. */
void kubernetes_pods_on_change(struct kubernetes *k);
void kubernetes_pods_heard(struct kubernetes *k); /* they may be read, and were */
void kubernetes_pods_failed(struct kubernetes *k, const struct kubernetes_failure *f);
/* See struct registry_kind. */
void kubernetes_want_pods(struct registry *r, bool wanted);
void kubernetes_ask_pods(struct registry *r);

/* --- kubernetes_kubelet.c --------------------------------------------------------------------- */

/* Asks config->kubelet for its pods, now and then at each interval, or once after `ms` first. */
void kubernetes_kubelet_ask(struct kubernetes *k);
void kubernetes_kubelet_later(struct kubernetes *k, uint64_t ms);
void kubernetes_kubelet_stop(struct kubernetes *k);

/* --- kubernetes_look.c ------------------------------------------------------------------------ */

/* As registry.h has it. */
int kubernetes_look(struct registry *r, const char *namespace, const char *name);
/* Whether a look at everything has come to its end just now: all is to be said. */
bool kubernetes_look_is_over(struct kubernetes *k);

/* --- kubernetes.c ----------------------------------------------------------------------------- */

/* Whoever waits goes on, if it can: what the server offers is known, credentials are there. */
void kubernetes_go(struct kubernetes *k);
/* A list of a kind begins, it was whole, and an object is gone (it is taken). */
void kubernetes_on_begin(struct kubernetes_watch *w);
void kubernetes_on_whole(struct kubernetes_watch *w);
void kubernetes_on_deleted(struct kubernetes *k, struct kubernetes_object *o);
/* A kind was listed whole (again), or we do without it. */
void kubernetes_on_listed(struct kubernetes *k);
/* Objects changed. */
void kubernetes_on_change(struct kubernetes *k);
/* A watch answered well; it is told if none of the others fails. */
void kubernetes_on_contact(struct kubernetes_watch *w, uint64_t latency_us);
/* The connection of a watch was lost, or is dead. */
void kubernetes_on_lost(struct kubernetes_watch *w);
/* The server lost its data, or got old ones back. */
void kubernetes_on_other_history(struct kubernetes *k);
