/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What the hooks and the daemon do to the decision core, step by step, with time and chance given:
 * compiled for the kernel (tests/bpf/core.bpf.c) and for user space (tests/core/), so that both can
 * be fed the same. After the stages and after DOOR_CLOCK(now, seed), which sets both.
 */
#pragma once

#include "core/step.h"

/* A connect() or a first datagram. */
static __noinline int door_connect(struct door_step *step)
{
	struct sn_service *service = sn_service_at(step->service);
	struct sn_choice choice = {};
	struct sn_flow *flow;
	__u64 holder = sn_flow_holder(step->cookie);
	int is_udp = step->argument & DOOR_UDP;
	__u32 reason;

	if (!service)
		return 0;
	choice.service = service;
	choice.ask.now = step->now;
	choice.ask.draw = step->draw;
	choice.ask.caller = step->workload;
	choice.ask.workload = step->workload;
	choice.ask.service = step->service;
	choice.ask.policy = service->policy;
	choice.ask.proto = is_udp ? SN_PROTO_UDP : SN_PROTO_TCP;
	choice.ask.flags = step->argument & DOOR_DRY ? SN_ASK_DRY : 0;
	reason = sn_choose_backend(&choice);
	step->reason = reason;
	step->backend = choice.pick.index;
	step->grade = choice.pick.grade;
	step->panic = choice.pick.panic;
	if (step->argument & DOOR_DRY)
		return 0;
	if (reason != SN_R_CONNECTED) {
		sn_count_service(step->service, reason);
		return 0;
	}
	/* Linux 6.1 does not learn it from the reason, and a compiler would leave the test out. */
	asm volatile("" : "+r"(choice.health));
	if (!choice.health)
		return 0;
	flow = sn_flow_claim(step->cookie, holder, NULL);
	sn_book_pick(&choice, flow != NULL);
	if (flow)
		sn_flow_fill(flow, &service->frontend, &choice,
			     is_udp ? SN_FLOW_UDP_CONNECTED : SN_FLOW_PICKED,
			     is_udp ? step->now : 0);
	return 0;
}

static __always_inline int door_syn(struct sn_flow *flow, __u64 now)
{
	if (flow->state != SN_FLOW_PICKED)
		return 0;
	flow->start_ns = now;
	flow->state = SN_FLOW_CONNECTING;
	return 0;
}

static __noinline int door_answer(struct sn_flow *flow, __u64 now)
{
	sn_flow_answer(flow, now);
	return 0;
}

static __noinline int door_end(struct sn_flow *flow, struct door_step *step)
{
	sn_flow_end(flow, step->cookie, step->error, step->argument & DOOR_RESET);
	return 0;
}

/* As the daemon does when it publishes: who is a member, and how many of those are ejected or
 * held. */
static __noinline int door_recount(__u32 service, __u64 now)
{
	struct sn_svc_state *state = sn_svc_state_at(service);
	__u32 ejected = 0, held = 0;

#pragma clang loop unroll(disable)
	for (__u32 i = 0; i < DOOR_BACKENDS; i++) {
		struct sn_backend *b = sn_backend_at(i);
		struct sn_health *h = sn_health_at(i);

		if (!b || !h || b->service != service || b->state != SN_BACKEND_ACTIVE)
			continue;
		ejected += h->ejected_until_ns != 0;
		held += sn_is_held(h, now);
	}
	if (!state)
		return 0;
	state->ejected = ejected;
	state->held = held;
	return 0;
}

/* `mask`: which of the service's backends, from the first one of all, are members. */
static __noinline int door_publish(struct door_step *step)
{
	struct sn_service *service = sn_service_at(step->service);

	if (!service)
		return 0;
#pragma clang loop unroll(disable)
	for (__u32 i = 0; i < DOOR_BACKENDS; i++) {
		struct sn_backend *b = sn_backend_at(i);

		if (b && b->service == step->service)
			b->state = step->mask >> i & 1 ? SN_BACKEND_ACTIVE : SN_BACKEND_GONE;
	}
	service->set = step->argument;
	return door_recount(step->service, step->now);
}

/* The index is given to another instance. */
static __always_inline int door_renew(struct door_step *step)
{
	struct sn_backend *b = sn_backend_at(step->backend);
	struct sn_window *w = sn_window_at(step->backend);
	struct sn_health *h = sn_health_at(step->backend);

	if (!b || !w || !h)
		return 0;
	b->incarnation++;
	__builtin_memset(w, 0, sizeof(*w));
	__builtin_memset(h, 0, sizeof(*h));
	h->since_ns = step->now;
	return door_recount(b->service, step->now);
}

static __always_inline int door_hold(struct door_step *step)
{
	struct sn_backend *b = sn_backend_at(step->backend);
	struct sn_health *h = sn_health_at(step->backend);

	if (!b || !h)
		return 0;
	h->held_until_ns = step->argument ? SN_FOREVER : 0;
	h->held = step->argument ? SN_HOLD_EJECT : SN_HOLD_NONE;
	return door_recount(b->service, step->now);
}

static __always_inline int door_daemon(struct door_step *step)
{
	struct sn_service *service = sn_service_at(step->service);

	if (step->what == DOOR_PUBLISH)
		return door_publish(step);
	if (step->what == DOOR_RENEW)
		return door_renew(step);
	if (step->what == DOOR_HOLD)
		return door_hold(step);
	if (service)
		service->policy = step->argument;
	return 0;
}

static __always_inline int door_run(struct door_step *step)
{
	struct sn_flow *flow;

	DOOR_CLOCK(step->now, step->draw);
	if (step->what == DOOR_CONNECT)
		return door_connect(step);
	if (step->what > DOOR_END)
		return door_daemon(step);
	flow = sn_flow_find(step->cookie, NULL);
	if (!flow)
		return 0;
	if (step->what == DOOR_SYN)
		return door_syn(flow, step->now);
	if (step->what == DOOR_ANSWER)
		return door_answer(flow, step->now);
	return door_end(flow, step);
}
