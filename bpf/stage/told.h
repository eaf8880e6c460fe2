/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * What an application reports of its connection, held against the backend or counted in its favour.
 * After judge and outcome, whose rules it follows; believed only of the teller's own flows.
 *
 * A connect that succeeds ends a row of failed connects, and before each failure that is reported
 * there is one: reported failures have a row of their own. It ends with a reported success, and
 * with more than SN_TOLD_CONNECTS connections in between of which no failure was reported: who
 * reports failures only, and those are few, ejects nothing.
 */
#pragma once

#include <sinew/report.h>

#include "stage/promise.h"

#define SN_TOLD_CONNECTS 2u

/* One more reported failure in a row: how many that makes. */
SN_ONCE int sn_told_row(struct sn_health *health)
{
	__u64 old, seen;
	__u32 connects, n;

	if (!health)
		return 0;
	connects = (__u32)health->outcome[SN_R_CONNECTED];
	seen = *(volatile __u64 *)&health->told;
#pragma clang loop unroll(disable)
	for (int i = 0; i < 64; i++) {
		old = seen;
		n = connects - (__u32)old <= SN_TOLD_CONNECTS ? (__u32)(old >> 32) + 1 : 1;
		n = n < 0xffff ? n : 0xffff;
		seen = __sync_val_compare_and_swap(&health->told, old, (__u64)n << 32 | connects);
		if (seen == old)
			return (int)n;
	}
	return 1;
}

static __always_inline void sn_told_failure(const struct sn_flow *flow, struct sn_health *health,
					    __u64 now)
{
	int trip;

	sn_count_outcome(health, SN_R_REPORTED);
	health->last_failure_ns = now;
	trip = sn_judge_failure(flow->backend, sn_told_row(health), now);
	if (trip == SN_TRIP_PROBE && sn_is_no_probe(flow, health))
		trip = SN_TRIP_NONE;
	if (trip) {
		*(volatile __u64 *)&health->told = 0;
		sn_trip(flow->backend, SN_R_REPORTED | (__u32)trip << 16, now);
	}
	sn_remember(flow, now);
	sn_report_flow(flow, flow->cookie, SN_EVENT_OUTCOME, SN_R_REPORTED, now);
}

static __always_inline void sn_told_success(const struct sn_flow *flow, struct sn_health *health,
					    __u64 now)
{
	if (health->consecutive)
		health->consecutive = 0;
	if (health->told)
		*(volatile __u64 *)&health->told = 0;
	sn_judge_success(flow->backend, SN_NO_SAMPLE, now);
}

/* The flow as it is, or as it was: applications report and close, and the close is seen first. What
 * an established flow has left in its slot stays until another socket takes that, with its cookie
 * for a time. The slot may change hands while it is copied, so its holder is looked at again. */
static __always_inline int sn_told_flow(const struct sn_told *told, struct sn_flow *ret)
{
	const struct sn_flow *flow = sn_flow_slot(told->cookie);
	__u64 holder;

	if (!flow || !told->cookie)
		return SN_TELL_UNKNOWN;
	holder = *(volatile const __u64 *)&flow->cookie;
	*ret = *flow;
	if (*(volatile const __u64 *)&flow->cookie != holder ||
	    (holder ? holder : ret->start_ns) != told->cookie)
		return SN_TELL_UNKNOWN;
	if (ret->workload != (__u32)told->cgroup_id)
		return SN_TELL_FOREIGN;
	if (!holder) {
		ret->cookie = told->cookie;
		ret->state = SN_FLOW_ESTABLISHED;
		ret->start_ns = 0;
	}
	return ret->state < SN_FLOW_ESTABLISHED ? SN_TELL_EARLY : SN_TELL_COUNTED;
}

static __always_inline int sn_told_judge(const struct sn_told *told, __u64 now)
{
	const struct sn_backend *backend;
	struct sn_health *health;
	struct sn_flow flow = {};
	int answer = sn_told_flow(told, &flow);

	if (answer != SN_TELL_COUNTED)
		return answer;
	backend = sn_backend_at(flow.backend);
	health = sn_health_at(flow.backend);
	if (!backend || !health || backend->incarnation != flow.incarnation)
		return SN_TELL_STALE;
	if (told->failed)
		sn_told_failure(&flow, health, now);
	else
		sn_told_success(&flow, health, now);
	return SN_TELL_COUNTED;
}
