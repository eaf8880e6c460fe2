/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Whom a second look at a Eureka server asks, and what it may conclude. First some of the instances
 * that were taken away: each must be gone, or not be UP. Then witnesses: others, which must be
 * there, and whose leases are so old that the server cannot have lost its memory since everybody
 * said last that he lives. Without a witness nothing is concluded. Pure.
 */
#pragma once

#include "registry/eureka_lost.h"
#include "registry/guard.h"

#define EUREKA_ROUND_APPS 16
#define EUREKA_ROUND_LOST 64     /* of all applications; of each EUREKA_LOST_IDS at most */
#define EUREKA_ROUND_WITNESSES 8 /* asked at most */
#define EUREKA_ROUND_VOUCHED 3   /* of these must vouch; see eureka_round.c */

struct eureka_question {
	char *app, *id;
	size_t of; /* place in apps; no matter for a witness */
};

struct eureka_round {
	struct eureka_question questions[EUREKA_ROUND_LOST + EUREKA_ROUND_WITNESSES];
	size_t n_lost, n, at; /* of n the first n_lost are about lost ones; the next is at */
	char *apps[EUREKA_ROUND_APPS];
	bool refuted[EUREKA_ROUND_APPS];
	size_t n_apps, vouched;
};

/* What a server said of one instance; all false: it does not know it. */
struct eureka_reply {
	bool known;
	bool usable;        /* it would get traffic */
	uint64_t memory_ms; /* see eureka_decode_one() */
};

enum eureka_verdict {
	EUREKA_MORE,    /* ask the next one */
	EUREKA_GONE,    /* those of all applications that are not refuted */
	EUREKA_REFUTED, /* each application has one that is UP */
	EUREKA_NOTHING, /* nobody could vouch, or one that must be there is not */
};

/* About the service `name`, or (NULL) as many as may be asked about at once; `turn`: another number
 * each time asks others. 1: questions[0] is the first one; 0: there is nobody to be asked, or no
 * witness; -ENOMEM. `round` is empty before. */
int eureka_round_begin(struct eureka_round *round, struct eureka_lost *lost,
		       const struct eureka_apps *apps, const char *name, size_t turn);
/* The answer to questions[at]; with EUREKA_MORE the next one is there. */
enum eureka_verdict eureka_round_take(struct eureka_round *round, const struct eureka_reply *reply);
void eureka_round_done(struct eureka_round *round);
