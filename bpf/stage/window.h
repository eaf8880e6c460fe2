/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * The last outcomes of one backend, exactly: a ring of buckets, each one word that is changed by
 * compare-and-swap, so that no outcome is lost and none is counted twice. Below judging. Pure but
 * for the words.
 *
 * A decaying average would forget a burst that is shorter than its constant; exact buckets do not.
 */
#pragma once

#include <sinew/health.h>

#include "knobs.bpf.h"

#define SN_BUCKET_NUMBER(word) ((__u32)((word) >> 40))
#define SN_BUCKET_TOTAL(word) ((__u32)((word) >> 20) & SN_BUCKET_FULL)
#define SN_BUCKET_MARKED(word) ((__u32)(word)&SN_BUCKET_FULL)
#define SN_BUCKET_FULL 0xfffffu
/* As many as 24 bits hold, in whole rounds: the ring goes on in order when they begin anew. */
#define SN_BUCKET_NUMBERS (0x1000000u / SN_WINDOW_BUCKETS * SN_WINDOW_BUCKETS)

struct sn_window_sum {
	__u32 total;
	__u32 marked;
};

/* How many buckets ago `number` was, seen from `now`. */
static __always_inline __u32 sn_bucket_age(__u32 number, __u32 now)
{
	return now >= number ? now - number : now + SN_BUCKET_NUMBERS - number;
}

/* `number`: of the bucket that is now. A word of an older round starts anew; one of the round to
 * come stays, for it is this outcome that comes late. */
static __always_inline __u64 sn_bucket_add(__u64 word, __u32 number, int is_marked)
{
	__u32 newer = sn_bucket_age(number, SN_BUCKET_NUMBER(word));

	if (newer && newer <= SN_WINDOW_BUCKETS && SN_BUCKET_TOTAL(word))
		return word;
	if (newer)
		word = (__u64)number << 40;
	if (SN_BUCKET_TOTAL(word) == SN_BUCKET_FULL)
		return word;
	return word + (1ull << 20) + (is_marked ? 1 : 0);
}

static __always_inline __u32 sn_window_number(__u64 now, __u64 bucket_ns)
{
	return now / bucket_ns % SN_BUCKET_NUMBERS;
}

/* The bound is for the verifier: each round that fails means that another CPU has counted. */
SN_ONCE int sn_bucket_count(__u64 *bucket, __u32 number, int is_marked)
{
	__u64 word, seen;

	if (!bucket)
		return 0;
	seen = *(volatile __u64 *)bucket;
#pragma clang loop unroll(disable)
	for (int i = 0; i < 128; i++) {
		word = seen;
		seen = __sync_val_compare_and_swap(bucket, word,
						   sn_bucket_add(word, number, is_marked));
		if (seen == word)
			return 1;
	}
	return 0;
}

static __always_inline void sn_window_add(__u64 *ring, __u32 number, int is_marked)
{
	__u32 at = number % SN_WINDOW_BUCKETS;

	asm volatile("" : "+r"(at)); /* else the test below, which the verifier needs, is dropped */
	if (at < SN_WINDOW_BUCKETS)
		sn_bucket_count(&ring[at], number, is_marked);
}

static __always_inline struct sn_window_sum sn_window_sum(const __u64 *ring, __u32 number)
{
	struct sn_window_sum sum = {};
	__u64 word;

#pragma clang loop unroll(disable)
	for (int i = 0; i < SN_WINDOW_BUCKETS; i++) {
		word = ((const volatile __u64 *)ring)[i];
		if (sn_bucket_age(SN_BUCKET_NUMBER(word), number) >= SN_WINDOW_BUCKETS)
			continue;
		sum.total += SN_BUCKET_TOTAL(word);
		sum.marked += SN_BUCKET_MARKED(word);
	}
	return sum;
}

static __always_inline void sn_window_clear(__u64 *ring)
{
#pragma clang loop unroll(disable)
	for (int i = 0; i < SN_WINDOW_BUCKETS; i++)
		((volatile __u64 *)ring)[i] = 0;
}

static __always_inline int sn_window_trips(const __u64 *ring, __u32 number, __u32 min_volume,
					   __u32 percent)
{
	struct sn_window_sum sum = sn_window_sum(ring, number);

	return percent && sum.total && sum.total >= min_volume &&
	       (__u64)sum.marked * 100 >= (__u64)percent * sum.total;
}
