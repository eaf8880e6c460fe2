/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * All instances of a Eureka server as the last answers have them. An application without instances
 * does not exist here. Pure.
 */
#pragma once

#include "base/text.h"
#include "registry/eureka_decode.h"

struct eureka_apps {
	struct eureka_instance *instances; /* owned; by application, then id; each once */
	size_t n;
};

struct eureka_lost;

/* Takes the answer over, also on failure: a full one is all there is, a delta changes, adds and
 * deletes. A delta may be applied twice. What goes is noted in `lost` (NULL: nobody asks).
 * -E2BIG (LIMIT_FOUND_ENDPOINTS) and -ENOMEM leave what was. */
int eureka_apps_apply(struct eureka_apps *a, struct eureka_answer *answer, bool is_delta,
		      struct eureka_lost *lost);
void eureka_apps_done(struct eureka_apps *a);
/* The instances of an application: how many, and where they begin in `instances`. */
size_t eureka_apps_find(const struct eureka_apps *a, const char *app, size_t *ret_first);
/* "DOWN_1_UP_3_": what a server's hash code is when it knows the same. "" of none. The caller looks
 * at no_memory. (Netflix/eureka, Applications.java) */
void eureka_apps_hash(const struct eureka_apps *a, struct text_buffer *ret);
/* Whether it may get traffic: it is up, nobody has overridden that, and it has an address. */
bool eureka_instance_is_usable(const struct eureka_instance *i);
