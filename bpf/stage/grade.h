/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * May this candidate be had now, and how does its load compare? Between two steps of pick. Changes
 * nothing, but for the half-open lease that it takes.
 *
 * An ask holds numbers, no pointers, so that the verifier can judge each step by itself (SN_ONCE):
 * followed from every door through every step at once, a pick is more than it is ready to read.
 */
#pragma once

#include "knobs.bpf.h"
#include "maps.bpf.h"

/* What a pick is asked for, and what it must avoid. */
struct sn_ask {
	__u64 now;    /* CLOCK_MONOTONIC; a tick's precision will do */
	__u64 caller; /* for affinity and consistent hashing */
	__u32 service;
	__u32 policy;
	__u32 workload;        /* low 32 bits of the cgroup id */
	__u32 avoid;           /* the backend that failed this caller lately; SN_NONE */
	__u32 draw;            /* 32 random bits, so that tests can choose */
	__u32 tried[SN_TRIES]; /* failover: not these; SN_NONE for those not used */
	__u8 proto;
	__u8 flags; /* SN_ASK_* */
	__u16 pad;
};

#define SN_ASK_DRY 0x01    /* only tell: take no lease, count nothing */
#define SN_ASK_ANY 0x02    /* panic: ejection is ignored */
#define SN_ASK_PROBES 0x04 /* panic, and traffic is refused: probes only */

enum sn_grade {
	SN_GRADE_TORN = 0, /* not this service's any more */
	SN_GRADE_NONE = 1, /* ejected, held, tried */
	SN_GRADE_FULL = 2, /* at its limit */
	SN_GRADE_AGAIN =
		3, /* half-open, but failed this caller lately: its probe if all else fails */
	SN_GRADE_LAST = 4, /* failed this caller lately: if there is no other in any level */
	SN_GRADE_SLOW = 5, /* starts slowly: if there is no other in its level */
	SN_GRADE_GOOD = 6,
	SN_GRADE_PROBE = 7, /* half-open, and this pick is the probe */
};

/* A candidate in one word, the greater the better: grade in 3 bits, what its load leaves of 29
 * bits, backend index in 32. */
#define SN_LOAD_MAX 0x1fffffffu
#define SN_CANDIDATE_GRADE(word) ((__u32)((word) >> 61))
#define SN_CANDIDATE_RANK(word) ((__u32)((word) >> 32))

static __always_inline int sn_is_held(const struct sn_health *health, __u64 now)
{
	return health->held && now < health->held_until_ns;
}

/* The lease with one more admission in this interval; 0: all of them are given. A tick that is
 * older than the interval belongs to it, too. */
static __always_inline __u64 sn_probe_next(__u64 seen, const struct sn_policy *policy, __u64 ms)
{
	__u64 begun = seen >> 8;

	if (!seen || (ms > begun && ms - begun >= policy->base_ns / 1000000))
		return ms << 8 | 1;
	return (seen & 255) < policy->probes ? seen + 1 : 0;
}

/* One admission of `probes` per interval; one compare-and-swap decides among all CPUs. `until`:
 * what made the backend half-open; if that has changed meanwhile, its lease is another one's. */
static __always_inline int sn_probe_take(const struct sn_ask *ask, struct sn_health *health,
					 const struct sn_policy *policy, __u64 until)
{
	__u64 seen = *(volatile __u64 *)&health->probe;
	__u64 next = sn_probe_next(seen, policy, ask->now / 1000000);

	if (!next || ask->flags & SN_ASK_DRY)
		return next ? SN_GRADE_PROBE : SN_GRADE_NONE;
	if (__sync_val_compare_and_swap(&health->probe, seen, next) != seen ||
	    *(volatile __u64 *)&health->ejected_until_ns != until)
		return SN_GRADE_NONE;
	return SN_GRADE_PROBE;
}

/* An admission that nobody made use of is given back. */
static __always_inline void sn_probe_return(struct sn_health *health)
{
	__u64 seen = *(volatile __u64 *)&health->probe;

	if (*(volatile __u64 *)&health->ejected_until_ns && seen & 255)
		__sync_val_compare_and_swap(&health->probe, seen, seen - 1);
}

/* Of a backend that is ejected or half-open. Where nothing is probed it is in use when its time is
 * over. */
static __always_inline int sn_grade_ejected(const struct sn_ask *ask, struct sn_health *health,
					    const struct sn_policy *policy, __u32 backend)
{
	__u64 until = *(volatile __u64 *)&health->ejected_until_ns;

	if (!until || ask->flags & SN_ASK_ANY)
		return SN_GRADE_GOOD;
	if (ask->now < until)
		return SN_GRADE_NONE;
	if (!policy->probes || policy->flags & SN_POLICY_SHADOW)
		return ask->flags & SN_ASK_PROBES || ask->proto == SN_PROTO_UDP ? SN_GRADE_PROBE
										: SN_GRADE_GOOD;
	if (backend == ask->avoid)
		return SN_GRADE_AGAIN;
	return sn_probe_take(ask, health, policy, until);
}

/* A new or recovered backend is passed over less and less: its share grows from a tenth to all of
 * it. `draw`: as good as any other random number here. */
static __always_inline int sn_starts_slowly(const struct sn_ask *ask, __u64 slow, __u64 since)
{
	__u64 age;

	if (!slow || !since || ask->now >= since + slow)
		return 0;
	age = ask->now > since ? ask->now - since : 0;
	age = age < slow / 10 ? slow / 10 : age;
	return ((ask->draw * 0x85ebca6bu) >> 16) >= age / (slow / 65536 + 1);
}

static __always_inline int sn_is_tried(const struct sn_ask *ask, __u32 backend)
{
#pragma unroll
	for (int i = 0; i < SN_TRIES; i++)
		if (ask->tried[i] == backend)
			return 1;
	return 0;
}

static __always_inline int sn_grade(const struct sn_ask *ask, const struct sn_policy *policy,
				    struct sn_health *health, __u32 backend)
{
	int grade = SN_GRADE_GOOD;

	if (sn_is_held(health, ask->now) || sn_is_tried(ask, backend))
		return SN_GRADE_NONE;
	if (policy->limit_backend && health->active >= policy->limit_backend)
		return SN_GRADE_FULL;
	if (*(volatile __u64 *)&health->ejected_until_ns)
		grade = sn_grade_ejected(ask, health, policy, backend);
	if (grade != SN_GRADE_GOOD)
		return grade;
	if (ask->flags & SN_ASK_PROBES)
		return SN_GRADE_NONE;
	if (backend == ask->avoid)
		return SN_GRADE_LAST;
	return sn_starts_slowly(ask, policy->slow_start_ns, health->since_ns) ? SN_GRADE_SLOW
									      : SN_GRADE_GOOD;
}

/* What one more connection would cost there: the connections that it has, measured by the mean
 * weight, and the one to come, times how long a connect takes. Equal for idle backends of any
 * weight, so that weights alone decide among those. An old time counts half after each 4.3 s. */
static __always_inline __u32 sn_load(const struct sn_ask *ask, const struct sn_health *health,
				     __u32 weight, __u32 mean)
{
	__u64 age = ask->now > health->cost_ns ? (ask->now - health->cost_ns) >> 32 : 0;
	__u64 cost = age < 32 ? health->cost >> age : 0;
	__u64 each = mean && weight && weight != mean ? (mean << 8) / weight : 256;
	__u64 load = (cost ? cost : 1) * (health->active * each + 256) >> 4;

	return load < SN_LOAD_MAX ? load : SN_LOAD_MAX;
}

/* A backend as a candidate; 0: it is not the service's. */
SN_ONCE __u64 sn_weigh(const struct sn_ask *ask, __u32 index, __u32 mean)
{
	const struct sn_backend *backend = sn_backend_at(index);
	struct sn_health *health = sn_health_at(index);
	const struct sn_policy *policy;
	__u64 grade;

	if (!ask || !backend || !health || backend->service != ask->service)
		return 0;
	policy = sn_policy_at(ask->policy);
	if (!policy)
		return 0;
	grade = sn_grade(ask, policy, health, index);
	return grade << 61 |
	       (__u64)(SN_LOAD_MAX - sn_load(ask, health, backend->weight, mean)) << 32 | index;
}
