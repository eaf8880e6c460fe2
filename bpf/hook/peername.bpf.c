/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * getpeername(): the application is told the address that it asked for, for as long as the socket
 * is connected to what it got. Decides from the flow alone, so it stays true when the service is
 * gone.
 */
#include "ctx.bpf.h"
#include "stage/promise.h"
#include "stage/resolve.h"

static __always_inline struct sn_flow *sn_peername(struct bpf_sock_addr *ctx,
						   const struct sn_frontend *peer)
{
	struct sn_flow *flow;
	void *sk = ctx->sk;

	if (ctx->protocol == SN_IPPROTO_MPTCP)
		flow = sn_flow_find(sn_ctx_first_subflow(sk), NULL);
	else
		flow = sn_flow_find(bpf_get_socket_cookie(ctx), ctx->sk);
	if (!flow || flow->peer_port_be != peer->port_be ||
	    !sn_addr_equal(&flow->peer, &peer->addr))
		return NULL;
	return flow;
}

SEC("cgroup/getpeername4")
int sn_getpeername4(struct bpf_sock_addr *ctx)
{
	struct sn_frontend peer;
	struct sn_flow *flow;

	sn_ctx_dest4(ctx, &peer);
	flow = sn_peername(ctx, &peer);
	if (flow)
		sn_ctx_rewrite4(ctx, &flow->orig, flow->orig_port_be);
	return SN_PROCEED;
}

SEC("cgroup/getpeername6")
int sn_getpeername6(struct bpf_sock_addr *ctx)
{
	struct sn_frontend peer;
	struct sn_flow *flow;

	sn_ctx_dest6(ctx, &peer);
	flow = sn_peername(ctx, &peer);
	if (flow)
		sn_ctx_rewrite6(ctx, &flow->orig, flow->orig_port_be);
	return SN_PROCEED;
}

char _license[] SEC("license") __weak = "Dual BSD/GPL";
