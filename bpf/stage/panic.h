/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Panic: so few members are usable that ejection does more harm than good (Envoy's panic
 * threshold). Before the draw. Told when it begins and when it ends.
 */
#pragma once

#include "maps.bpf.h"
#include "stage/grade.h"
#include "stage/report.h"

static __noinline void sn_report_panic(const struct sn_ask *ask, __u32 ejected, __u32 total,
				       __u64 since)
{
	struct sn_event *event = sn_event_new(SN_EVENT_PANIC, SN_R_PANIC, ask->now);

	if (!event)
		return;
	event->service = ask->service;
	event->proto = ask->proto;
	event->duration_ns = since && ask->now > since ? ask->now - since : 0;
	event->total = total;
	event->usable = since ? total : total > ejected ? total - ejected : 0;
	bpf_ringbuf_submit(event, 0);
}

/* Are too few of `total` usable? Those held by hand do not count: who drains half of a service does
 * not want the ejected ones back for it. */
SN_ONCE int sn_panic(const struct sn_ask *ask, __u32 total)
{
	const struct sn_policy *policy;
	struct sn_svc_state *state;
	__u32 ejected, usable;
	__u64 since;
	int panics;

	if (!ask)
		return 0;
	state = sn_svc_state_at(ask->service);
	policy = sn_policy_at(ask->policy);
	if (!state || !policy)
		return 0;
	ejected = *(volatile __u32 *)&state->ejected;
	total = total > state->held ? total - state->held : 0;
	since = *(volatile __u64 *)&state->panic_ns;
	if (!ejected && !since)
		return 0;
	usable = total > ejected ? total - ejected : 0;
	panics = (__u64)usable * 100 < (__u64)policy->panic_percent * total;
	if (!since == !panics || ask->flags & SN_ASK_DRY)
		return panics;
	if (__sync_val_compare_and_swap(&state->panic_ns, since, panics ? ask->now : 0) == since)
		sn_report_panic(ask, ejected, total, since);
	return panics;
}
