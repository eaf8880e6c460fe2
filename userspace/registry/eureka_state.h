/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What eureka.c and eureka_look.c share. Nobody else includes it.
 */
#pragma once

#include "registry/eureka_book.h"
#include "registry/eureka_plan.h"
#include "registry/eureka_round.h"

#define EUREKA_BASES 3

struct eureka_look {
	struct eureka_round round; /* while there is a fetch */
	struct fetch *fetch;
	size_t base, turn;    /* where it asks; how many there were */
	uint64_t until_ms;    /* loop time: then it is given up */
	uint64_t not_till_ms; /* the server asked for a rest */
};

struct eureka {
	struct registry *r;
	struct eureka_apps apps;
	struct eureka_plan plan;
	struct eureka_book book;
	struct eureka_lost lost;
	struct eureka_look look;
	char *bases[EUREKA_BASES]; /* what may stand before "/apps"; the configured one first */
	size_t n_bases, base;
	bool settled; /* the base is the right one */
	bool is_full; /* the request under way */
	struct fetch *fetch;
	uv_timer_t timer;
	size_t left_out; /* told so far */
};

/* "Authorization: ..." for registry_forget(); *ret NULL: none is configured. Of reading the file,
 * -errno; -ENOMEM. */
int eureka_authorize(const struct registry_config *config, char **ret);
/* registry_kind's. */
int eureka_look(struct registry *r, const char *namespace, const char *name);
void eureka_look_stop(struct eureka *e);
