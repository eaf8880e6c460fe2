/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Counting. Plain atomic adds on entries that exist already: no allocation, no insertion.
 */
#pragma once

#include "maps.bpf.h"

static __always_inline void sn_count_node(enum sn_reason reason)
{
	__u64 *counter = sn_counter_at(reason - SN_R_SERVICE_MAX);

	if (counter)
		*counter += 1; /* per CPU */
}

static __always_inline void sn_count_service(__u32 service, __u32 reason)
{
	struct sn_svc_stats *stats = sn_svc_stats_at(service);

	if (stats)
		__sync_fetch_and_add(&stats->count[(reason - SN_R_BACKEND_MAX) & 15], 1);
}

static __always_inline void sn_count_outcome(struct sn_health *health, __u32 reason)
{
	__sync_fetch_and_add(&health->outcome[reason & 15], 1);
}

static __always_inline int sn_is_backends_fault(__u32 reason)
{
	return (reason >= SN_R_REFUSED && reason <= SN_R_RESET) || reason == SN_R_REPORTED;
}

/* floor(log2(v)), v > 0: five steps instead of the loop that BPF lacks an instruction for. */
static __always_inline __u32 sn_log2(__u64 v)
{
	__u32 bits = 0;

#pragma unroll
	for (int step = 32; step; step >>= 1)
		if (v >> step) {
			v >>= step;
			bits += step;
		}
	return bits;
}

static __always_inline __u32 sn_latency_bucket(__u64 ns)
{
	__u32 bucket = sn_log2((ns >> SN_LATENCY_SHIFT) | 1);

	return bucket < SN_LATENCY_BUCKETS ? bucket : SN_LATENCY_BUCKETS - 1;
}
