/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Remembering a socket from its pick to its end, exactly once each way. After pick, before the
 * rewrite; the end comes from sock_release or from TCP's move to CLOSE, whichever is first.
 *
 * A flow is claimed by changing its slot's cookie from 0, and ended by changing it to
 * SN_FLOW_ENDING: the one who succeeds books the end and then opens the slot. A claimed flow is
 * SN_FLOW_FREE until it is filled.
 */
#pragma once

#include "stage/account.h"
#include "stage/flow.h"
#include "stage/judge.h"
#include "stage/outcome.h"
#include "stage/pick.h"
#include "stage/report.h"
#include "stage/translate.h"

/* The backend's health if the index still means the backend that the flow was given. */
static __always_inline struct sn_health *sn_flow_health(const struct sn_flow *flow)
{
	struct sn_backend *backend = sn_backend_at(flow->backend);

	if (backend && backend->incarnation == flow->incarnation)
		return sn_health_at(flow->backend);
	sn_count_node(SN_R_FLOW_STALE);
	return NULL;
}

/* What its policy counted of the flow, given back. */
static __always_inline void sn_flow_give(const struct sn_flow *flow, __u8 flags)
{
	struct sn_backend *backend = sn_backend_at(flow->backend);

	if (backend && backend->incarnation == flow->incarnation)
		sn_service_give(backend->service, flags);
}

/* Books what a flow meant that nobody else sees any more; `word` is what sn_flow_take() gave.
 * `error`: the socket's sk_err, for a connect in progress; `reset`: an established connection was
 * reset before its first byte. */
static __always_inline void sn_flow_book_end(const struct sn_flow *flow, __u64 cookie, __u32 word,
					     int error, int reset)
{
	struct sn_health *health = sn_flow_health(flow);
	__u8 state = SN_FLOW_STATE_OF(word);
	__u32 reason = SN_R_NOT_SENT;
	__u64 now;

	if (health)
		__sync_fetch_and_add(&health->active, -1);
	sn_flow_give(flow, SN_FLOW_FLAGS_OF(word));
	if (state != SN_FLOW_PICKED && state != SN_FLOW_CONNECTING && !reset)
		return;
	now = bpf_ktime_get_ns();
	if (state == SN_FLOW_CONNECTING)
		reason = sn_judge_connect(error, now - flow->start_ns);
	else if (reset)
		reason = SN_R_RESET;
	if (health)
		sn_outcome_failed(flow, health, reason, now);
	sn_report_flow(flow, cookie, SN_EVENT_OUTCOME, reason, now);
}

/* Ends the flow if it is still the socket's: of two that try, one books. The slot opens to other
 * sockets when nothing of it looks alive. A flow that is just moving to another backend (only those
 * with an entry of sn_syns do) is left to who moves it, whole: two that open a slot would open it
 * under its next holder. */
static __always_inline void sn_flow_end(struct sn_flow *flow, __u64 cookie, int error, int reset)
{
	__u64 *spilled;
	__u32 word;

	if (__sync_val_compare_and_swap(&flow->cookie, cookie, SN_FLOW_ENDING) != cookie)
		return;
	word = sn_flow_take_end(flow);
	if (SN_FLOW_IS_HELD(word))
		return;
	if (SN_FLOW_STATE_OF(word) != SN_FLOW_FREE)
		sn_flow_book_end(flow, cookie, word, error, reset);
	/* A report may come a moment later, and find whose it was: see told.h. */
	flow->start_ns = SN_FLOW_STATE_OF(word) == SN_FLOW_ESTABLISHED ? cookie : 0;
	if (flow != sn_flow_slot(cookie)) {
		spilled = sn_spilled_count();
		if (spilled)
			__sync_fetch_and_add(spilled, -1);
	}
	sn_flow_show(flow, flow->incarnation, SN_FLOW_FREE,
		     SN_FLOW_FLAGS_OF(word) & SN_FLOW_CLAIMED ? SN_FLOW_LISTED : 0);
	*(volatile __u64 *)&flow->cookie = 0;
}

/* Shows a flow again that was held to move it. Its socket may have ended meanwhile, which found
 * nothing to end and took the mark away: then it ends here. Else whoever ends it finds it whole.
 */
static __always_inline void sn_flow_return(struct sn_flow *flow, __u64 cookie, __u32 word)
{
	__u32 held = __sync_lock_test_and_set(sn_flow_word(flow), word); /* a barrier, too */

	if (SN_FLOW_IS_HELD(held))
		return;
	sn_flow_book_end(flow, cookie, sn_flow_take(flow), 0, 0);
	flow->start_ns = 0;
	sn_flow_show(flow, flow->incarnation, SN_FLOW_FREE, 0);
	*(volatile __u64 *)&flow->cookie = 0;
}

/* A flow that is just moving to another backend is in sight again soon. */
SN_ONCE int sn_flow_settle(const struct sn_flow *flow)
{
	if (!flow)
		return 0;
#pragma clang loop unroll(disable)
	for (int i = 0; i < 512; i++)
		if (*(const volatile __u8 *)&flow->state)
			return 1;
	return 0;
}

/* Ends what the flow was, and keeps it for the same socket. 0: another thread is at it. */
static __always_inline int sn_flow_empty(struct sn_flow *flow, __u64 cookie)
{
	__u32 word = sn_flow_take(flow);

	if (SN_FLOW_STATE_OF(word) == SN_FLOW_FREE)
		return 0;
	sn_flow_book_end(flow, cookie, word, 0, 0);
	return 1;
}

static __always_inline struct sn_flow *sn_flow_spill_new(__u64 cookie, void *sk)
{
	struct sn_flow *flow =
		sk ? bpf_sk_storage_get(&sn_flow_spill, sk, 0, BPF_SK_STORAGE_GET_F_CREATE) : NULL;
	__u64 *spilled = sn_spilled_count();

	if (!flow || !spilled || __sync_val_compare_and_swap(&flow->cookie, 0, cookie))
		return NULL;
	__sync_fetch_and_add(spilled, 1);
	sn_count_node(SN_R_FLOW_SPILLED);
	return flow;
}

/* A free slot, or socket storage. NULL also if another thread of this socket has just claimed it.
 */
static __always_inline struct sn_flow *sn_flow_claim_free(__u64 cookie, void *sk)
{
	struct sn_flow *flow = sn_flow_slot(cookie);
	__u64 holder = cookie;

	if (flow)
		holder = __sync_val_compare_and_swap(&flow->cookie, 0, cookie);
	if (!holder && flow) {
		flow->state = SN_FLOW_FREE; /* a version before this one left it as it was */
		return flow;
	}
	return holder == cookie ? NULL : sn_flow_spill_new(cookie, sk);
}

/* The unusual ways to room for a flow: the socket's own old one, which ends here, or storage. */
static __noinline struct sn_flow *sn_flow_claim_other(__u64 cookie, void *sk)
{
	struct sn_flow *flow = sn_flow_find(cookie, sk);

	if (!flow)
		return sn_flow_claim_free(cookie, sk);
	return sn_flow_empty(flow, cookie) ? flow : NULL;
}

/* Who holds the socket's slot: 0 nobody. Asked for early, because the slot's line is seldom in a
 * cache: by the time that it is claimed it has come. */
static __always_inline __u64 sn_flow_holder(__u64 cookie)
{
	struct sn_flow *flow = sn_flow_slot(cookie);

	return flow ? *(volatile __u64 *)&flow->cookie : SN_FLOW_ENDING;
}

/* Room for the socket's new flow, not in sight yet: a free slot, its own old one, or socket
 * storage. NULL: none; the connection works, but is not tracked. */
static __always_inline struct sn_flow *sn_flow_claim(__u64 cookie, __u64 holder, void *sk)
{
	struct sn_flow *flow = sn_flow_slot(cookie);
	__u64 *spilled = sn_spilled_count();

	if (flow && !holder && spilled && !*spilled &&
	    !__sync_val_compare_and_swap(&flow->cookie, 0, cookie))
		return flow;
	return sn_flow_claim_other(cookie, sk);
}

/* Fills a claimed flow with what was picked. It comes in sight last: a reader of the table skips a
 * free one. `start_ns`: 0 for TCP, whose time starts with its SYN. */
static __always_inline void sn_flow_fill(struct sn_flow *flow, const struct sn_frontend *dest,
					 const struct sn_choice *choice, __u8 state, __u64 start_ns)
{
	flow->orig = dest->addr;
	flow->orig_port_be = dest->port_be;
	flow->peer = choice->backend->addr;
	flow->peer_port_be = sn_choice_port(choice, dest);
	flow->backend = choice->pick.index;
	flow->workload = choice->ask.workload;
	flow->start_ns = start_ns;
	sn_flow_show(flow, choice->backend->incarnation, state,
		     choice->pick.taken & (SN_FLOW_COUNTED | SN_FLOW_PENDING));
}

/* Books a pick: one more attempt, and one more flow if it is tracked; what only a flow could give
 * back is not kept without one. A datagram socket has no handshake: bound is connected. */
static __always_inline void sn_book_pick(const struct sn_choice *choice, int tracked)
{
	struct sn_health *health = choice->health;
	int is_active = choice->pick.taken & SN_TAKEN_ACTIVE;

	__sync_fetch_and_add(&health->attempts, 1);
	if (tracked && !is_active)
		__sync_fetch_and_add(&health->active, 1);
	if (!tracked && is_active)
		__sync_fetch_and_add(&health->active, -1);
	if (!tracked)
		sn_service_give(choice->ask.service, choice->pick.taken);
	if (choice->ask.proto == SN_PROTO_UDP || !tracked)
		sn_count_outcome(health, SN_R_CONNECTED);
}

/* The connect's SYN was answered: it is not in flight any more. */
static __always_inline void sn_flow_arrive(struct sn_flow *flow)
{
	__u32 bit = (__u32)SN_FLOW_PENDING << SN_FLOW_FLAGS_SHIFT;

	if (flow->flags & SN_FLOW_PENDING && __sync_fetch_and_and(sn_flow_word(flow), ~bit) & bit)
		sn_flow_give(flow, SN_FLOW_PENDING);
}

/* The backend answered, and it is booked. 0: the flow has ended, or is being changed. When it began
 * is read first: who ends it at the same moment leaves something else there. */
static __always_inline int sn_flow_answer(struct sn_flow *flow, __u64 now)
{
	__u64 begun = *(volatile __u64 *)&flow->start_ns;
	struct sn_health *health;

	if (!sn_flow_move(flow, SN_FLOW_CONNECTING, SN_FLOW_ESTABLISHED))
		return 0;
	health = sn_flow_health(flow);
	if (health)
		sn_outcome_connected(flow->backend, health, now - begun, now);
	sn_flow_arrive(flow);
	return 1;
}
