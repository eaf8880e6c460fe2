/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * A TrafficPolicy as the programs read it: thresholds, times in ns, shares in percent. Written by
 * user space, immutable per index of sn_policies; a changed policy is another index. All zeros is a
 * draw in proportion to the weights, and nothing that is judged.
 */
#pragma once

#include <sinew/abi.h>

enum sn_algorithm {
	SN_ALGORITHM_RANDOM = 0,      /* a draw in proportion to the weights */
	SN_ALGORITHM_P2C = 1,         /* two draws, the one with less load wins */
	SN_ALGORITHM_ROUND_ROBIN = 2, /* in turn, in proportion to the weights */
	SN_ALGORITHM_HASH = 3,        /* by the caller; the set's slots are a table of Maglev's */
};

enum sn_affinity_by {
	SN_AFFINITY_OFF = 0,
	SN_AFFINITY_WORKLOAD = 1, /* the caller's cgroup */
	SN_AFFINITY_ADDRESS =
		2, /* the caller's network namespace: it has one address to the peer */
};

#define SN_POLICY_SHADOW 0x01u           /* tell what would be ejected, eject nothing */
#define SN_POLICY_PANIC_NONE 0x02u       /* panic refuses instead of ignoring ejection */
#define SN_POLICY_BUDGET_ENFORCE 0x04u   /* over the retry budget is refused, not only counted */
#define SN_POLICY_FAIL_REFUSED 0x08u     /* failover.on */
#define SN_POLICY_FAIL_UNREACHABLE 0x10u /* failover.on */
#define SN_POLICY_FAIL_TIMEOUT 0x20u     /* failover.on */
#define SN_POLICY_FAIL_ANY 0x38u         /* those three */
#define SN_POLICY_TERMINATE 0x40u        /* onRemove: end established connections */

/* Value of sn_policies. 0 switches off whatever a field is about, unless it says more. */
struct sn_policy {
	__u64 affinity_ns;
	__u64 slow_start_ns;
	__u64 bucket_ns; /* outlierDetection.window / SN_WINDOW_BUCKETS */
	__u64 slow_ns;   /* slowConnect.threshold */
	__u64 base_ns;
	__u64 max_ns;
	__u64 connect_ns; /* connect.timeout */
	__u64 attempt_ns; /* connect.attemptTimeout */
	__u64 negative_ns;
	__u64 budget_ns; /* retryBudget.ttl */
	__u32 flags;     /* SN_POLICY_* */
	__u32 consecutive;
	__u32 min_volume;
	__u32 limit_service;
	__u32 limit_backend;
	__u32 limit_pending;
	__u32 budget_per_second;
	__u8 algorithm; /* enum sn_algorithm */
	__u8 affinity;  /* enum sn_affinity_by */
	__u8 failure_percent;
	__u8 slow_percent;
	__u8 max_ejection_percent;
	__u8 enforcing_percent;
	__u8 panic_percent;
	__u8 budget_percent;
	__u8 probes;
	__u8 attempts; /* failover: further backends that one connect may try */
	__u8 pad[10];
};
SN_LAYOUT(struct sn_policy, 128);

/* More than this many backends are not tried by one connect, whatever a policy says. */
#define SN_TRIES 4
