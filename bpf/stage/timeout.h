/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * How long a connect may take: connect.attemptTimeout is the kernel's first SYN timer, and
 * connect.timeout is TCP_USER_TIMEOUT for as long as the connect lasts. After the flow was found,
 * beside outcome. Must not touch what the application has set itself, nor an established
 * connection.
 *
 * The kernel looks at TCP_USER_TIMEOUT when the SYN timer runs out, so that timer is never longer;
 * and tcp_syn_retries (6) ends a connect as well, after 127 times the first timer, so that timer is
 * never so short that it would come before connect.timeout.
 */
#pragma once

#include "knobs.bpf.h"
#include "maps.bpf.h"
#include "stage/flow.h"

#define SN_SOL_TCP 6
#define SN_USER_TIMEOUT 18 /* TCP_USER_TIMEOUT of <linux/tcp.h> */
#define SN_MS 1000000ULL
#define SN_SYN_PATIENCE 1000000000ULL /* the kernel's own first SYN timer, RFC 6298 */
#define SN_SYN_TIMERS 100             /* that a connect may last, at the least */

static __always_inline const struct sn_policy *sn_timeout_policy(const struct sn_flow *flow)
{
	struct sn_backend *backend = sn_backend_at(flow->backend);
	struct sn_service *service = backend ? sn_service_at(backend->service) : NULL;

	return service ? sn_policy_at(service->policy) : NULL;
}

/* The first SYN timer in ns; one of the two is set. */
static __always_inline __u64 sn_timeout_first(__u64 connect_ns, __u64 attempt_ns)
{
	__u64 first = attempt_ns ?: SN_SYN_PATIENCE;

	if (first < connect_ns / SN_SYN_TIMERS)
		first = connect_ns / SN_SYN_TIMERS;
	return connect_ns && first > connect_ns ? connect_ns : first;
}

/* Rounded up: a timer of one tick may be over at once. */
static __always_inline __u32 sn_timeout_ticks(__u64 ns)
{
	__u64 ticks = (ns + sn_tick_ns - 1) / sn_tick_ns;

	return ticks < 2 ? 2 : ticks > 0x7fffffff ? 0x7fffffff : (__u32)ticks;
}

static __always_inline void sn_timeout_reply(struct bpf_sock_ops *ops, const struct sn_flow *flow)
{
	const struct sn_policy *policy = sn_timeout_policy(flow);

	if (policy && (policy->connect_ns || policy->attempt_ns))
		ops->reply =
			sn_timeout_ticks(sn_timeout_first(policy->connect_ns, policy->attempt_ns));
}

static __always_inline int sn_timeout_ms(const struct sn_policy *policy)
{
	__u64 ms = (policy->connect_ns + SN_MS - 1) / SN_MS;

	return ms > 0x7fffffff ? 0x7fffffff : (int)ms;
}

/* The connect begins: bounds it, unless the application has done so. */
static __always_inline void sn_timeout_set(struct bpf_sock_ops *ops, struct sn_flow *flow)
{
	const struct sn_policy *policy = sn_timeout_policy(flow);
	int ms = 0;

	if (!policy || !policy->connect_ns)
		return;
	if (bpf_getsockopt(ops, SN_SOL_TCP, SN_USER_TIMEOUT, &ms, sizeof(ms)) || ms)
		return;
	ms = sn_timeout_ms(policy);
	if (!bpf_setsockopt(ops, SN_SOL_TCP, SN_USER_TIMEOUT, &ms, sizeof(ms)))
		sn_flow_flag_set(flow, SN_FLOW_TIMED);
}

/* The connect is over, well or not: what was ours is taken back, unless the application has set its
 * own by now. The socket's next connect and its established time are the application's. Not behind
 * the knob: that may have been switched off since. */
static __always_inline void sn_timeout_restore(struct bpf_sock_ops *ops, struct sn_flow *flow)
{
	const struct sn_policy *policy;
	int ms = 0, none = 0;

	if (!(flow->flags & SN_FLOW_TIMED))
		return;
	sn_flow_flag_clear(flow, SN_FLOW_TIMED);
	policy = sn_timeout_policy(flow);
	if (policy && policy->connect_ns &&
	    !bpf_getsockopt(ops, SN_SOL_TCP, SN_USER_TIMEOUT, &ms, sizeof(ms)) &&
	    ms != sn_timeout_ms(policy))
		return;
	bpf_setsockopt(ops, SN_SOL_TCP, SN_USER_TIMEOUT, &none, sizeof(none));
}
