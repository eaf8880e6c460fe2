/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * What an application tells of its own connection: "that was a failure" (a 503, say), "that was a
 * success". Argument and result of the syscall program sn_told, and what may become of a report.
 */
#pragma once

#include <sinew/abi.h>

/* Columns: identifier, label, help text. The first ones are decided by user space. */
#define SN_TELLS(X)                                                                                \
	X(BAD, "bad_message", "not a message of sinew-report(7)")                                  \
	X(NOBODY, "unknown_sender", "the sender has gone, or has no cgroup that we can see")       \
	X(RATE, "rate", "more reports than the sender's workload, or all of them, may send")       \
	X(COUNTED, "counted", "held against the backend, or in its favour")                        \
	X(UNKNOWN, "unknown_flow", "no connection through us has this cookie")                     \
	X(FOREIGN, "foreign_flow", "the connection is another workload's")                         \
	X(EARLY, "not_connected", "the connection is not established")                             \
	X(STALE, "replaced_backend", "the backend has been replaced since")

#define SN_TELL_ENUM_(id, label, help) SN_TELL_##id,
enum sn_tell { SN_TELLS(SN_TELL_ENUM_) SN_TELL_MAX };

struct sn_told {
	__u64 cookie;    /* SO_COOKIE of the socket */
	__u64 cgroup_id; /* of who tells; its flows have the low 32 bits */
	__u32 failed;    /* 1: a failure; 0: a success */
	__u32 answer;    /* enum sn_tell */
};
SN_LAYOUT(struct sn_told, 24);
