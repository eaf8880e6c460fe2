/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * See rate.h. A bucket is what of it is spent, as the time in which that fills again: no fraction
 * of a token is lost between two looks.
 */
#include "base/rate.h"

#include "base/text.h"

static struct rate_bucket *find(struct rate *r, uint64_t key)
{
	struct rate_bucket *set = r->buckets[text_hash(&key, sizeof(key), 0) % RATE_SETS];
	struct rate_bucket *oldest = &set[0];

	for (int i = 0; i < RATE_WAYS; i++) {
		if (set[i].at_ns && set[i].key == key)
			return &set[i];
		if (set[i].at_ns < oldest->at_ns)
			oldest = &set[i];
	}
	*oldest = (struct rate_bucket){.key = key};
	return oldest;
}

bool rate_take(struct rate *r, uint64_t key, uint64_t now_ns)
{
	struct rate_bucket *b = find(r, key);
	uint64_t each = 1000000000u / r->per_second, passed = b->at_ns ? now_ns - b->at_ns : 0;

	b->spent = b->spent > passed ? b->spent - passed : 0;
	b->at_ns = now_ns;
	if (b->spent + each > r->burst * each)
		return false;
	b->spent += each;
	return true;
}
