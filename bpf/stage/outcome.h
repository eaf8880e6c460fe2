/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * How a connect went, held against its backend: counted, and judged by the service's policy. After
 * judge, which names the reason; before the next pick. A backend that is no member any more is
 * counted only.
 */
#pragma once

#include "stage/eject.h"
#include "stage/grade.h"
#include "stage/memory.h"

/* Smooths the connect time, and rounds it to what a pick compares. */
static __always_inline void sn_cost_tell(struct sn_health *health, __u64 ns, __u64 now)
{
	__u64 us = ns / 1000 < 100000000 ? ns / 1000 : 100000000;
	__u64 old = health->ewma_us;

	us = old ? (old * 7 + us + 7) / 8 : us;
	health->ewma_us = us;
	health->cost = 1u << sn_log2((us * 1000 / SN_COST_NS) | 1);
	health->cost_ns = now;
}

/* Counts in the window; 1: the share of failures trips. */
static __always_inline int sn_window_fails(const struct sn_judged *j, __u64 now)
{
	const struct sn_policy *policy = j->policy;
	struct sn_window *window = sn_window_at(j->backend);
	__u32 number;

	if (!window || !policy->bucket_ns || !policy->failure_percent)
		return 0;
	number = sn_window_number(now, policy->bucket_ns);
	sn_window_add(window->failed, number, 1);
	return sn_window_trips(window->failed, number, policy->min_volume, policy->failure_percent);
}

/* A failure that is the backend's own, the `consecutive`th in a row. Returns enum sn_trip. */
SN_ONCE int sn_judge_failure(__u32 backend, __u32 consecutive, __u64 now)
{
	struct sn_judged judged = {};
	int is_ratio;
	__u64 until;

	if (!sn_judged_find(backend, &judged))
		return SN_TRIP_NONE;
	judged.state->failed_ns = now;
	until = *(volatile __u64 *)&judged.health->ejected_until_ns;
	if (until)
		return now >= until ? SN_TRIP_PROBE : SN_TRIP_NONE;
	is_ratio = sn_window_fails(&judged, now);
	if (judged.policy->consecutive && consecutive >= judged.policy->consecutive)
		return SN_TRIP_CONSECUTIVE;
	return is_ratio ? SN_TRIP_RATIO : SN_TRIP_NONE;
}

/* Counts in the window; 1: the share of slow connects trips. */
static __always_inline int sn_window_slows(const struct sn_policy *policy, struct sn_window *window,
					   __u64 ns, __u64 now)
{
	__u32 number = sn_window_number(now, policy->bucket_ns);
	int is_slow = ns >= policy->slow_ns;

	sn_window_add(window->slow, number, is_slow);
	return is_slow &&
	       sn_window_trips(window->slow, number, policy->min_volume, policy->slow_percent);
}

/* Of a success that the application reports: it has no connect time. */
#define SN_NO_SAMPLE (~0ULL)

/* A connect of `ns` that succeeded. Returns enum sn_trip. */
SN_ONCE int sn_judge_success(__u32 backend, __u64 ns, __u64 now)
{
	const struct sn_policy *policy;
	struct sn_judged judged = {};
	struct sn_window *window;
	__u64 until;

	if (!sn_judged_find(backend, &judged))
		return SN_TRIP_NONE;
	policy = judged.policy;
	until = *(volatile __u64 *)&judged.health->ejected_until_ns;
	if (until && now >= until)
		sn_restore(&judged, until, now);
	if (!policy->bucket_ns || until)
		return SN_TRIP_NONE;
	window = sn_window_at(backend);
	if (!window)
		return SN_TRIP_NONE;
	if (policy->failure_percent)
		sn_window_add(window->failed, sn_window_number(now, policy->bucket_ns), 0);
	if (ns != SN_NO_SAMPLE && policy->slow_ns && policy->slow_percent &&
	    sn_window_slows(policy, window, ns, now))
		return SN_TRIP_SLOW;
	return SN_TRIP_NONE;
}

/* Did it begin before its backend was half-open? Then it is no probe: the time-outs of a minute ago
 * must not eject a backend that has come back. */
static __always_inline int sn_is_no_probe(const struct sn_flow *flow,
					  const struct sn_health *health)
{
	__u64 until = *(const volatile __u64 *)&health->ejected_until_ns;

	return flow->start_ns && flow->start_ns < until;
}

static __always_inline void sn_outcome_failed(const struct sn_flow *flow, struct sn_health *health,
					      __u32 reason, __u64 now)
{
	__u32 consecutive;
	int trip;

	sn_count_outcome(health, reason);
	if (reason == SN_R_NOT_SENT)
		sn_probe_return(health);
	if (!sn_is_backends_fault(reason))
		return;
	consecutive = __sync_fetch_and_add(&health->consecutive, 1) + 1;
	health->last_failure_ns = now;
	trip = sn_judge_failure(flow->backend, consecutive, now);
	if (trip == SN_TRIP_PROBE && sn_is_no_probe(flow, health))
		trip = SN_TRIP_NONE;
	if (trip)
		sn_trip(flow->backend, reason | (__u32)trip << 16, now);
	sn_remember(flow, now);
}

static __always_inline void sn_outcome_connected(__u32 backend, struct sn_health *health, __u64 ns,
						 __u64 now)
{
	struct sn_latency *latency = sn_latency_at(backend);
	int trip;

	sn_count_outcome(health, SN_R_CONNECTED);
	__sync_fetch_and_add(&health->connect_ns, ns);
	if (health->consecutive)
		health->consecutive = 0;
	sn_cost_tell(health, ns, now);
	if (latency)
		__sync_fetch_and_add(&latency->bucket[sn_latency_bucket(ns)], 1);
	trip = sn_judge_success(backend, ns, now);
	if (trip)
		sn_trip(backend, SN_R_CONNECTED | (__u32)trip << 16, now);
}
