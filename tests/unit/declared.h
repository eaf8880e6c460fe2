/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A store and changes to it, for its tests: objects from short texts, a change planned and
 * committed in one call. Before: test_store*.c. Never decides anything.
 */
#pragma once

#include "model/store.h"

struct declared {
	struct store *store;
	struct problems problems; /* of the last change */
	struct plan plan;         /* the last one that was made */
};

/* Pools 127.128.0.0/9 and fd73:696e:6577::/64; 10.0.0.0/8 and fc00::/7 are allowed. */
void declared_init(struct declared *d);
/* The same with another IPv4 pool. */
void declared_init_pool(struct declared *d, const char *pool4);
void declared_done(struct declared *d);

/*
 * A change by `source` in words, separated by commas:
 *   "+pay 10.96.0.1 80 10.1.0.1 10.1.0.2"   declares a service (namespace/ before the name if not
 *      default; - for an address of the pool; ?ADDRESS: allocated, and remembered as that one;
 *      ports with + between, 53u is UDP; @policy among the endpoints; an endpoint may have :port)
 *   "-pay"   removes it      "+%gentle", "-%gentle"   the same of a policy (services to
 *      fall back to behind its name)      "whole"   a snapshot
 *   "ignoring"   what is to be removed and is not there
 */
int declared_plan(struct declared *d, const char *source, const char *words);
/* And commits, if it may be. */
int declared_change(struct declared *d, const char *source, const char *words);
int declared_change_if(struct declared *d, const char *source, const char *words,
		       uint64_t if_match);
/* Whether the last refusal said so; prints what it said if not. */
bool declared_says(const struct declared *d, const char *part);
/* "10.96.0.1 fd00::1" of a service in namespace default; "" when there is none. In a static buffer.
 */
const char *declared_address(const struct declared *d, const char *name);
