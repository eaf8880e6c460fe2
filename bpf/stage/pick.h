/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Service -> backend, in constant time: a draw or two in proportion to the weights (alias method,
 * see struct sn_slot), the better one if both can be had, else the first of some further ones that
 * can. After admit, before promise.
 */
#pragma once

#include "maps.bpf.h"
#include "stage/account.h"
#include "stage/grade.h"
#include "stage/panic.h"

/* How many further slots are looked at when those drawn cannot be had. */
#define SN_LOOKS 32

/* sn_pick.taken, beside SN_FLOW_COUNTED and SN_FLOW_PENDING: sn_health.active is raised. */
#define SN_TAKEN_ACTIVE 0x01

struct sn_pick {
	__u32 index; /* of the backend */
	__u32 set;
	__u32 count; /* members */
	__u8 level;
	__u8 grade; /* enum sn_grade */
	__u8 panic;
	__u8 taken; /* SN_FLOW_* and SN_TAKEN_*: what is held until it is booked */
};

/* One level's slots. */
struct sn_level {
	__u32 first; /* index in sn_slots */
	__u32 count;
	__u32 mean; /* weight; 0: all are equal */
	__u32 pad;
};

/* The slot's member as a candidate. A draw's upper half chose the slot, its lower half is the
 * fraction left inside it: one draw serves both decisions. */
static __always_inline __u64 sn_look(const struct sn_ask *ask, const struct sn_level *level,
				     __u32 at, __u32 fraction)
{
	const struct sn_slot *slot = sn_slot_at(level->first + at);

	if (!slot || slot->service != ask->service)
		return 0;
	return sn_weigh(ask, fraction <= slot->cut ? slot->backend : slot->alias, level->mean);
}

static __always_inline __u32 sn_mix(__u64 key)
{
	key ^= key >> 33;
	key *= 0xff51afd7ed558ccdULL;
	key ^= key >> 33;
	key *= 0xc4ceb9fe1a85ec53ULL;
	return key ^ key >> 33;
}

/* In turn: equal weights take exact turns, others follow a sequence that is spread as evenly as one
 * can be (by the golden ratio). */
static __always_inline __u32 sn_turn(const struct sn_ask *ask, const struct sn_level *level)
{
	struct sn_svc_state *state = sn_svc_state_at(ask->service);
	__u32 turn;

	if (!state)
		return ask->draw;
	turn = ask->flags & SN_ASK_DRY ? state->turn : __sync_fetch_and_add(&state->turn, 1);
	if (level->mean || !level->count)
		return turn * 0x9e3779b1u;
	return (((__u64)(turn % level->count) << 32) + 0x80000000u) / level->count;
}

/* 32 bits that say where in the level to look first. */
static __always_inline __u32 sn_position(const struct sn_ask *ask, const struct sn_level *level,
					 __u8 algorithm)
{
	if (algorithm == SN_ALGORITHM_HASH)
		return sn_mix(ask->caller);
	if (algorithm == SN_ALGORITHM_ROUND_ROBIN)
		return sn_turn(ask, level);
	return ask->draw;
}

/* The better of the first candidate and of another one: of two slots in a row at least one has
 * another member. */
static __always_inline __u64 sn_pick_of_two(const struct sn_ask *ask, const struct sn_level *level,
					    __u64 first)
{
	__u64 product = (__u64)sn_mix(ask->draw) * level->count, other;
	__u32 at = product >> 32, fraction = product;

#pragma clang loop unroll(disable)
	for (int i = 0; i < 3; i++) {
		other = sn_look(ask, level, at, fraction);
		if (!other || (__u32)other != (__u32)first)
			break;
		at = at + 1 < level->count ? at + 1 : 0;
		fraction = 0;
	}
	if (!other)
		return 0;
	return SN_CANDIDATE_RANK(other) > SN_CANDIDATE_RANK(first) ? other : first;
}

/* Slots in a row, as it is done when those drawn cannot be had: from another drawn one on, so that
 * what an ejected member leaves is not all its neighbour's. A caller that is hashed comes to the
 * same one each time. The place is counted from `i` anew each time: around a call the verifier of
 * Linux 6.1 takes every number that lives on for one that matters, and reads the loop for each
 * value of it. (bpf_loop() would need more stack than it grants.) */
SN_ONCE __u64 sn_pick_further(const struct sn_ask *ask, const struct sn_level *level,
			      __u32 position, __u64 best)
{
	__u32 begin, at, left;
	__u64 other;

	if (!ask || !level)
		return 0;
	left = level->count < SN_LOOKS ? level->count : SN_LOOKS;
	begin = (__u64)sn_mix(position ^ 0x9e3779b1u) * level->count >> 32;
#pragma clang loop unroll(disable)
	for (__u32 i = 0; i < SN_LOOKS; i++) {
		if (i >= left || SN_CANDIDATE_GRADE(best) >= SN_GRADE_GOOD)
			break;
		at = begin + i < level->count ? begin + i : begin + i - level->count;
		other = sn_look(ask, level, at, 0);
		if (!other)
			return 0;
		if (SN_CANDIDATE_GRADE(other) > SN_CANDIDATE_GRADE(best))
			best = other;
	}
	return best;
}

/* The best of the level that was looked at; 0: the set was given away meanwhile. */
SN_ONCE __u64 sn_pick_level(const struct sn_ask *ask, const struct sn_level *level, __u32 algorithm)
{
	__u64 product, best;
	__u32 position;

	if (!ask || !level)
		return 0;
	position = sn_position(ask, level, algorithm);
	product = (__u64)position * level->count;
	best = sn_look(ask, level, product >> 32, product);
	if (best && algorithm == SN_ALGORITHM_P2C && level->count > 1 &&
	    SN_CANDIDATE_GRADE(best) != SN_GRADE_PROBE)
		best = sn_pick_of_two(ask, level, best);
	if (!best || SN_CANDIDATE_GRADE(best) >= SN_GRADE_GOOD || level->count < 2)
		return best;
	return sn_pick_further(ask, level, algorithm == SN_ALGORITHM_HASH ? position : ask->draw,
			       best);
}

/* Nobody but a half-open member that failed this caller: it may as well be the probe. */
static __always_inline int sn_pick_again(const struct sn_ask *ask, __u32 index)
{
	const struct sn_policy *policy = sn_policy_at(ask->policy);
	struct sn_health *health = sn_health_at(index);

	if (!policy || !health)
		return SN_GRADE_TORN;
	return sn_probe_take(ask, health, policy, *(volatile __u64 *)&health->ejected_until_ns);
}

static __always_inline int sn_pick_levels(const struct sn_ask *ask, const struct sn_set *set,
					  __u8 algorithm, struct sn_pick *ret)
{
	const __u32 *counts = (const void *)sn_slot_at(ret->set + 1);
	struct sn_level level = {.first = ret->set + SN_SET_HEADER};
	__u64 here, best = 0;

	if (!counts)
		return SN_R_TORN;
#pragma clang loop unroll(disable)
	for (__u32 i = 0; i < SN_LEVELS; i++) {
		level.count = counts[i];
		if (!level.count)
			continue;
		level.mean = set->uniform & 1u << i ? 0 : set->weight;
		here = sn_pick_level(ask, &level, algorithm);
		if (!here)
			return SN_R_TORN;
		if (SN_CANDIDATE_GRADE(here) > SN_CANDIDATE_GRADE(best)) {
			best = here;
			ret->level = i;
		}
		if (SN_CANDIDATE_GRADE(best) >= SN_GRADE_SLOW)
			break;
		level.first += level.count;
	}
	ret->index = best;
	ret->grade = SN_CANDIDATE_GRADE(best);
	if (ret->grade == SN_GRADE_AGAIN)
		ret->grade = sn_pick_again(ask, ret->index);
	if (ret->grade >= SN_GRADE_LAST)
		return SN_R_CONNECTED;
	return ret->grade == SN_GRADE_FULL ? SN_R_LIMITED : SN_R_NO_BACKEND;
}

static __always_inline int sn_pick_once(struct sn_ask *ask, const struct sn_policy *policy,
					__u32 set, struct sn_pick *ret)
{
	const struct sn_set *header = (const void *)sn_slot_at(set);

	if (!header || header->service != ask->service)
		return SN_R_TORN;
	ret->set = set;
	ret->count = header->total;
	if (!ret->count)
		return SN_R_NO_BACKEND;
	ret->panic = sn_panic(ask, ret->count);
	if (ret->panic)
		ask->flags |= policy->flags & SN_POLICY_PANIC_NONE ? SN_ASK_PROBES : SN_ASK_ANY;
	return sn_pick_levels(ask, header, policy->algorithm, ret);
}

/* SN_R_CONNECTED and a backend; SN_R_NO_BACKEND; SN_R_LIMITED; SN_R_TORN when even the second
 * reading met entries that had been given away. */
SN_ONCE int sn_pick(struct sn_ask *ask, struct sn_pick *ret)
{
	const struct sn_service *service;
	const struct sn_policy *policy;
	int reason = SN_R_TORN;

	if (!ask || !ret)
		return SN_R_TORN;
	ask->flags &= ~(SN_ASK_ANY | SN_ASK_PROBES); /* of an earlier look at this service */
	service = sn_service_at(ask->service);
	policy = sn_policy_at(ask->policy);
	if (!service || !policy)
		return SN_R_TORN;
#pragma clang loop unroll(disable)
	for (int i = 0; i < 2 && reason == SN_R_TORN; i++)
		reason = sn_pick_once(ask, policy, *(volatile const __u32 *)&service->set, ret);
	return reason;
}
