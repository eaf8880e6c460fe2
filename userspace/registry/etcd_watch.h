/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Following the keys below a prefix of etcd; for etcd.c alone.
 *
 *   log in -> list, page by page, of one revision -> watch from the next one
 *   lost: watch on from the last revision known whole; forgotten there, or the server went back:
 * list
 */
#pragma once

#include "base/text.h"
#include "registry/etcd_table.h"
#include "registry/registry.h"

#define ETCD_LINE (16u << 20) /* bytes of one line of a watch; etcd's requests are 1.5 MiB */

/* A second look at a service. */
struct etcd_look {
	struct fetch *fetch;
	char name[LIMIT_NAME + 1];
	unsigned int differs; /* looks in a row that saw something else */
	bool all;             /* everything is being listed anew, to be said as a whole */
};

struct etcd {
	struct registry *r;
	struct etcd_table *table;
	char *base;    /* what stands before "/v3" */
	char *prefix;  /* ends with "/", or is empty */
	char *span;    /* "key" and "range_end" of the prefix, as members of JSON */
	char *token;   /* of a login; NULL: none */
	bool is_open;  /* the server has no users: no login */
	bool is_fresh; /* the token was not used yet */
	bool watching; /* the next request is a watch, else a (page of a) list */
	bool told;     /* a snapshot */
	/* a list */
	char *next;  /* base64 of the key to go on with; NULL: at its beginning */
	size_t page; /* keys of one answer */
	uint64_t listed_ms;
	/* what is known */
	struct etcd_header header; /* its revision: everything up to it is in the table */
	struct etcd_header list;   /* of its first page */
	uint64_t list_count;
	uint64_t offset;  /* keys that the server counted and the table had not, then */
	unsigned int odd; /* beats in a row that counted something else */
	uint64_t odd_revision;
	/* a watch */
	struct text_buffer line; /* the beginning of one */
	uint64_t revision;       /* of what came of a change that is not whole yet */
	bool created, is_bad, is_lost;
	struct etcd_refusal refusal; /* code 0 and no text: none */
	unsigned int beats;          /* since it began */
	struct etcd_header counted;  /* what was known when the last beat asked */
	bool is_mute; /* the last watch never began: changes are only seen by lists */
	struct fetch *fetch, *beat_fetch;
	struct etcd_look look;
	uv_timer_t timer, beat;
	uint64_t wait_ms;
	size_t left_out; /* told so far */
	unsigned int n_closing;
};

void etcd_watch_begin(struct etcd *e);
/* Ends it, its beat and a look; the timers are the caller's to close. */
void etcd_watch_stop(struct etcd *e);

/* --- etcd_look.c ------------------------------------------------------------------------------ */

/* Says what changed in the table. */
void etcd_say(struct etcd *e);
/* Everything, as a snapshot. -ENOMEM. */
int etcd_say_all(struct etcd *e);
/* As registry.h has it. */
int etcd_look(struct registry *r, const char *namespace, const char *name);

/* --- what etcd.c does for it ------------------------------------------------------------------ */

/* The next request: a login, a page, or a watch. */
void etcd_begin(struct etcd *e);
/* The same after a while that grows. */
void etcd_retry(struct etcd *e, uint64_t at_least_ms);
/* Everything is to be listed anew, in the next request. */
void etcd_forget_list(struct etcd *e);
/* A POST with our credentials. Takes body (NULL: no memory). */
int etcd_post(struct etcd *e, struct fetch_request *request, const char *path, char *body,
	      struct fetch **ret);
/* Whether the answer can come of the server that we know; `known` when it was asked. */
bool etcd_is_ours(const struct etcd_header *known, const struct etcd_header *h);
/* It answered: it is well, unless its watch never begins. */
void etcd_say_contact(struct etcd *e, uint64_t latency_us);
/* Says what went wrong, and what a person may do; a token that is refused is forgotten. */
void etcd_say_refusal(struct etcd *e, const char *what, const struct etcd_refusal *why,
		      const struct fetch_result *result);
