/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * See traffic.h. Before: kernel/read sums what the programs counted. After: views and metrics.
 */
#include "model/traffic.h"

#include <string.h>

#include "base/cleanup.h"

static double bucket_floor(size_t i)
{
	return i ? (double)(1ull << (i + SN_LATENCY_SHIFT)) : 0;
}

uint64_t traffic_quantile(const struct traffic *t, double q)
{
	uint64_t total = 0;
	double rank, below = 0;
	size_t last = 0;

	for (size_t i = 0; i < SN_LATENCY_BUCKETS; i++) {
		total += t->latency[i];
		last = t->latency[i] ? i : last;
	}
	if (!total)
		return 0;
	q = q < 0 ? 0 : q > 1 ? 1 : q;
	rank = q * (double)total;
	for (size_t i = 0; i <= last; i++) {
		double here = (double)t->latency[i];
		double low = bucket_floor(i), high = bucket_floor(i + 1);

		if (here > 0 && (below + here >= rank || i == last))
			return (uint64_t)(low + (high - low) *
							(rank > below ? (rank - below) / here : 0));
		below += here;
	}
	return 0;
}

void traffic_add(struct traffic *sum, const struct traffic *t)
{
	sum->attempts += t->attempts;
	sum->connect_ns += t->connect_ns;
	sum->ejections += t->ejections;
	sum->failed_over += t->failed_over;
	sum->active += t->active;
	for (size_t i = 0; i < ARRAY_SIZE(sum->outcome); i++)
		sum->outcome[i] += t->outcome[i];
	for (size_t i = 0; i < ARRAY_SIZE(sum->refused_here); i++)
		sum->refused_here[i] += t->refused_here[i];
	for (size_t i = 0; i < ARRAY_SIZE(sum->latency); i++)
		sum->latency[i] += t->latency[i];
}

#define BLAME_BACKEND_backend 1
#define BLAME_BACKEND_caller 0
#define BLAME_BACKEND_nobody 0
#define BLAME_ROW(id, label, blame, help) [SN_R_##id] = BLAME_BACKEND_##blame,

uint64_t traffic_failed(const struct traffic *t)
{
	static const bool blamed[SN_R_BACKEND_MAX] = {SN_BACKEND_REASONS(BLAME_ROW)};
	uint64_t sum = 0;

	for (size_t i = 0; i < SN_R_BACKEND_MAX; i++)
		sum += blamed[i] ? t->outcome[i] : 0;
	return sum;
}
