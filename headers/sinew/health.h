/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * What is known of a backend's health and of a service's load, and how the one is ejected from the
 * other. Written by the programs, but for the fields that say otherwise; user space reads by mmap.
 * Keyed by the index of the backend or service, zeroed when that is given to another one: state
 * survives a re-sync and a restart, and no successor inherits it.
 *
 * Every time is CLOCK_MONOTONIC, which stands still in suspend: an ejection lasts that much longer.
 */
#pragma once

#include <sinew/abi.h>
#include <sinew/reason.h>

/* Why a backend was ejected. Columns: identifier, label, help text. */
#define SN_TRIPS(X)                                                                                \
	X(NONE, "none", "not ejected")                                                             \
	X(CONSECUTIVE, "consecutive", "too many failures in a row")                                \
	X(RATIO, "ratio", "too large a share of failures in the window")                           \
	X(SLOW, "slow", "too large a share of slow connects in the window")                        \
	X(PROBE, "probe", "the half-open probe failed")

#define SN_TRIP_ENUM_(id, label, help) SN_TRIP_##id,
enum sn_trip { SN_TRIPS(SN_TRIP_ENUM_) SN_TRIP_MAX };

/* Set by hand, by user space. */
enum sn_hold {
	SN_HOLD_NONE = 0,
	SN_HOLD_EJECT = 1, /* not picked, not even in panic */
	SN_HOLD_DRAIN = 2, /* the same, and datagram sockets leave it */
};

#define SN_FOREVER (~0ULL)

/* The unit of `cost`: faster connects do not differ by more than noise. */
#define SN_COST_NS 65536ULL

/* Value of sn_health, by backend index. attempts = sum of outcome[] + connects in progress, but for
 * outcome[RESET] and outcome[REPORTED]: those had been CONNECTED. */
struct sn_health {
	/* what every pick reads: one line */
	__u64 ejected_until_ns; /* 0: not ejected; past: half-open, until a connect succeeds */
	__u64 held_until_ns;    /* user space: by hand; 0: not held, SN_FOREVER: until restored */
	__u64 since_ns;         /* new, or not ejected any more, since then */
	__u64 probe;            /* half-open admissions: begin of the interval in ms << 8 | count */
	__u64 cost_ns;          /* when `cost` was told */
	__u32 cost;   /* smoothed connect time in SN_COST_NS, a power of two; 0: not known */
	__u32 active; /* flows that hold this backend now */
	__u32 ewma_us;
	__u32 held; /* user space: enum sn_hold */
	__u64 told; /* failures reported in a row << 32 | outcome[CONNECTED] at the last one */
	/* what outcomes change */
	__u64 attempts;
	__u64 connect_ns;      /* sum of connect times of outcome[CONNECTED] over TCP */
	__u64 last_failure_ns; /* 0: never */
	__u64 ejected_ns;      /* when it was ejected last; 0: never */
	__u64 shadow_until_ns; /* would be ejected until then, but for shadow or enforcing */
	__u64 failed_over;     /* connects that went on to another backend */
	__u64 ejected_total;   /* ejections, half-open failures included */
	__u32 consecutive;     /* failures blamed on the backend since its last success */
	__u16 ejections;       /* in a row, for the time of the next one; decays */
	__u8 trip;             /* enum sn_trip of the last ejection */
	__u8 reason;           /* of the outcome that tripped it: enum sn_reason */
	__u64 outcome[16];     /* by SN_BACKEND_REASONS */
};
SN_LAYOUT(struct sn_health, 256);
_Static_assert(SN_R_BACKEND_MAX <= 16, "sn_health.outcome is full");

/* Value of sn_windows, by backend index: the last outcomes, exactly, in a ring of buckets of
 * sn_policy.bucket_ns. A word is one bucket: its number (time / bucket_ns) in 24 bits, what was
 * counted in it in 20, and how many of those failed (or were slow) in 20. */
#define SN_WINDOW_BUCKETS 10
struct sn_window {
	__u64 failed[SN_WINDOW_BUCKETS];
	__u64 slow[SN_WINDOW_BUCKETS];
};
SN_LAYOUT(struct sn_window, 160);

/* Value of sn_latency, by backend index: bucket i counts connects of [2^(i+8), 2^(i+9)) ns;
 * bucket 0 also takes the faster ones, the last one all slower ones. */
#define SN_LATENCY_BUCKETS 32
#define SN_LATENCY_SHIFT 8
struct sn_latency {
	__u64 bucket[SN_LATENCY_BUCKETS];
};
SN_LAYOUT(struct sn_latency, 256);

/* Value of sn_svc_state, by service index. */
struct sn_svc_state {
	__u32 ejected; /* members ejected or half-open; user space counts anew with a new set */
	__u32 held;    /* user space: members held by hand */
	__u32 turn;    /* round robin */
	__u32 active;  /* flows counted against connectionLimits.service: SN_FLOW_COUNTED */
	__u32 pending; /* SYNs counted against connectionLimits.pending: SN_FLOW_PENDING */
	__u32 pad0;
	__u64 failed_ns; /* last failure of a member: before one, nothing is to be remembered */
	__u64 panic_ns;  /* since then picks ignore ejection; 0: they do not */
	__u64 pad1[3];
};
SN_LAYOUT(struct sn_svc_state, 64);

/* Value of sn_svc_stats, by service index. */
struct sn_svc_stats {
	__u64 count[16]; /* reason - SN_R_BACKEND_MAX */
};
SN_LAYOUT(struct sn_svc_stats, 128);
_Static_assert(SN_R_SERVICE_COUNT <= 16, "sn_svc_stats is full");

/* Key and value of sn_memory: what went wrong lately for one caller at one service. Made by a
 * failure, never by a success. */
struct sn_memory_key {
	__u32 workload;
	__u32 service;
};
SN_LAYOUT(struct sn_memory_key, 8);

struct sn_memory {
	__u64 failed_ns; /* of the last failure */
	__u64 budget;    /* time in ms << 32 | tokens in 1/256 */
	__u32 backend;   /* that failed it */
	__u32 owed;      /* failures that no re-attempt has followed yet */
	__u16 incarnation;
	__u16 pad[3];
};
SN_LAYOUT(struct sn_memory, 32);

/* Key and value of sn_affinity. */
struct sn_affinity_key {
	__u64 caller; /* cgroup id, or network namespace cookie */
	__u32 service;
	__u32 pad;
};
SN_LAYOUT(struct sn_affinity_key, 16);

struct sn_affinity {
	__u64 until_ns;
	__u32 backend;
	__u16 incarnation;
	__u16 pad;
};
SN_LAYOUT(struct sn_affinity, 16);
