/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * What the kernel tells as it happens (ring buffer sn_events). Best effort: a record that found
 * the ring full is counted under SN_R_EVENT_LOST; counters never depend on events.
 */
#pragma once

#include <sinew/abi.h>

enum sn_event_type {
	SN_EVENT_OUTCOME = 1, /* a connect ended; every failure, and a sample of successes */
	SN_EVENT_REFUSED = 2, /* refused before a backend was chosen: reason says why */
	SN_EVENT_EVICTED = 3, /* a datagram socket of a removed backend was ended */
};

struct sn_event {
	__u64 time_ns; /* CLOCK_MONOTONIC */
	__u64 cookie;
	struct sn_addr orig;
	struct sn_addr peer;
	__be16 orig_port_be;
	__be16 peer_port_be;
	__u32 backend;
	__u32 service;
	__u32 workload; /* low 32 bits of the cgroup id */
	__u64 latency_ns;
	__u16 type;        /* enum sn_event_type */
	__u16 reason;      /* enum sn_reason */
	__u16 incarnation; /* of the backend */
	__u8 proto;
	__u8 pad;
};
SN_LAYOUT(struct sn_event, 80);
