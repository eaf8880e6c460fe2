/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Reading a histogram once the loop is over. Before it: histogram_add(). After it: JSON. It must
 * never be called from inside the timed loop.
 */
#include "histogram.h"

/* The smallest value of a bucket; of the one after the last, its end. */
static double bucket_begin(uint32_t index)
{
	uint32_t exponent;

	if (index < 2 * HISTOGRAM_STEPS)
		return index;
	exponent = (index >> HISTOGRAM_BITS) - 1;
	return (double)((uint64_t)(index - (exponent << HISTOGRAM_BITS)) << exponent);
}

double histogram_quantile(const struct histogram *h, double q)
{
	double want = q * (double)h->count;
	double below = 0;

	for (uint32_t i = 0; i < HISTOGRAM_BUCKETS && h->count; i++) {
		double begin = bucket_begin(i);

		if (!h->bucket[i] || below + h->bucket[i] < want) {
			below += h->bucket[i];
			continue;
		}
		return begin + (bucket_begin(i + 1) - begin) * (want - below) / h->bucket[i];
	}
	return 0;
}

double histogram_mean(const struct histogram *h)
{
	return h->count ? (double)h->sum / (double)h->count : 0;
}
