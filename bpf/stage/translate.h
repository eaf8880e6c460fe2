/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * The whole decision for one destination, from resolve to pick: what the connect and the sendmsg
 * doors share, and what explain asks. Counts refusals; remembers no flow.
 */
#pragma once

#include "stage/account.h"
#include "stage/admit.h"
#include "stage/affinity.h"
#include "stage/eject.h"
#include "stage/judge.h"
#include "stage/limit.h"
#include "stage/memory.h"
#include "stage/pick.h"
#include "stage/report.h"
#include "stage/resolve.h"
#include "stage/usual.h"

#define SN_NOT_OURS SN_R_MAX

struct sn_choice {
	struct sn_service *service; /* NULL: not a service address */
	struct sn_backend *backend; /* what was picked; NULL: nothing */
	struct sn_health *health;
	struct sn_ask ask;
	struct sn_pick pick;
};

/* Finds the service and its policy. 0: not ours. */
static __always_inline int sn_choice_resolve(struct sn_choice *choice,
					     const struct sn_frontend *dest)
{
	choice->service = sn_resolve(dest, &choice->ask.service);
	if (!choice->service)
		return 0;
	choice->ask.policy = choice->service->policy;
	choice->ask.proto = dest->proto;
	return 1;
}

/* A caller that a member failed lately: what to avoid, and whether it may try again already. */
static __always_inline int sn_choice_recall(struct sn_ask *ask, const struct sn_policy *policy,
					    const struct sn_svc_state *state)
{
	struct sn_memory *memory;

	memory = sn_recall(state, policy, ask->workload, ask->service, ask->now);
	if (!memory)
		return SN_R_CONNECTED;
	ask->avoid = sn_memory_avoids(memory, policy, ask->now);
	if (ask->flags & SN_ASK_DRY || sn_memory_may_try(memory, policy, ask->now))
		return SN_R_CONNECTED;
	if (policy->flags & SN_POLICY_BUDGET_ENFORCE)
		return SN_R_RETRY_BUDGET;
	sn_count_service(ask->service, SN_R_RETRY_BUDGET);
	return SN_R_CONNECTED;
}

/* The pick, and a place below the backend's limit; another pick when that place was gone. */
static __always_inline int sn_choice_take(struct sn_ask *ask, const struct sn_policy *policy,
					  struct sn_pick *ret)
{
	struct sn_health *health;
	int reason;

#pragma clang loop unroll(disable)
	for (int i = 0; i < 4; i++) {
		reason = SN_R_CONNECTED;
		if (!policy->affinity || !sn_affinity_recall(ask, ret))
			reason = sn_pick(ask, ret);
		if (reason != SN_R_CONNECTED || !policy->limit_backend || ask->flags & SN_ASK_DRY)
			return reason;
		health = sn_health_at(ret->index);
		if (health && sn_limit_take(&health->active, policy->limit_backend)) {
			ret->taken |= SN_TAKEN_ACTIVE;
			return SN_R_CONNECTED;
		}
		if (health && ret->grade == SN_GRADE_PROBE)
			sn_probe_return(health);
	}
	return SN_R_LIMITED;
}

static __always_inline int sn_choose_within(struct sn_ask *ask, const struct sn_policy *policy,
					    struct sn_svc_state *state, struct sn_pick *ret)
{
	__u8 taken = 0;
	int reason;

	if (!(ask->flags & SN_ASK_DRY) && !sn_service_take(state, policy, ask->proto, &taken))
		return SN_R_LIMITED;
	reason = sn_choice_take(ask, policy, ret);
	if (reason != SN_R_CONNECTED) {
		sn_service_give(ask->service, taken);
		return reason;
	}
	ret->taken |= taken;
	if (ask->flags & SN_ASK_DRY)
		return reason;
	if (ret->panic)
		sn_count_service(ask->service, SN_R_PANIC);
	if (ask->proto == SN_PROTO_UDP && ret->grade == SN_GRADE_PROBE)
		sn_revive(ret->index, ask->now);
	if (policy->affinity)
		sn_affinity_keep(ask, ret->index, policy->affinity_ns);
	return reason;
}

/* SN_R_CONNECTED and a pick, which holds what its policy limits until it is booked; or why not. */
SN_ONCE int sn_choose(struct sn_ask *ask, struct sn_pick *ret)
{
	const struct sn_policy *policy;
	struct sn_svc_state *state;
	int reason;

	if (!ask || !ret)
		return SN_R_TORN;
	policy = sn_policy_at(ask->policy);
	state = sn_svc_state_at(ask->service);
	if (!policy || !state)
		return SN_R_TORN;
	reason = sn_choice_recall(ask, policy, state);
	return reason == SN_R_CONNECTED ? sn_choose_within(ask, policy, state, ret) : reason;
}

/* Looks up what was picked. */
static __always_inline __u32 sn_choice_settle(struct sn_choice *choice)
{
	choice->backend = sn_backend_at(choice->pick.index);
	choice->health = sn_health_at(choice->pick.index);
	return choice->backend && choice->health ? SN_R_CONNECTED : SN_R_TORN;
}

static __always_inline __u32 sn_choose_backend(struct sn_choice *choice)
{
	int reason = sn_choose(&choice->ask, &choice->pick);

	return reason == SN_R_CONNECTED ? sn_choice_settle(choice) : reason;
}

/* The same, faster where there is nothing to say, for doors that have the room for it. */
static __always_inline __u32 sn_choose_swiftly(struct sn_choice *choice)
{
	if (sn_pick_usual(&choice->ask, choice->service, &choice->pick))
		return sn_choice_settle(choice);
	return sn_choose_backend(choice);
}

static __always_inline int sn_errno_of(__u32 reason)
{
	switch (reason) {
	case SN_R_NO_BACKEND:
		return -SN_EHOSTUNREACH;
	case SN_R_LIMITED:
		return -SN_EAGAIN;
	case SN_R_RETRY_BUDGET:
		return -SN_ECONNREFUSED;
	default:
		return 0;
	}
}

/* Books a destination that gets no backend. 0: the socket passes untouched; else a negative errno
 * for the caller. */
static __always_inline int sn_decline(const struct sn_frontend *dest, __u32 index, __u32 reason)
{
	int error = sn_errno_of(reason);

	sn_count_service(index, reason);
	if (error)
		sn_report_refused(dest, index, reason);
	return error;
}

static __always_inline __be16 sn_choice_port(const struct sn_choice *choice,
					     const struct sn_frontend *dest)
{
	return choice->backend->port_be ?: dest->port_be;
}
