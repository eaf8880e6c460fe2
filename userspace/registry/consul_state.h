/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What consul.c and consul_follow.c share. Nobody else includes it.
 *
 * A service is followed by a long poll of its own while there is a slot for it, of which there are
 * CONSUL_LONG at most, fewer when this process may not open so many files, and fewer when the agent
 * of Consul refuses so many connections, for a while.
 * The others are at rest, and asked by short polls one after the other: when the catalogue's index
 * moves, and now and then all the same, since checks change without it. A long poll that ends
 * without news gives its slot to the one that rests longest.
 */
#pragma once

#include <sys/queue.h>

#include "registry/consul_book.h"
#include "registry/consul_poll.h"
#include "registry/consul_service.h"
#include "registry/consul_words.h"

#define CONSUL_LONG 256
#define CONSUL_LONG_LEAST 16
#define CONSUL_SHORT 8

struct consul;

enum consul_place {
	CONSUL_RESTS,
	CONSUL_QUEUED,  /* for a short poll */
	CONSUL_SHORTLY, /* its short poll is under way */
	CONSUL_LONGLY,  /* it has a slot */
	CONSUL_WAITS,   /* its short poll failed: queued again later */
};

struct consul_follower {
	struct consul_poll poll; /* first: a poll is its follower */
	struct consul *c;
	TAILQ_ENTRY(consul_follower) link; /* in rest or queue */
	enum consul_place place;
	char label[64];    /* as Sinew names it; its place in the table */
	char *name, *what; /* Consul's; "service NAME" */
	bool answered;
	bool is_empty;       /* it has no instances, says the last answer */
	bool absent;         /* the catalogue does not name it */
	bool is_unsure;      /* what the answer misses is not believed: ask without blocking */
	uint64_t confirm_ms; /* loop time: endpoints went, so it is asked once more then; 0: not */
};

TAILQ_HEAD(consul_queue, consul_follower);

struct consul {
	struct consul_link link; /* first: a link is its source */
	struct registry *r;
	struct draft_service *draft;
	struct consul_book *book;
	struct consul_words words;
	struct object *by_key; /* what all keys said last */
	size_t n_by_key;
	struct consul_poll catalog, keys;
	char *keys_what;
	struct consul_follower **followers; /* by label */
	size_t n, n_unanswered, left_out;
	struct consul_queue rest, queue;
	size_t n_short, n_long, long_most, long_limit;
	uint64_t fewer_ms; /* when long_most was lowered, or raised, last */
	uint64_t more_ms;  /* so long after that it is raised */
	bool is_more;      /* it was raised, and nothing was refused since */
	uint64_t sweep_ms; /* when all at rest were queued last */
	uint64_t catalog_index;
	uv_timer_t sweep;
	size_t n_handles; /* that are open */
	bool is_exact;    /* all selected services have full names: the catalogue is not needed */
	bool catalog_answered, keys_answered;
	uint64_t started_ms;
	bool partly; /* what there is was said before that, as changes */
	bool told;   /* the first snapshot was said */
	bool stopping;
};

static inline const char *consul_namespace(const struct consul *c)
{
	return c->r->config->namespace ?: "default";
}

/* How long a query may block whose return shows that Consul is still there. */
uint64_t consul_heartbeat_ms(const struct consul *c);
/* Whatever changed was said if it may be; before the first snapshot it looks whether that may, or
 * whether what it waits for fails for so long that the rest is said without it. */
void consul_on_change(struct consul *c);
/* One title changed in the book, or is to be said once more. */
void consul_say(struct consul *c, const struct consul_title *title, const struct object *now);
/* A handle was closed. */
void consul_on_closed(struct consul *c);

/* --- followers (consul_follow.c) -------------------------------------------------------------- */

/* NULL: no memory. */
struct consul_follower *consul_follow(struct consul *c, const char *label, const char *name);
/* Consul's name for the label is another one now. -ENOMEM leaves what was. */
int consul_follow_rename(struct consul_follower *f, const char *name);
/* The catalogue does or does not name it. */
void consul_follow_named(struct consul_follower *f, bool named);
/* Whether all that there was of it is gone, and was said so twice. */
bool consul_follow_is_over(const struct consul_follower *f);
/* Ends it; its memory goes when its handle is closed. It is out of the table already. */
void consul_follow_end(struct consul_follower *f);
/* All at rest are to be asked: soon, if they were not just asked. */
void consul_follow_sweep(struct consul *c, bool news);
/* Those that could not reach the server are asked now. */
void consul_follow_back(struct consul *c);
/* The server has another state than before: what an index says of it is nothing. */
void consul_follow_restart(struct consul *c);
void consul_follow_on_sweep(uv_timer_t *timer);
