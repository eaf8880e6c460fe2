/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * sendto() and sendmsg() of datagram sockets with an address: each datagram passes here.
 * (send() on a connected socket does not.)
 */
#include "ctx.bpf.h"
#include "stage/datagram.h"

/* A first datagram, or one whose backend has gone: pick. As sn_connect returns. */
static __always_inline int sn_sendmsg_pick(struct bpf_sock_addr *ctx,
					   const struct sn_frontend *dest, struct sn_choice *choice,
					   struct sn_reverse *ret)
{
	__u32 reason = sn_choose_backend(choice);

	if (reason != SN_R_CONNECTED)
		return sn_decline(dest, choice->ask.service, reason);
	ret->addr = choice->backend->addr;
	ret->port_be = sn_choice_port(choice, dest);
	sn_datagram_remember(bpf_get_socket_cookie(ctx), ctx->sk, dest, choice, ret);
	return 1;
}

static __always_inline int sn_sendmsg(struct bpf_sock_addr *ctx, const struct sn_frontend *dest,
				      struct sn_reverse *ret)
{
	struct sn_choice choice = {};
	struct sn_flow *flow;
	__u64 cookie;
	__u32 reason;

	sn_choice_resolve(&choice, dest);
	cookie = bpf_get_socket_cookie(ctx);
	flow = sn_flow_find(cookie, ctx->sk);
	if (flow && flow->state == SN_FLOW_UDP_CONNECTED && !ctx->sk->dst_port)
		/* By AF_UNSPEC, which passes no door. */
		sn_flow_move(flow, SN_FLOW_UDP_CONNECTED, SN_FLOW_UDP_UNCONNECTED);
	if (!choice.service) {
		if (flow)
			sn_datagram_direct(flow, cookie, dest);
		return 0;
	}
	reason = sn_admit(sn_ctx_mark(ctx), sn_ctx_is_kernel());
	if (reason != SN_R_CONNECTED)
		return sn_decline(dest, choice.ask.service, reason);
	if (flow && flow->state && sn_datagram_sticky(flow, cookie, dest, ret))
		return 1;
	sn_ctx_caller(ctx, &choice.ask);
	return sn_sendmsg_pick(ctx, dest, &choice, ret);
}

/* `to` is initialised, although it counts only when filled: clang 19 keeps half of it in a register
 * across paths that never set it, and the verifier takes that for a read. */
SEC("cgroup/sendmsg4")
int sn_sendmsg4(struct bpf_sock_addr *ctx)
{
	struct sn_frontend dest;
	struct sn_reverse to = {};
	int r;

	sn_ctx_dest4(ctx, &dest);
	r = sn_sendmsg(ctx, &dest, &to);
	if (r > 0)
		sn_ctx_rewrite4(ctx, &to.addr, to.port_be);
	else if (r < 0)
		bpf_set_retval(r);
	return r < 0 ? SN_REJECT : SN_PROCEED;
}

SEC("cgroup/sendmsg6")
int sn_sendmsg6(struct bpf_sock_addr *ctx)
{
	struct sn_frontend dest;
	struct sn_reverse to = {};
	int r;

	sn_ctx_dest6(ctx, &dest);
	r = sn_sendmsg(ctx, &dest, &to);
	if (r > 0)
		sn_ctx_rewrite6(ctx, &to.addr, to.port_be);
	else if (r < 0)
		bpf_set_retval(r);
	return r < 0 ? SN_REJECT : SN_PROCEED;
}

char _license[] SEC("license") __weak = "Dual BSD/GPL";
