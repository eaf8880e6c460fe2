/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Why something happened: the one list from which the enum, metric labels, events and explain
 * lines are made. Columns: identifier, label, blame, help text.
 *
 * A reason belongs to one level, and the level says where it is counted:
 *   backend   sn_health.outcome[]           how one connect to one backend ended
 *   service   sn_svc_stats.count[]          decided before a backend was chosen
 *   node      sn_counters (per CPU)         the machinery's own conditions
 *
 * Blame decides what may move a breaker: only "backend" ever does. "caller" is the client's own
 * doing, "nobody" is neither.
 */
#pragma once

#include <linux/types.h>

#define SN_BACKEND_REASONS(X)                                                                      \
	X(CONNECTED, "connected", nobody,                                                          \
	  "the backend answered, or a datagram socket was bound to it")                            \
	X(REFUSED, "refused", backend, "the backend answered the SYN with a reset")                \
	X(TIMEOUT, "timeout", backend,                                                             \
	  "no answer from the backend until the kernel or the caller gave up")                     \
	X(UNREACHABLE, "unreachable", backend, "an ICMP error from the path to the backend")       \
	X(RESET, "reset", backend,                                                                 \
	  "the backend reset the connection before its first byte; it was counted as connected")   \
	X(ABORTED, "aborted", caller, "the caller closed the socket within 3 s of connecting")     \
	X(NOT_SENT, "not_sent", caller,                                                            \
	  "the caller's kernel sent no SYN: no route or no free port")                             \
	X(ERROR, "error", nobody, "the connect ended with another error")                          \
	X(REPORTED, "reported", backend,                                                           \
	  "the application reported a failure; it was counted as connected")

#define SN_SERVICE_REASONS(X)                                                                      \
	X(NO_BACKEND, "no_backend", nobody, "the service has no usable backend: EHOSTUNREACH")     \
	X(BYPASS_MARK, "bypass_mark", caller, "the socket carries the bypass mark")                \
	X(BYPASS_WORKLOAD, "bypass_workload", caller, "the workload is set to bypass")             \
	X(BYPASS_KERNEL, "bypass_kernel", caller, "the socket belongs to the kernel itself")       \
	X(TORN, "torn", nobody,                                                                    \
	  "an entry changed while it was read; the socket passed untranslated")                    \
	X(UNTRACKED, "untracked", nobody, "translated, but no room to remember the flow")          \
	X(LIMITED, "limited", caller, "a connection limit was reached: EAGAIN")                    \
	X(RETRY_BUDGET, "retry_budget", caller,                                                    \
	  "a re-attempt over the retry budget; ECONNREFUSED if that is enforced")                  \
	X(PANIC, "panic", nobody, "picked with ejection ignored: too few backends were usable")    \
	X(SPARED, "spared", nobody,                                                                \
	  "not ejected: maxEjectionPercent, or it is the last usable one")                         \
	X(FAILED_OVER, "failed_over", nobody, "a connect went on to the next backend by itself")   \
	X(FAILOVER_MISSED, "failover_missed", nobody,                                              \
	  "a connect could not go on: nobody untried, attempts used up, or no way")

#define SN_NODE_REASONS(X)                                                                         \
	X(FLOW_SPILLED, "flow_spilled", nobody, "a flow slot was taken; socket storage was used")  \
	X(FLOW_STALE, "flow_stale", nobody, "a flow ended after its backend was replaced")         \
	X(REVERSE_FULL, "reverse_full", nobody, "a datagram's way back could not be remembered")   \
	X(REVERSE_MISS, "reverse_miss", nobody, "a reply's original address was no longer known")  \
	X(EVENT_LOST, "event_lost", nobody, "the event ring was full")                             \
	X(EVICTED, "evicted", nobody, "a socket of a removed backend was ended")                   \
	X(BAD_MAP, "bad_map", nobody,                                                              \
	  "a map entry pointed nowhere; the socket passed untranslated")                           \
	X(SYN_FULL, "syn_full", nobody, "no room to keep a SYN: no failover for that connect")     \
	X(SYN_DATA, "syn_data", nobody,                                                            \
	  "a SYN that carried data is never sent to another backend")                              \
	X(SYN_ODD, "syn_odd", nobody, "a SYN with headers that we do not keep")                    \
	X(FORGED, "forged", nobody,                                                                \
	  "a reset or ICMP error that does not quote our SYN: left alone")                         \
	X(NO_WAY, "no_way", nobody, "the next backend is behind another interface: skipped")       \
	X(MEMORY_FULL, "memory_full", nobody, "a caller's failure could not be remembered")        \
	X(LISTENER_FULL, "listener_full", nobody,                                                  \
	  "a socket that listens could not be remembered: it is not shown")

#define SN_REASONS(X) SN_BACKEND_REASONS(X) SN_SERVICE_REASONS(X) SN_NODE_REASONS(X)

#define SN_REASON_ENUM_(id, label, blame, help) SN_R_##id,
enum sn_reason {
	SN_BACKEND_REASONS(SN_REASON_ENUM_) SN_R_BACKEND_MAX,
	SN_R_SERVICE_MIN_ = SN_R_BACKEND_MAX - 1,
	SN_SERVICE_REASONS(SN_REASON_ENUM_) SN_R_SERVICE_MAX,
	SN_R_NODE_MIN_ = SN_R_SERVICE_MAX - 1,
	SN_NODE_REASONS(SN_REASON_ENUM_) SN_R_MAX,
};

#define SN_R_SERVICE_COUNT (SN_R_SERVICE_MAX - SN_R_BACKEND_MAX)
#define SN_R_NODE_COUNT (SN_R_MAX - SN_R_SERVICE_MAX)
