/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Ends connected datagram sockets whose backend is gone or draining: their send() never passes a
 * door again, so they would talk to it for ever. An iterator over the datagram sockets of one
 * network namespace; the daemon's helper reads it in each.
 *
 * A socket is ended only if its own flow says so, by cookie, and it is still connected to that very
 * backend. Unconnected sockets are never touched: their next datagram is steered anyway.
 *
 * And, where the service's policy says so, established TCP connections to a backend that has left.
 */
#include "ctx.bpf.h"
#include "stage/promise.h"
#include "stage/resolve.h"
#include "stage/stale.h"

struct sock_common___peer {
	unsigned short skc_family;
	__be16 skc_dport;
	__be32 skc_daddr;
	sn_atomic64 skc_cookie;
	unsigned char skc_state;
	struct {
		union {
			__be32 u6_addr32[4];
		} in6_u;
	} skc_v6_daddr;
} __attribute__((preserve_access_index));

struct sock___peer {
	struct sock_common___peer __sk_common;
} __attribute__((preserve_access_index));

struct udp_sock;

struct bpf_iter__udp {
	struct bpf_iter_meta *meta;
	struct udp_sock *udp_sk;
} __attribute__((preserve_access_index));

struct bpf_iter__tcp {
	struct bpf_iter_meta *meta;
	struct sock_common *sk_common;
} __attribute__((preserve_access_index));

/* Weak: the object loads without it (before Linux 6.5), this program then stays out. */
extern int bpf_sock_destroy(struct sock_common *sock) __ksym __weak;

#define SN_AF_INET 2
#define SN_AF_INET6 10
#define SN_TCP_ESTABLISHED 1 /* include/net/tcp_states.h */
#define SN_TCP_CLOSE_WAIT 8

static __always_inline int sn_is_connected_to(struct sock_common___peer *sk,
					      const struct sn_flow *flow)
{
	struct sn_addr peer = {};

	if (sk->skc_family == SN_AF_INET) {
		peer.word_be[2] = SN_V4_MAPPED;
		peer.word_be[3] = sk->skc_daddr;
	} else if (sk->skc_family == SN_AF_INET6) {
		peer.word_be[0] = sk->skc_v6_daddr.in6_u.u6_addr32[0];
		peer.word_be[1] = sk->skc_v6_daddr.in6_u.u6_addr32[1];
		peer.word_be[2] = sk->skc_v6_daddr.in6_u.u6_addr32[2];
		peer.word_be[3] = sk->skc_v6_daddr.in6_u.u6_addr32[3];
	}
	return sk->skc_dport == flow->peer_port_be && sn_addr_equal(&peer, &flow->peer);
}

SEC("iter/udp")
int sn_evict(struct bpf_iter__udp *ctx)
{
	struct sock___peer *sk = (void *)ctx->udp_sk;
	struct sn_flow *flow;
	__u64 cookie;

	if (!sk)
		return 0;
	cookie = sk->__sk_common.skc_cookie.counter;
	flow = cookie ? sn_flow_find(cookie, sk) : NULL;
	if (!flow || !sn_flow_is_stale(flow) || !sn_is_connected_to(&sk->__sk_common, flow))
		return 0;
	if (bpf_sock_destroy((struct sock_common *)sk))
		return 0;
	sn_count_node(SN_R_EVICTED);
	sn_report_flow(flow, cookie, SN_EVENT_EVICTED, SN_R_EVICTED, bpf_ktime_get_ns());
	return 0;
}

/* Did its backend leave a service that ends what is established then? A service that has gone is
 * known by its address until its index is given on. */
static __always_inline int sn_is_terminated(const struct sn_flow *flow)
{
	struct sn_backend *backend = sn_backend_at(flow->backend);
	const struct sn_service *service;
	const struct sn_policy *policy;

	if (flow->state != SN_FLOW_ESTABLISHED || !backend || backend->state != SN_BACKEND_GONE ||
	    backend->incarnation != flow->incarnation)
		return 0;
	service = sn_service_at(backend->service);
	if (!service || !sn_addr_equal(&service->frontend.addr, &flow->orig))
		return 0;
	policy = sn_policy_at(service->policy);
	return policy && policy->flags & SN_POLICY_TERMINATE;
}

SEC("iter/tcp")
int sn_evict_tcp(struct bpf_iter__tcp *ctx)
{
	struct sock_common___peer *sk = (void *)ctx->sk_common;
	struct sn_flow *flow;
	__u64 cookie;

	if (!sk || (sk->skc_state != SN_TCP_ESTABLISHED && sk->skc_state != SN_TCP_CLOSE_WAIT))
		return 0;
	cookie = sk->skc_cookie.counter;
	flow = cookie ? sn_flow_find(cookie, sk) : NULL;
	if (!flow || !sn_is_terminated(flow) || !sn_is_connected_to(sk, flow))
		return 0;
	if (bpf_sock_destroy((struct sock_common *)sk))
		return 0;
	sn_count_node(SN_R_EVICTED);
	sn_report_flow(flow, cookie, SN_EVENT_EVICTED, SN_R_EVICTED, bpf_ktime_get_ns());
	return 0;
}

char _license[] SEC("license") __weak = "Dual BSD/GPL";
