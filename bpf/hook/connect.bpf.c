/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * connect() of TCP sockets and of datagram sockets: the door where a service address becomes a
 * backend's. Fails open: what cannot be decided passes untouched and is counted.
 */
#include "ctx.bpf.h"
#include "stage/promise.h"
#include "stage/translate.h"

/* A datagram socket that connects elsewhere has left its service: its old flow must not end it
 * when the old backend goes (a TCP socket's flow ended with its connection). */
static __always_inline void sn_connect_elsewhere(struct bpf_sock_addr *ctx,
						 const struct sn_frontend *dest)
{
	struct sn_flow *flow;
	__u64 cookie;

	if (dest->proto != SN_PROTO_UDP)
		return;
	cookie = bpf_get_socket_cookie(ctx);
	flow = sn_flow_find(cookie, ctx->sk);
	if (flow && flow->state)
		sn_flow_end(flow, cookie, 0, 0);
}

/* Remembers and books the choice. */
static __always_inline void sn_connect_promise(const struct sn_frontend *dest,
					       const struct sn_choice *choice, struct sn_flow *flow)
{
	int is_udp = dest->proto == SN_PROTO_UDP;

	sn_book_pick(choice, flow != NULL);
	if (flow) /* a tick's precision will do for a flow's age */
		sn_flow_fill(flow, dest, choice, is_udp ? SN_FLOW_UDP_CONNECTED : SN_FLOW_PICKED,
			     is_udp ? bpf_ktime_get_coarse_ns() : 0);
	else
		sn_count_service(choice->ask.service, SN_R_UNTRACKED);
}

/* 1 and where to connect instead; 0: leave the address alone; < 0: refuse with this errno. */
static __always_inline int sn_connect(struct bpf_sock_addr *ctx, const struct sn_frontend *dest,
				      struct sn_choice *choice)
{
	__u64 cookie, holder;
	__u32 reason;

	if (!sn_choice_resolve(choice, dest)) {
		sn_connect_elsewhere(ctx, dest);
		return 0;
	}
	cookie = bpf_get_socket_cookie(ctx);
	holder = sn_flow_holder(cookie);
	sn_ctx_caller(ctx, &choice->ask);
	reason = sn_admit(sn_ctx_mark(ctx), sn_ctx_is_kernel());
	if (reason == SN_R_CONNECTED)
		reason = sn_choose_swiftly(choice);
	if (reason != SN_R_CONNECTED)
		return sn_decline(dest, choice->ask.service, reason);
	sn_connect_promise(dest, choice, sn_flow_claim(cookie, holder, ctx->sk));
	return 1;
}

SEC("cgroup/connect4")
int sn_connect4(struct bpf_sock_addr *ctx)
{
	struct sn_choice choice = {};
	struct sn_frontend dest;
	int r;

	sn_ctx_dest4(ctx, &dest);
	r = sn_connect(ctx, &dest, &choice);
	if (r > 0)
		sn_ctx_rewrite4(ctx, &choice.backend->addr, sn_choice_port(&choice, &dest));
	else if (r < 0)
		bpf_set_retval(r);
	return r < 0 ? SN_REJECT : SN_PROCEED;
}

SEC("cgroup/connect6")
int sn_connect6(struct bpf_sock_addr *ctx)
{
	struct sn_choice choice = {};
	struct sn_frontend dest;
	int r;

	sn_ctx_dest6(ctx, &dest);
	r = sn_connect(ctx, &dest, &choice);
	if (r > 0)
		sn_ctx_rewrite6(ctx, &choice.backend->addr, sn_choice_port(&choice, &dest));
	else if (r < 0)
		bpf_set_retval(r);
	return r < 0 ? SN_REJECT : SN_PROCEED;
}

char _license[] SEC("license") __weak = "Dual BSD/GPL";
