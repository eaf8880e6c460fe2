/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Who listens: remembered from listen() to the end, and told at once. Far from any connect, so this
 * one may allocate. Losing a record in the ring loses nothing: the map says the same.
 */
#pragma once

#include "stage/report.h"

static __always_inline void sn_listen_tell(__u64 cookie, const struct sn_listener *l, __u16 type,
					   __u64 now)
{
	struct sn_event *event = sn_event_new(type, SN_R_CONNECTED, now);

	if (!event)
		return;
	event->cookie = cookie;
	event->orig = l->addr;
	event->orig_port_be = l->port_be;
	event->workload = (__u32)l->cgroup_id;
	event->proto = SN_PROTO_TCP;
	bpf_ringbuf_submit(event, 0);
}

static __always_inline void sn_listen_begin(__u64 cookie, const struct sn_listener *l)
{
	if (bpf_map_update_elem(&sn_listeners, &cookie, l, BPF_ANY)) {
		sn_count_node(SN_R_LISTENER_FULL);
		return;
	}
	sn_listen_tell(cookie, l, SN_EVENT_LISTEN, l->since_ns);
}

static __always_inline void sn_listen_end(__u64 cookie, __u64 now)
{
	struct sn_listener *kept = bpf_map_lookup_elem(&sn_listeners, &cookie);
	struct sn_listener l;

	if (!kept)
		return;
	l = *kept;
	bpf_map_delete_elem(&sn_listeners, &cookie);
	sn_listen_tell(cookie, &l, SN_EVENT_UNLISTEN, now);
}
