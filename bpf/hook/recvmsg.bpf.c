/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * recvfrom() and recvmsg() of datagram sockets: a reply from a backend carries the service's
 * address. An IPv4 reply on an IPv6 socket enters by the IPv6 door as a mapped address, though it
 * was sent through the IPv4 one: both doors share one form.
 */
#include "ctx.bpf.h"
#include "stage/datagram.h"

static __always_inline int sn_recvmsg(struct bpf_sock_addr *ctx, const struct sn_frontend *source,
				      struct sn_reverse *ret)
{
	__u64 cookie = bpf_get_socket_cookie(ctx);
	struct sn_flow *flow = sn_flow_find(cookie, ctx->sk);

	if (!flow || flow->state < SN_FLOW_UDP_CONNECTED)
		return 0;
	return sn_datagram_origin(flow, cookie, source, ret);
}

SEC("cgroup/recvmsg4")
int sn_recvmsg4(struct bpf_sock_addr *ctx)
{
	struct sn_frontend source;
	struct sn_reverse from;

	sn_ctx_dest4(ctx, &source);
	if (sn_recvmsg(ctx, &source, &from))
		sn_ctx_rewrite4(ctx, &from.addr, from.port_be);
	return SN_PROCEED;
}

SEC("cgroup/recvmsg6")
int sn_recvmsg6(struct bpf_sock_addr *ctx)
{
	struct sn_frontend source;
	struct sn_reverse from;

	sn_ctx_dest6(ctx, &source);
	if (sn_recvmsg(ctx, &source, &from))
		sn_ctx_rewrite6(ctx, &from.addr, from.port_be);
	return SN_PROCEED;
}

char _license[] SEC("license") __weak = "Dual BSD/GPL";
