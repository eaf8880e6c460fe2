/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What the registries say, as the one source "agent" of sinewd: deltas when somebody says
 * something, the whole when sinewd may have lost count. One request at a time.
 */
#pragma once

#include "registry/merge.h"

#define PUSH_SOURCE "agent"

struct push;

struct push_config {
	const char *socket;   /* sinewd's control socket; borrowed */
	uint64_t coalesce_ms; /* between two requests, unless something went away */
};

/* How it goes, for status and metrics. */
struct push_status {
	bool synced;     /* sinewd has all that we know */
	char error[200]; /* why not; "": nothing is wrong */
	uint64_t puts, patches, failures, refused_total;
	size_t refused; /* objects left out now, because sinewd does not take them */
};

int push_new(uv_loop_t *loop, struct fetcher *fetcher, struct merge *merge,
	     const struct push_config *config, struct push **ret);
/* What is known may be told: nothing is sent before. `whole`: every registry has said what it has,
 * so that what none of them names may go. */
void push_start(struct push *p, bool whole);
/* There is something to tell; urgent: at once, however short ago the last request was. */
void push_kick(struct push *p, bool urgent);
/* Somebody else could not reach sinewd: whether it has what it was told is found out now, not when
 * the next look is due. */
void push_look(struct push *p);
/* Another time between two requests, from the next one on. */
void push_set_coalesce(struct push *p, uint64_t ms);
const struct push_status *push_status(const struct push *p);
/* Calls visit for each object that sinewd refused, with its reason. */
void push_visit_refused(const struct push *p,
			void (*visit)(void *arg, enum object_kind kind, const char *name,
				      const char *reason),
			void *arg);
/* Sends nothing more. Memory is given back once the loop has closed its handles; NULL is fine. */
void push_close(struct push *p);
