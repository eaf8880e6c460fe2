/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Who listens: what the programs tell, what sweeps find, and who that is. The programs' map is the
 * truth for sockets that began to listen under them; of all others, a sweep is.
 *
 *   event, map, sweep  ->  known  ->  named (cgroups.h)  ->  shown: told to streams, listed
 */
#pragma once

#include <sinew/event.h>
#include <uv.h>

#include "daemon/cgroups.h"
#include "kernel/kernel.h"

struct listeners_entry;

struct listeners {
	const struct kernel *kernel;
	struct evict *evict;
	char *served; /* owned: the served cgroup, from the mount on; "": all of it */
	/* One is shown now, or no more; and the first look at all namespaces is over. */
	void (*changed)(void *arg, bool is_there, const struct listener *l);
	void (*synced)(void *arg);
	void *arg;
	struct cgroups cgroups;
	struct listeners_entry *all;
	uv_timer_t timer;
	uint32_t sweep;      /* number of the last sweep that began */
	bool sweeping, look; /* one runs; all namespaces are to be looked at */
	bool full;           /* the one that runs looks at all of them */
	bool kept;           /* the helper has namespaces to look at again */
	bool is_synced;
	bool told_failed, told_full; /* logged once */
	uint64_t lost;               /* records that found the ring full */
	uint64_t looked_ms;          /* of the last look at all, by the loop's clock */
	uint64_t dropped;            /* over LIMIT_LISTENERS */
};

/* kernel, evict, served, the callbacks and cgroups.mount are set. Reads the map and begins to
 * look. */
int listeners_start(struct listeners *s, uv_loop_t *loop);
void listeners_event(struct listeners *s, const struct sn_event *event);
/* Of the helper, to EVICT_LISTENERS or EVICT_CGROUP. */
void listeners_answer(struct listeners *s, const struct evict_answer *answer);
/* The helper is gone. */
void listeners_lost(struct listeners *s);
/* All namespaces are to be looked at again: the programs may have missed something. */
void listeners_look(struct listeners *s);
/* Each that is shown. */
void listeners_visit(const struct listeners *s, void (*visit)(void *arg, const struct listener *l),
		     void *arg);
size_t listeners_count(const struct listeners *s); /* known to the programs */
/* No more looks; the loop runs on until the timer is closed. */
void listeners_stop(struct listeners *s);
void listeners_done(struct listeners *s);
