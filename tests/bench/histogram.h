/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Times as a histogram fine enough for ratios of a thousandth: 2048 steps per power of two, so a
 * value is known to 0.05 %, and quantiles are read between the steps.
 *
 * Before it: the loop of load.c or watch.c. After it: one line of JSON. Adding must never allocate.
 */
#pragma once

#include <stdint.h>

#define HISTOGRAM_BITS 11
#define HISTOGRAM_STEPS (1u << HISTOGRAM_BITS)
/* Up to 2^36 ns, a minute; longer counts as that. */
#define HISTOGRAM_BUCKETS ((36 - HISTOGRAM_BITS + 1) * HISTOGRAM_STEPS)

struct histogram {
	uint64_t count;
	uint64_t sum;
	uint64_t max;
	uint32_t bucket[HISTOGRAM_BUCKETS];
};

static inline uint32_t histogram_index(uint64_t value)
{
	unsigned exponent;
	uint64_t index;

	if (value < HISTOGRAM_STEPS)
		return (uint32_t)value;
	exponent = 63 - (unsigned)__builtin_clzll(value) - HISTOGRAM_BITS;
	index = ((uint64_t)exponent << HISTOGRAM_BITS) + (value >> exponent);
	return index < HISTOGRAM_BUCKETS ? (uint32_t)index : HISTOGRAM_BUCKETS - 1;
}

static inline void histogram_add(struct histogram *h, uint64_t value)
{
	h->count++;
	h->sum += value;
	if (value > h->max)
		h->max = value;
	h->bucket[histogram_index(value)]++;
}

/* The value below which the share `q` (0..1) of what was added lies; 0 when nothing was. */
double histogram_quantile(const struct histogram *h, double q);

/* Mean of what was added; 0 when nothing was. */
double histogram_mean(const struct histogram *h);
