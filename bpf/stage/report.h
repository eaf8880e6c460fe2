/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Telling what happened, as it happens. Best effort: counters never depend on it.
 */
#pragma once

#include "stage/account.h"

/* Room in the ring, zeroed but for type and reason; NULL when full, which is counted. The caller
 * tests it at once: the verifier of Linux 6.1 does not learn from a second test that it was not
 * NULL, and then misses its submission on a way that nobody takes. */
static __always_inline struct sn_event *sn_event_new(__u16 type, __u16 reason, __u64 now)
{
	struct sn_event *event = bpf_ringbuf_reserve(&sn_events, sizeof(*event), 0);

	if (!event) {
		sn_count_node(SN_R_EVENT_LOST);
		return NULL;
	}
	__builtin_memset(event, 0, sizeof(*event));
	event->time_ns = now;
	event->type = type;
	event->reason = reason;
	return event;
}

static __noinline void sn_report_flow(const struct sn_flow *flow, __u64 cookie, __u16 type,
				      __u16 reason, __u64 now)
{
	struct sn_event *event = sn_event_new(type, reason, now);
	struct sn_backend *backend;

	if (!event)
		return;
	backend = sn_backend_at(flow->backend);
	if (backend && backend->incarnation == flow->incarnation)
		event->service = backend->service; /* a removed one is no endpoint any more */
	event->cookie = cookie;
	event->orig = flow->orig;
	event->peer = flow->peer;
	event->orig_port_be = flow->orig_port_be;
	event->peer_port_be = flow->peer_port_be;
	event->backend = flow->backend;
	event->workload = flow->workload;
	event->incarnation = flow->incarnation;
	event->latency_ns = flow->start_ns ? now - flow->start_ns : 0;
	event->proto = flow->state >= SN_FLOW_UDP_CONNECTED ? SN_PROTO_UDP : SN_PROTO_TCP;
	bpf_ringbuf_submit(event, 0);
}

static __always_inline void sn_report_refused(const struct sn_frontend *dest, __u32 service,
					      __u16 reason)
{
	struct sn_event *event = sn_event_new(SN_EVENT_REFUSED, reason, bpf_ktime_get_ns());

	if (!event)
		return;
	event->orig = dest->addr;
	event->orig_port_be = dest->port_be;
	event->proto = dest->proto;
	event->service = service;
	event->workload = (__u32)bpf_get_current_cgroup_id();
	bpf_ringbuf_submit(event, 0);
}
