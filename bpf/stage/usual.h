/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * The pick when there is nothing to say: nothing failed lately, nobody is ejected, held or starts
 * slowly, nothing is limited. Before pick, in line in the doors; whatever else there is goes to
 * the whole pick, and where both can decide they decide the same.
 *
 * Each call costs as much as three lookups where returns are guarded (SRSO, retbleed), and the
 * whole pick is a chain of them: this keeps the price of features from those who do not need them
 * right now. Changes nothing, takes nothing.
 */
#pragma once

#include "maps.bpf.h"
#include "stage/grade.h"
#include "stage/memory.h"
#include "stage/pick.h"

/* A failure is late when no caller's memory of it counts any more. */
static __always_inline int sn_is_usual(const struct sn_policy *policy,
				       const struct sn_svc_state *state, __u64 now)
{
	__u64 failed = *(volatile const __u64 *)&state->failed_ns;

	return (!failed || !sn_is_within(now, failed, sn_memory_ns(policy) + 1)) &&
	       !(state->panic_ns | state->ejected | state->held) &&
	       policy->algorithm <= SN_ALGORITHM_P2C &&
	       !(policy->limit_service | policy->limit_backend | policy->limit_pending |
		 policy->affinity | policy->slow_start_ns);
}

/* The slot's member as a candidate, as sn_weigh() has it. 0: there is something to say. */
static __always_inline __u64 sn_usual_look(const struct sn_ask *ask, const struct sn_level *level,
					   __u32 at, __u32 fraction)
{
	const struct sn_slot *slot = sn_slot_at(level->first + at);
	const struct sn_backend *backend;
	const struct sn_health *health;
	__u32 index;

	if (!slot || slot->service != ask->service)
		return 0;
	index = fraction <= slot->cut ? slot->backend : slot->alias;
	backend = sn_backend_at(index);
	health = sn_health_at(index);
	if (!backend || !health || backend->service != ask->service || health->held ||
	    *(volatile const __u64 *)&health->ejected_until_ns)
		return 0;
	return (__u64)SN_GRADE_GOOD << 61 |
	       (__u64)(SN_LOAD_MAX - sn_load(ask, health, backend->weight, level->mean)) << 32 |
	       index;
}

/* The better of the first and of another one, as sn_pick_of_two(). */
static __always_inline __u64 sn_usual_of_two(const struct sn_ask *ask, const struct sn_level *level,
					     __u64 first)
{
	__u64 product = (__u64)sn_mix(ask->draw) * level->count, other;
	__u32 at = product >> 32;

	other = sn_usual_look(ask, level, at, product);
	if ((__u32)other == (__u32)first)
		other = sn_usual_look(ask, level, at + 1 < level->count ? at + 1 : 0, 0);
	if (!other || (__u32)other == (__u32)first)
		return 0;
	return SN_CANDIDATE_RANK(other) > SN_CANDIDATE_RANK(first) ? other : first;
}

/* 1: picked. 0: not decided here. */
static __always_inline int sn_pick_usual(const struct sn_ask *ask, const struct sn_service *service,
					 struct sn_pick *ret)
{
	__u32 at = *(volatile const __u32 *)&service->set;
	const struct sn_svc_state *state = sn_svc_state_at(ask->service);
	const struct sn_policy *policy = sn_policy_at(ask->policy);
	const struct sn_set *set = (const void *)sn_slot_at(at);
	const __u32 *counts = (const void *)sn_slot_at(at + 1);
	struct sn_level level = {.first = at + SN_SET_HEADER};
	__u64 product, best;

	if (!state || !policy || !set || !counts || set->service != ask->service || !counts[0] ||
	    !sn_is_usual(policy, state, ask->now))
		return 0;
	level.count = counts[0];
	level.mean = set->uniform & 1 ? 0 : set->weight;
	product = (__u64)ask->draw * level.count;
	best = sn_usual_look(ask, &level, product >> 32, product);
	if (best && policy->algorithm == SN_ALGORITHM_P2C && level.count > 1)
		best = sn_usual_of_two(ask, &level, best);
	if (!best)
		return 0;
	ret->index = best;
	ret->set = at;
	ret->count = set->total;
	ret->grade = SN_GRADE_GOOD;
	return 1;
}
