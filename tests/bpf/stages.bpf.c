/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The stages of bpf/stage/ behind doors that a test can knock at: socket address and sock_ops
 * programs cannot be test-run, syscall programs can. Each program calls one stage, or the few that
 * a hook calls in a row, over maps of its own. Must decide nothing itself.
 */
#include <linux/bpf.h>

#include <bpf/bpf_helpers.h>

#include "knobs.bpf.h"
#include "maps.bpf.h"
#include "stage/account.h"
#include "stage/admit.h"
#include "stage/datagram.h"
#include "stage/judge.h"
#include "stage/pick.h"
#include "stage/promise.h"
#include "stage/report.h"
#include "stage/resolve.h"
#include "stage/stale.h"
#include "stage/told.h"
#include "stage/translate.h"
#include "stages.h"

__u64 hits[STAGES_HITS];
__u64 torn;
struct stage_call spill;

SEC("syscall")
int t_resolve(struct stage_call *call)
{
	struct sn_frontend dest = call->dest;
	__u32 index = SN_NONE;

	call->r = sn_resolve(&dest, &index) != NULL;
	call->index = index;
	return 0;
}

SEC("syscall")
int t_admit(struct stage_call *call)
{
	call->r = sn_admit(call->mark, call->is_kernel);
	return 0;
}

SEC("syscall")
int t_ancestors(struct stage_call *call)
{
#pragma unroll
	for (int i = 0; i < STAGES_LEVELS; i++)
		call->ancestor[i] = bpf_get_current_ancestor_cgroup_id(i);
	return 0;
}

static __always_inline int ask_fill(struct sn_ask *ask, __u32 index, __u32 draw)
{
	struct sn_service *service = sn_service_at(index);

	if (!service)
		return 0;
	ask->policy = service->policy;
	ask->now = bpf_ktime_get_ns();
	ask->service = index;
	ask->proto = SN_PROTO_TCP;
	ask->draw = draw;
	return 1;
}

SEC("syscall")
int t_pick(struct stage_call *call)
{
	struct sn_ask ask = {};
	struct sn_pick pick = {};

	if (!ask_fill(&ask, call->index, call->draw))
		return 1;
	ask.caller = call->caller;
	call->r = sn_pick(&ask, &pick);
	call->backend = pick.index;
	call->count = pick.count;
	return 0;
}

/* One ask for both: `r` and `backend` are what the short way decided, `error` and `count` the
 * whole. */
SEC("syscall")
int t_usual(struct stage_call *call)
{
	struct sn_service *service = sn_service_at(call->index);
	struct sn_pick usual = {}, whole = {};
	struct sn_ask ask = {};

	if (!service || !ask_fill(&ask, call->index, call->draw))
		return 1;
	call->r = sn_pick_usual(&ask, service, &usual);
	call->backend = usual.index;
	call->error = sn_pick(&ask, &whole);
	call->count = whole.index;
	return 0;
}

static long draw_once(__u32 i, const __u32 *index)
{
	struct sn_ask ask = {};
	struct sn_pick pick = {};

	if (!ask_fill(&ask, *index, bpf_get_prandom_u32()))
		return 1;
	if (sn_pick(&ask, &pick) == SN_R_CONNECTED)
		hits[pick.index & (STAGES_HITS - 1)]++;
	else
		torn++;
	return 0;
}

SEC("syscall")
int t_draws(struct stage_call *call)
{
	__u32 asked = call->index;

	call->r = bpf_loop(call->repeat, draw_once, &asked, 0);
	return 0;
}

/* What the connect door does once the destination is known. */
SEC("syscall")
int t_connect(struct stage_call *call)
{
	struct sn_frontend dest = call->dest;
	__u64 holder = sn_flow_holder(call->cookie);
	struct sn_choice choice = {};
	struct sn_flow *flow;
	__u32 reason;

	choice.ask.now = bpf_ktime_get_ns();
	choice.ask.draw = bpf_get_prandom_u32();
	if (!sn_choice_resolve(&choice, &dest)) {
		call->r = SN_NOT_OURS;
		return 0;
	}
	reason = sn_choose_swiftly(&choice);
	call->index = choice.ask.service;
	call->backend = choice.pick.index;
	call->r = reason;
	if (reason != SN_R_CONNECTED) {
		call->error = sn_decline(&dest, choice.ask.service, reason);
		return 0;
	}
	flow = sn_flow_claim(call->cookie, holder, NULL);
	sn_book_pick(&choice, flow != NULL);
	if (flow)
		sn_flow_fill(flow, &dest, &choice, call->state, 0);
	else
		sn_count_service(choice.ask.service, SN_R_UNTRACKED);
	call->count = flow != NULL;
	return 0;
}

SEC("syscall")
int t_find(struct stage_call *call)
{
	struct sn_flow *flow = sn_flow_find(call->cookie, NULL);

	call->r = flow != NULL;
	if (flow)
		call->flow = *flow;
	return 0;
}

SEC("syscall")
int t_stale(struct stage_call *call)
{
	struct sn_flow *flow = sn_flow_find(call->cookie, NULL);

	call->r = flow ? sn_flow_is_stale(flow) : -1;
	return 0;
}

/* A report; `error`: that it was a failure. */
SEC("syscall")
int t_told(struct stage_call *call)
{
	struct sn_told told = {};

	told.cookie = call->cookie;
	told.cgroup_id = call->caller;
	told.failed = call->error != 0;
	call->r = sn_told_judge(&told, call->ns);
	return 0;
}

SEC("syscall")
int t_usable(struct stage_call *call)
{
	call->r = sn_backend_usable(call->backend, (__u16)call->index);
	return 0;
}

/* Makes the flow what sock_ops would have made of it by now. */
SEC("syscall")
int t_state(struct stage_call *call)
{
	struct sn_flow *flow = sn_flow_find(call->cookie, NULL);

	if (!flow)
		return 1;
	flow->state = call->state;
	flow->start_ns = bpf_ktime_get_ns() - call->ns;
	return 0;
}

SEC("syscall")
int t_end(struct stage_call *call)
{
	struct sn_flow *flow = sn_flow_find(call->cookie, NULL);

	call->r = flow != NULL;
	if (flow)
		sn_flow_end(flow, call->cookie, call->error, call->reset);
	return 0;
}

/* Two ends that both have found the flow before either acts, as on two CPUs. */
SEC("syscall")
int t_end_twice(struct stage_call *call)
{
	struct sn_flow *one = sn_flow_find(call->cookie, NULL);
	struct sn_flow *other = sn_flow_find(call->cookie, NULL);

	call->r = one && other;
	if (one)
		sn_flow_end(one, call->cookie, call->error, call->reset);
	if (other)
		sn_flow_end(other, call->cookie, call->error, call->reset);
	return 0;
}

SEC("syscall")
int t_judge(struct stage_call *call)
{
	call->r = sn_judge_connect(call->error, call->ns);
	return 0;
}

SEC("syscall")
int t_connected(struct stage_call *call)
{
	struct sn_health *health = sn_health_at(call->backend);

	call->r = sn_latency_bucket(call->ns);
	if (health)
		sn_outcome_connected(call->backend, health, call->ns, bpf_ktime_get_ns());
	return 0;
}

SEC("syscall")
int t_failed(struct stage_call *call)
{
	struct sn_flow flow = {.backend = call->backend};
	struct sn_health *health = sn_health_at(call->backend);

	if (health)
		sn_outcome_failed(&flow, health, call->index, call->ns);
	return 0;
}

static long report_once(__u32 i, struct stage_call *call)
{
	sn_report_refused(&call->dest, call->index, SN_R_NO_BACKEND);
	return 0;
}

SEC("syscall")
int t_report(struct stage_call *call)
{
	struct stage_call asked = {.dest = call->dest, .index = call->index};

	call->r = bpf_loop(call->repeat, report_once, &asked, 0);
	return 0;
}

/* What the sendmsg door does for a destination. */
static __noinline long send_one(__u64 cookie, const struct sn_frontend *dest, struct sn_reverse *to)
{
	struct sn_flow *flow = sn_flow_find(cookie, NULL);
	struct sn_choice choice = {};
	long reason;

	choice.ask.now = bpf_ktime_get_ns();
	choice.ask.draw = bpf_get_prandom_u32();
	if (!sn_choice_resolve(&choice, dest)) {
		if (flow)
			sn_datagram_direct(flow, cookie, dest);
		return SN_NOT_OURS;
	}
	if (flow && flow->state && sn_datagram_sticky(flow, cookie, dest, to))
		return SN_R_CONNECTED;
	reason = sn_choose_backend(&choice);
	if (reason != SN_R_CONNECTED)
		return reason;
	to->addr = choice.backend->addr;
	to->port_be = sn_choice_port(&choice, dest);
	sn_datagram_remember(cookie, NULL, dest, &choice, to);
	return SN_R_CONNECTED;
}

SEC("syscall")
int t_send(struct stage_call *call)
{
	struct sn_frontend dest = call->dest;
	struct sn_reverse to = {};

	call->r = send_one(call->cookie, &dest, &to);
	call->to = to;
	return 0;
}

/* What the recvmsg door does for a source. */
SEC("syscall")
int t_receive(struct stage_call *call)
{
	struct sn_flow *flow = sn_flow_find(call->cookie, NULL);
	struct sn_frontend source = call->dest;
	struct sn_reverse from = {};

	call->r = flow && flow->state >= SN_FLOW_UDP_CONNECTED &&
		  sn_datagram_origin(flow, call->cookie, &source, &from);
	call->to = from;
	return 0;
}

/* Socket storage needs a socket, which a packet program has. The slot is somebody else's first. */
SEC("tc")
int t_spill(struct __sk_buff *skb)
{
	struct sn_flow *slot = sn_flow_slot(spill.cookie);
	struct sn_frontend dest = spill.dest;
	struct sn_choice choice = {};
	struct bpf_sock *sk = skb->sk;
	struct sn_flow *flow;

	if (sk)
		sk = bpf_sk_fullsock(sk);
	sn_choice_resolve(&choice, &dest);
	if (!sk || !slot || !choice.service || sn_choose_backend(&choice) != SN_R_CONNECTED)
		return 1;
	slot->cookie = spill.blocker;
	flow = sn_flow_claim(spill.cookie, sn_flow_holder(spill.cookie), sk);
	spill.r = flow && flow != slot;
	if (!flow)
		return 0;
	sn_book_pick(&choice, 1);
	sn_flow_fill(flow, &dest, &choice, SN_FLOW_PICKED, 0);
	spill.count = sn_spilled_count() ? (__u32)*sn_spilled_count() : 0;
	slot->cookie = 0;
	/* The slot is free again, but the socket has a flow already: it must find that one. */
	flow = sn_flow_claim(spill.cookie, sn_flow_holder(spill.cookie), sk);
	spill.is_kernel = flow && flow != slot;
	if (!flow)
		return 0;
	sn_book_pick(&choice, 1);
	sn_flow_fill(flow, &dest, &choice, SN_FLOW_ESTABLISHED, 0);
	flow = sn_flow_find(spill.cookie, sk);
	if (!flow)
		return 0;
	spill.flow = *flow;
	sn_flow_end(flow, spill.cookie, 0, 0);
	spill.spilled = sn_spilled_count() ? (__u32)*sn_spilled_count() : 0;
	return 0;
}

char _license[] SEC("license") = "GPL";
