/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What is done in one registry, a few operations at a time: removals first, then what is new, then
 * what is to be kept, and then a look at what was there before. A registry that cannot be asked is
 * asked again later, by one operation, and nothing is forgotten meanwhile. Never blocks; other
 * registries have queues of their own.
 */
#pragma once

#include "register/record.h"

struct queue;

struct queue_host {
	uv_loop_t *loop;
	void *arg;
	/* A record has another state (or e->state is LEAVING, `gone`, and it is forgotten). */
	void (*changed)(void *arg, struct queue *q, const struct record *e, bool gone);
	/* The registry cannot be asked, and why; or (NULL) it answers again. */
	void (*failing)(void *arg, struct queue *q, const char *text);
	/* Nothing is left to be removed; only after queue_leave(). */
	void (*left)(void *arg, struct queue *q);
};

struct queue {
	struct writer writer;
	const struct queue_host *host; /* borrowed */
	struct record **entries;       /* by id */
	size_t n, capacity;
	unsigned int under_way;
	uint64_t wait_ms;   /* the last wait of the whole queue; 0: the registry answers */
	uint64_t resume_ms; /* loop time: nothing begins before it */
	struct writer_op list;
	bool list_under_way, listed;
	char list_text[200];         /* why we may not see what is there; "": we may */
	uint64_t list_ms, relist_ms; /* loop time of the next try; the last wait */
	bool whole;                  /* what is not wanted is to go, found or not */
	bool leaving;
	char text[200]; /* why it cannot be asked; "": it can, or nobody tried */
	uint64_t puts, drops, failures;
	uv_timer_t timer;
	void (*on_closed)(void *arg);
	void *closed_arg;
};

/* The writer is open. Looks at once for what there is of ours. */
void queue_init(struct queue *q, const struct queue_host *host);
/* Instances by id, each once. `whole`: it is known what is wanted, so that all else is to go.
 * Else nothing goes. -ENOMEM, -E2BIG: some are missing. */
int queue_want(struct queue *q, struct instance *const *instances, size_t n, bool whole);
/* Everything is to go, soon: host->left is called once it has. */
void queue_leave(struct queue *q);
/* Ends what is under way, forgets everything; on_closed is called on the loop. */
void queue_close(struct queue *q, void (*on_closed)(void *arg), void *arg);
