/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * What a caller remembers of a service that failed it: the backend to avoid for a while, and how
 * many re-attempts it may still make. Before pick; written after judge. A caller that nothing
 * failed has no entry, and a service of which nothing failed lately is not looked up.
 *
 * The budget is a bucket of tokens (as Finagle's RetryBudget, in the integers that one
 * compare-and-swap can change): it fills by `budget_per_second` and by `budget_percent` of each
 * first attempt, holds at most what the former gives in `budget_ns`, and a re-attempt takes one.
 */
#pragma once

#include "maps.bpf.h"
#include "stage/account.h"
#include "stage/limit.h"

#define SN_TOKEN 256u
#define SN_BUDGET_MS 125u            /* in which a token a second gives a whole number of units */
#define SN_TICKS_BACK (~0u - 10000u) /* a difference above is one of up to 10 s backwards */

static __always_inline __u32 sn_budget_most(const struct sn_policy *policy)
{
	__u64 most =
		(__u64)policy->budget_per_second * SN_TOKEN * (policy->budget_ns / 1000000) / 1000;

	most = most > SN_TOKEN ? most : SN_TOKEN;
	return most < 0x7fffffff ? most : 0x7fffffff;
}

/* The bucket as it is at `ms`: filled by each eighth of a second that has passed, which gives whole
 * units at any rate, so that nothing is lost however often it is asked. A tick that is a little
 * older than the last one (as CPUs may see it) fills nothing. */
static __always_inline __u64 sn_budget_fill(const struct sn_policy *policy, __u64 budget, __u32 ms)
{
	__u64 tokens = (__u32)budget, steps,
	      enough = policy->budget_ns / (SN_BUDGET_MS * 1000000) + 1;
	__u32 then = budget >> 32, passed = ms - then, most = sn_budget_most(policy);

	steps = passed < SN_TICKS_BACK ? passed / SN_BUDGET_MS : 0;
	then = steps > enough ? ms : then + steps * SN_BUDGET_MS;
	steps = steps > enough ? enough : steps;
	tokens += steps * policy->budget_per_second * (SN_TOKEN * SN_BUDGET_MS / 1000);
	return (__u64)then << 32 | (tokens < most ? tokens : most);
}

/* The bucket after one attempt at `ms`: a first one deposits, a re-attempt withdraws. ~0: there was
 * nothing to withdraw. */
SN_ONCE __u64 sn_budget_next(const struct sn_policy *policy, __u64 budget, __u32 ms, int is_again)
{
	__u32 tokens, most;

	if (!policy)
		return ~0ULL;
	most = sn_budget_most(policy);
	budget = sn_budget_fill(policy, budget, ms);
	tokens = budget;
	if (is_again && tokens < SN_TOKEN)
		return ~0ULL;
	if (is_again)
		tokens -= SN_TOKEN;
	else
		tokens += policy->budget_percent * SN_TOKEN / 100;
	return (budget >> 32) << 32 | (tokens < most ? tokens : most);
}

/* 0: over the budget. The loop is as bare as can be: Linux 6.1 refuses one whose way back is no
 * jump, as clang likes to lay out longer ones. */
SN_ONCE int sn_budget_spend(struct sn_memory *memory, const struct sn_policy *policy, __u32 ms,
			    int is_again)
{
	__u64 next, old, seen;

	if (!memory || !policy)
		return 1;
	seen = *(volatile __u64 *)&memory->budget;
#pragma clang loop unroll(disable)
	for (int i = 0; i < 64; i++) {
		old = seen;
		next = sn_budget_next(policy, old, ms, is_again);
		if (next == ~0ULL)
			return 0;
		seen = __sync_val_compare_and_swap(&memory->budget, old, next);
		if (seen == old)
			return 1;
	}
	return 0;
}

static __always_inline __u64 sn_memory_ns(const struct sn_policy *policy)
{
	return policy->negative_ns > policy->budget_ns ? policy->negative_ns : policy->budget_ns;
}

/* NULL: nothing failed this caller at this service lately. */
static __always_inline struct sn_memory *sn_recall(const struct sn_svc_state *state,
						   const struct sn_policy *policy, __u32 workload,
						   __u32 service, __u64 now)
{
	struct sn_memory_key key = {.workload = workload, .service = service};
	__u64 failed = *(volatile const __u64 *)&state->failed_ns;

	if (!failed || (now > failed && now - failed > sn_memory_ns(policy)))
		return NULL;
	return bpf_map_lookup_elem(&sn_memory, &key);
}

/* `failed_ns` is exact and `now` may be a tick old. */
static __always_inline int sn_is_within(__u64 now, __u64 since, __u64 ns)
{
	return now < since || now - since < ns;
}

static __always_inline __u32 sn_memory_avoids(const struct sn_memory *memory,
					      const struct sn_policy *policy, __u64 now)
{
	const struct sn_backend *backend;

	if (!policy->negative_ns || !sn_is_within(now, memory->failed_ns, policy->negative_ns))
		return SN_NONE;
	backend = sn_backend_at(memory->backend);
	return backend && backend->incarnation == memory->incarnation ? memory->backend : SN_NONE;
}

/* 0: over the budget. Each failure makes one later attempt a re-attempt; one that is refused for
 * the budget leaves the next attempt to be that. */
static __always_inline int sn_memory_may_try(struct sn_memory *memory,
					     const struct sn_policy *policy, __u64 now)
{
	int is_again;

	if (!policy->budget_ns || !sn_is_within(now, memory->failed_ns, policy->budget_ns))
		return 1;
	is_again = sn_limit_give(&memory->owed);
	if (sn_budget_spend(memory, policy, now / 1000000, is_again))
		return 1;
	if (is_again && policy->flags & SN_POLICY_BUDGET_ENFORCE)
		__sync_fetch_and_add(&memory->owed, 1);
	return 0;
}

/* What the caller has already is brought up to date. Re-attempts that never came are forgotten with
 * the failures that they were owed for. */
static __always_inline int sn_remember_again(const struct sn_memory_key *key,
					     const struct sn_flow *flow,
					     const struct sn_policy *policy, __u64 now)
{
	struct sn_memory *memory = bpf_map_lookup_elem(&sn_memory, key);

	if (!memory)
		return 0;
	if (!sn_is_within(now, memory->failed_ns, policy->budget_ns))
		*(volatile __u32 *)&memory->owed = 0;
	memory->backend = flow->backend;
	memory->incarnation = flow->incarnation;
	memory->failed_ns = now;
	__sync_fetch_and_add(&memory->owed, 1);
	return 1;
}

/* A backend's own failure, as its caller will remember it, if the policy wants that. */
SN_ONCE int sn_remember(const struct sn_flow *flow, __u64 now)
{
	struct sn_memory_key key = {};
	struct sn_memory fresh = {};
	const struct sn_backend *backend;
	const struct sn_service *service;
	const struct sn_policy *policy;

	backend = flow ? sn_backend_at(flow->backend) : NULL;
	service = backend ? sn_service_at(backend->service) : NULL;
	policy = service ? sn_policy_at(service->policy) : NULL;
	if (!policy || !sn_memory_ns(policy))
		return 0;
	key.workload = flow->workload;
	key.service = backend->service;
	if (sn_remember_again(&key, flow, policy, now))
		return 1;
	fresh.failed_ns = now;
	/* Full: cut to the policy's most when it is read. */
	fresh.budget = now / 1000000 << 32 | 0x7fffffff;
	fresh.backend = flow->backend;
	fresh.incarnation = flow->incarnation;
	fresh.owed = 1;
	/* That another thread of the caller was first is no lack of room. */
	if (bpf_map_update_elem(&sn_memory, &key, &fresh, BPF_NOEXIST) &&
	    !sn_remember_again(&key, flow, policy, now))
		sn_count_node(SN_R_MEMORY_FULL);
	return 1;
}
