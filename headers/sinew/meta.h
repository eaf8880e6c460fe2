/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * sn_meta: who made these maps, and whether anybody tends them. One element, mmap'ed.
 */
#pragma once

#include <sinew/service.h>

struct sn_meta {
	__u32 magic;
	__u32 abi;
	__u64 attached_ns;  /* CLOCK_BOOTTIME of the first attach */
	__u64 heartbeat_ns; /* CLOCK_MONOTONIC of the daemon's last turn; programs do not act on it
			     */
	__u32 daemon_pid;
	__u32 serial;     /* last set serial given out */
	__u8 version[32]; /* of the daemon, for people */
};
SN_LAYOUT(struct sn_meta, 64);

/* Argument and result of the syscall program sn_explain: what a connect() would get now. */
struct sn_explain {
	struct sn_frontend dest;
	__u32 mark;
	__u64 cgroup_id; /* 0: skip the workload test */
	__u32 reason;    /* SN_R_CONNECTED: would be sent to `backend`; SN_R_MAX: not a service */
	__u32 service;
	__u32 set;
	__u32 count;
	__u32 backend;
	__u32 incarnation;
	__u32 level;
	__u32 panic; /* ejection was ignored */
};
SN_LAYOUT(struct sn_explain, 64);
