/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What was declared survives a restart: one file per source below <state>/sources, written to a
 * temporary name, fsynced, renamed. Writing happens on another thread; changes that come while one
 * write runs share the next.
 */
#pragma once

#include <uv.h>

#include "control/ops.h"
#include "model/store.h"

struct persist_wait;
struct persist_source;

struct persist {
	uv_loop_t *loop;
	const struct store *store;
	char *folder; /* <state>/sources */
	struct persist_source *sources;
	uv_timer_t late;   /* for changes that nobody waits for */
	uint64_t failures; /* writes that failed; the state in memory and kernel is unharmed */
	int failing;       /* sources whose last write failed; tried again by itself */
};

int persist_init(struct persist *p, uv_loop_t *loop, const char *state, const struct store *store);
/* Reads every source's file into the store. A file that cannot be read or has errors is moved aside
 * (.bad), logged, and *ret_bad is set: its services must not be taken from the kernel, now and at
 * later starts, until the source is declared again. */
int persist_load(struct persist *p, struct store *store, bool *ret_bad);
/* Files moved aside whose source was not declared again. */
size_t persist_aside(const struct persist *p);
/* The source has changed: done is called when it is on disk. NULL: nobody waits, and it is written
 * a moment later, together with what else changes until then. */
void persist_change(struct persist *p, const char *source, control_applied_fn done, void *arg);
/* No late writes any more; the loop runs on until nothing of this room is open. */
void persist_stop(struct persist *p);
/* Writes what is pending, on this thread. For the end. */
void persist_flush(struct persist *p);
void persist_done(struct persist *p);
/* Removes the state folder's files. */
int persist_remove(const char *state);
