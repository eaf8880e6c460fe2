/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Which instances a Eureka server's answers took away lately: whom a second look may ask about. Of
 * each application a sample by chance, so that a server of whose words some are wrong is noticed
 * wherever in its list they are. Pure, but for the selection that the registry's config has.
 */
#pragma once

#include "registry/eureka_apps.h"
#include "registry/registry.h"

#define EUREKA_LOST_APPS 256   /* the youngest ones; of others, a look knows nothing */
#define EUREKA_LOST_IDS 16     /* of one application */
#define EUREKA_LOST_MS 120000u /* then the guard has long since decided without us */

struct eureka_lost_id {
	char *id;
	uint64_t rank; /* its hash: those with the lowest are the sample */
};

struct eureka_lost_app {
	char *app;
	struct eureka_lost_id ids[EUREKA_LOST_IDS]; /* by rank */
	size_t n;
	uint64_t at_ms; /* of the last loss */
	bool changed;   /* set by each loss and return; whoever looks clears it */
};

struct eureka_lost {
	const struct registry *r; /* borrowed; NULL: every application is selected */
	uint64_t seed, now_ms;    /* the caller's; any clock that goes on */
	struct eureka_lost_app apps[EUREKA_LOST_APPS]; /* the first n, by app */
	size_t n;
};

/* Before the sorted answer is applied to `a`: usable instances that go with it, and those that are
 * usable again. Without memory an instance is not written down. */
void eureka_lost_note(struct eureka_lost *l, const struct eureka_apps *a,
		      const struct eureka_answer *answer, bool is_delta);
/* NULL: nothing was lost, or long ago. */
struct eureka_lost_app *eureka_lost_find(struct eureka_lost *l, const char *app);
bool eureka_lost_is_old(const struct eureka_lost *l, const struct eureka_lost_app *app);
void eureka_lost_forget(struct eureka_lost *l, struct eureka_lost_app *app);
void eureka_lost_done(struct eureka_lost *l);
