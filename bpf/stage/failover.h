/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * A connect goes on: the backend that failed is judged, and the flow moves to the next one. Between
 * the packet that tells of the failure (hook/failover) and the SYN that is sent anew (reborn). Only
 * the SYN phase comes here, with an entry of sn_syns that is the caller's (SN_SYN_BUSY).
 */
#pragma once

#include "stage/affinity.h"
#include "stage/promise.h"
#include "stage/syn.h"
#include "stage/translate.h"

static __always_inline const struct sn_policy *sn_failover_policy(const struct sn_syn *syn)
{
	const struct sn_service *service = sn_service_at(syn->service);

	return service ? sn_policy_at(service->policy) : NULL;
}

/* Does the policy want a connect to go on after this? */
static __always_inline int sn_failover_wants(const struct sn_policy *policy, __u32 reason)
{
	if (!policy->attempts)
		return 0;
	if (reason == SN_R_REFUSED)
		return !!(policy->flags & SN_POLICY_FAIL_REFUSED);
	if (reason == SN_R_UNREACHABLE)
		return !!(policy->flags & SN_POLICY_FAIL_UNREACHABLE);
	return !!(policy->flags & SN_POLICY_FAIL_TIMEOUT);
}

/* Not tried again; more than there is room for are not tried at all. */
static __always_inline void sn_failover_tried(struct sn_syn *syn, __u32 backend)
{
	__u32 n = syn->n_tried;

	if (n < SN_TRIES)
		syn->tried[n & (SN_TRIES - 1)] = backend;
	syn->n_tried = n + 1;
}

static __always_inline void sn_failover_ask(const struct sn_syn *syn, __u64 now, struct sn_ask *ret)
{
	const struct sn_service *service = sn_service_at(syn->service);

	ret->policy = service ? service->policy : 0;
	ret->service = syn->service;
	ret->workload = syn->workload;
	ret->caller = syn->workload;
	ret->now = now;
	ret->draw = bpf_get_prandom_u32();
	ret->proto = SN_PROTO_TCP;
#pragma unroll
	for (int i = 0; i < SN_TRIES; i++)
		ret->tried[i] = syn->tried[i];
}

/* The next backend, whose `active` is raised already; SN_NONE: there is none to be had. What the
 * policy limits for the service is the flow's already. */
SN_ONCE __u32 sn_failover_pick(struct sn_syn *syn, __u64 now)
{
	const struct sn_policy *policy;
	struct sn_health *health;
	struct sn_pick pick = {};
	struct sn_ask ask = {};

	if (!syn)
		return SN_NONE;
	policy = sn_failover_policy(syn);
	if (!policy || syn->moves >= policy->attempts || syn->n_tried > SN_TRIES)
		return SN_NONE;
	sn_failover_ask(syn, now, &ask);
	if (sn_choice_take(&ask, policy, &pick) != SN_R_CONNECTED)
		return SN_NONE;
	health = sn_health_at(pick.index);
	if (!health)
		return SN_NONE;
	if (!(pick.taken & SN_TAKEN_ACTIVE))
		__sync_fetch_and_add(&health->active, 1);
	if (policy->affinity == SN_AFFINITY_WORKLOAD)
		sn_affinity_keep(&ask, pick.index, policy->affinity_ns);
	sn_failover_tried(syn, pick.index);
	return pick.index;
}

/* A picked one that is not used after all. */
static __always_inline void sn_failover_unpick(__u32 backend)
{
	struct sn_health *health = sn_health_at(backend);

	if (health)
		__sync_fetch_and_add(&health->active, -1);
}

static __noinline void sn_report_failed_over(const struct sn_flow *flow, __u32 reason, __u32 next,
					     __u64 now)
{
	struct sn_event *event = sn_event_new(SN_EVENT_FAILED_OVER, reason, now);
	struct sn_backend *backend;

	if (!event)
		return;
	backend = sn_backend_at(flow->backend);
	if (backend) {
		event->service = backend->service;
		event->peer = backend->addr;
		event->peer_port_be = backend->port_be ?: flow->orig_port_be;
	}
	event->cookie = flow->cookie;
	event->orig = flow->orig;
	event->orig_port_be = flow->orig_port_be;
	event->backend = flow->backend;
	event->workload = flow->workload;
	event->incarnation = flow->incarnation;
	event->latency_ns = now - flow->start_ns;
	event->proto = SN_PROTO_TCP;
	event->next = next;
	/* On a packet's way: a wake-up costs more than all the rest. The reader looks by itself. */
	bpf_ringbuf_submit(event, BPF_RB_NO_WAKEUP);
}

/* The backend that failed, as the flow had it. */
static __always_inline void sn_failover_judge(const struct sn_flow *old, __u32 reason, __u32 next,
					      __u64 now)
{
	struct sn_health *health = sn_flow_health(old);

	if (health) {
		__sync_fetch_and_add(&health->active, -1);
		__sync_fetch_and_add(&health->failed_over, 1);
		sn_outcome_failed(old, health, reason, now);
	}
	sn_report_failed_over(old, reason, next, now);
}

/* Takes the flow out of sight if it is still the socket's and in its SYN phase; *ret: as it was.
 * What ends meanwhile is found by sn_flow_return(). */
static __always_inline int sn_failover_take(struct sn_flow *flow, __u64 cookie, struct sn_flow *ret)
{
	__u32 word;

	if (*(volatile __u64 *)&flow->cookie != cookie)
		return 0;
	word = sn_flow_hold(flow);
	if (!word)
		return 0;
	*ret = *flow;
	*sn_flow_word(ret) = word;
	if (*(volatile __u64 *)&flow->cookie == cookie)
		return 1;
	sn_flow_return(flow, cookie, word);
	return 0;
}

/* Moves the flow to `next`, which sn_failover_pick() gave. 0: it ended meanwhile. */
SN_ONCE int sn_failover_move(const struct sn_syn *syn, __u32 next, __u32 reason, __u64 now)
{
	const struct sn_backend *backend = sn_backend_at(next);
	struct sn_health *health = sn_health_at(next);
	struct sn_flow *flow, old = {};
	__u64 cookie;

	if (!syn || !backend || !health)
		return 0;
	cookie = *(volatile const __u64 *)&syn->cookie;
	flow = sn_flow_slot(cookie);
	if (!flow || !sn_failover_take(flow, cookie, &old)) {
		sn_failover_unpick(next);
		return 0;
	}
	__sync_fetch_and_add(&health->attempts, 1);
	flow->backend = next;
	flow->start_ns = now;
	sn_flow_return(flow, cookie,
		       backend->incarnation | (__u32)SN_FLOW_CONNECTING << 16 |
			       (__u32)(old.flags | SN_FLOW_MOVED) << SN_FLOW_FLAGS_SHIFT);
	sn_failover_judge(&old, reason, next, now);
	return 1;
}

/* Where a backend is to be reached by this flow. */
static __always_inline int sn_failover_target(const struct sn_syn *syn, __u32 next,
					      struct sn_addr *ret, __be16 *ret_port)
{
	const struct sn_backend *backend = sn_backend_at(next);
	const struct sn_flow *flow = sn_flow_slot(syn->cookie);

	if (!backend || !flow)
		return 0;
	*ret = backend->addr;
	*ret_port = backend->port_be ?: flow->orig_port_be;
	return 1;
}
