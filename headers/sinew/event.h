/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * What the kernel tells as it happens (ring buffer sn_events). Best effort: a record that found
 * the ring full is counted under SN_R_EVENT_LOST; counters never depend on events.
 */
#pragma once

#include <sinew/health.h>

enum sn_event_type {
	SN_EVENT_OUTCOME = 1,  /* a connect ended; every failure, and a sample of successes */
	SN_EVENT_REFUSED = 2,  /* refused before a backend was chosen: reason says why */
	SN_EVENT_EVICTED = 3,  /* a socket of a removed backend was ended */
	SN_EVENT_EJECTED = 4,  /* a backend; reason: of the last failure */
	SN_EVENT_RESTORED = 5, /* a backend; its half-open probe succeeded */
	SN_EVENT_SHADOW = 6,   /* a backend would have been ejected, but for shadow or enforcing */
	SN_EVENT_FAILED_OVER = 7, /* a connect left `backend` for `next` */
	SN_EVENT_PANIC = 8,  /* a service; begins when usable < total, ends when they are equal */
	SN_EVENT_LISTEN = 9, /* a socket listens at `orig`; what else is known is in sn_listeners */
	SN_EVENT_UNLISTEN = 10, /* it does so no more */
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
	__u8 trip; /* enum sn_trip */
	/* of ejections and panic; FAILED_OVER uses `next` */
	__u64 duration_ns;
	__u32 times; /* ejections in a row; of SHADOW too */
	__u32 usable;
	__u32 total;
	__u32 next;
};
SN_LAYOUT(struct sn_event, 104);
