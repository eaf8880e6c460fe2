/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Remembering a socket from its pick to its end, exactly once each way. After pick, before the
 * rewrite; the end comes from sock_release or from TCP's move to CLOSE, whichever is first.
 *
 * A flow is claimed by changing its slot's cookie from 0, and ended by changing it back: the one
 * who succeeds books the end. Fields are copied before that, for the slot may be claimed at once.
 */
#pragma once

#include "knobs.bpf.h"
#include "stage/account.h"
#include "stage/judge.h"
#include "stage/pick.h"
#include "stage/report.h"

static __always_inline __u64 *sn_spilled_count(void)
{
	__u32 zero = 0;

	return bpf_map_lookup_elem(&sn_spilled, &zero);
}

static __always_inline struct sn_flow *sn_flow_slot(__u64 cookie)
{
	return sn_flow_at((__u32)cookie & sn_flow_mask);
}

/* The socket's flow or NULL. `sk`: the context's socket, or NULL to look at the table only. */
static __always_inline struct sn_flow *sn_flow_find(__u64 cookie, void *sk)
{
	struct sn_flow *flow = sn_flow_slot(cookie);
	__u64 *spilled;

	if (flow && flow->cookie == cookie)
		return flow;
	spilled = sn_spilled_count();
	if (!spilled || !*spilled || !sk)
		return NULL;
	flow = bpf_sk_storage_get(&sn_flow_spill, sk, 0, 0);
	return flow && flow->cookie == cookie ? flow : NULL;
}

/* The backend's health if the index still means the backend that the flow was given. */
static __always_inline struct sn_health *sn_flow_health(const struct sn_flow *flow)
{
	struct sn_backend *backend = sn_backend_at(flow->backend);

	if (backend && backend->incarnation == flow->incarnation)
		return sn_health_at(flow->backend);
	sn_count_node(SN_R_FLOW_STALE);
	return NULL;
}

/* Books what an ended flow meant. `error`: the socket's sk_err, for a connect in progress;
 * `reset`: an established connection was reset before its first byte. */
static __always_inline void sn_flow_book_end(const struct sn_flow *flow, int error, int reset)
{
	struct sn_health *health = sn_flow_health(flow);
	__u32 reason = SN_R_CONNECTED;
	__u64 now = 0;

	if (flow->state == SN_FLOW_CONNECTING) {
		now = bpf_ktime_get_ns();
		reason = sn_judge_connect(error, now - flow->start_ns);
	} else if (flow->state == SN_FLOW_PICKED) {
		reason = SN_R_NOT_SENT;
	} else if (reset) {
		now = bpf_ktime_get_ns();
		reason = SN_R_RESET;
	}
	if (health) {
		__sync_fetch_and_add(&health->active, -1);
		if (reason != SN_R_CONNECTED)
			sn_count_failure(health, reason, now);
	}
	if (reason != SN_R_CONNECTED)
		sn_report_flow(flow, SN_EVENT_OUTCOME, reason, now ?: bpf_ktime_get_ns());
}

/* No socket's cookie: its flow is being ended. */
#define SN_FLOW_ENDING (~0ULL)

/* Incarnation, state and flags as one word. An application may close a socket on one CPU while the
 * answer to its SYN comes in on another: who changes the word has the say. */
static __always_inline __u32 *sn_flow_word(struct sn_flow *flow)
{
	return (__u32 *)&flow->incarnation;
}

/* From one state to the next; 0: it is in another one by now. */
static __always_inline int sn_flow_move(struct sn_flow *flow, __u8 from, __u8 to)
{
	struct sn_flow seen = {};
	__u32 old = *(volatile __u32 *)sn_flow_word(flow);

	*sn_flow_word(&seen) = old;
	if (seen.state != from)
		return 0;
	seen.state = to;
	return __sync_val_compare_and_swap(sn_flow_word(flow), old, *sn_flow_word(&seen)) == old;
}

static __always_inline void sn_flow_end(struct sn_flow *flow, __u64 cookie, int error, int reset)
{
	struct sn_flow copy;
	__u64 *spilled;

	if (__sync_val_compare_and_swap(&flow->cookie, cookie, SN_FLOW_ENDING) != cookie)
		return;
	copy = *flow;
	*sn_flow_word(&copy) = __sync_lock_test_and_set(sn_flow_word(flow), 0);
	*(volatile __u64 *)&flow->cookie = 0;
	if (flow != sn_flow_slot(cookie)) {
		spilled = sn_spilled_count();
		if (spilled)
			__sync_fetch_and_add(spilled, -1);
	}
	copy.cookie = cookie;
	if (copy.state != SN_FLOW_FREE)
		sn_flow_book_end(&copy, error, reset);
}

static __always_inline struct sn_flow *sn_flow_spill_new(__u64 cookie, void *sk)
{
	struct sn_flow *flow =
		bpf_sk_storage_get(&sn_flow_spill, sk, 0, BPF_SK_STORAGE_GET_F_CREATE);
	__u64 *spilled = sn_spilled_count();

	if (!flow || !spilled)
		return NULL;
	if (!flow->cookie)
		__sync_fetch_and_add(spilled, 1);
	flow->state = SN_FLOW_FREE;
	flow->cookie = cookie;
	sn_count_node(SN_R_FLOW_SPILLED);
	return flow;
}

/* Room for the socket's new flow: its own old one (which ends here), a free slot, or socket
 * storage. NULL: none; the connection works, but is not tracked. */
static __always_inline struct sn_flow *sn_flow_claim(__u64 cookie, void *sk)
{
	struct sn_flow *flow = sn_flow_find(cookie, sk);

	if (flow) {
		sn_flow_book_end(flow, 0, 0);
		flow->state = SN_FLOW_FREE;
		return flow;
	}
	flow = sn_flow_slot(cookie);
	if (flow && !flow->cookie && !__sync_val_compare_and_swap(&flow->cookie, 0, cookie)) {
		flow->state = SN_FLOW_FREE; /* it still says what its last socket was */
		return flow;
	}
	return sn_flow_spill_new(cookie, sk);
}

/* Fills a claimed flow with what was picked. The state goes in last: a reader of the table skips a
 * free one. */
static __always_inline void sn_flow_fill(struct sn_flow *flow, const struct sn_frontend *dest,
					 const struct sn_pick *pick, __be16 port_be)
{
	flow->orig = dest->addr;
	flow->orig_port_be = dest->port_be;
	flow->peer = pick->backend->addr;
	flow->peer_port_be = port_be;
	flow->backend = pick->index;
	flow->incarnation = pick->backend->incarnation;
	flow->workload = (__u32)bpf_get_current_cgroup_id();
	flow->flags = 0;
	if (dest->proto == SN_PROTO_UDP)
		flow->start_ns = bpf_ktime_get_ns();
}

/* Books a pick: one more attempt, and one more flow if it is tracked. A datagram socket has no
 * handshake: bound is connected. */
static __always_inline void sn_book_pick(const struct sn_pick *pick, __u8 proto, int tracked)
{
	struct sn_health *health = sn_health_at(pick->index);

	if (!health)
		return;
	__sync_fetch_and_add(&health->attempts, 1);
	if (tracked)
		__sync_fetch_and_add(&health->active, 1);
	if (proto == SN_PROTO_UDP || !tracked)
		sn_count_outcome(health, SN_R_CONNECTED);
}
