/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * So many a second, for each of many: buckets of tokens in a table of fixed size. Pure; time is the
 * caller's. When there is no place left, the bucket that was used longest ago is given up: whoever
 * comes back to it has a full one.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#define RATE_WAYS 8
#define RATE_SETS 128

struct rate_bucket {
	uint64_t key;
	uint64_t at_ns; /* 0: not in use */
	uint64_t spent; /* ns worth of tokens that are not there */
};

struct rate {
	uint64_t per_second, burst;
	struct rate_bucket buckets[RATE_SETS][RATE_WAYS];
};

/* Whether `key` may once more; takes a token if so. `now_ns` never falls, and is not 0. */
bool rate_take(struct rate *r, uint64_t key, uint64_t now_ns);
