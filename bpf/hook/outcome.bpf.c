/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * How it went: the SYN, the answer, the end. sock_ops sees a TCP socket's states, sock_release the
 * application's last close; whichever comes first ends the flow.
 */
#include "ctx.bpf.h"
#include "stage/promise.h"
#include "stage/timeout.h"

static __always_inline struct sn_flow *sn_sockops_flow(struct bpf_sock_ops *ops, __u64 *ret_cookie)
{
	*ret_cookie = bpf_get_socket_cookie(ops);
	return sn_flow_find(*ret_cookie, ops->sk);
}

static __always_inline int sn_is_sent_to(struct bpf_sock_ops *ops, const struct sn_flow *flow)
{
	if (bpf_ntohl(ops->remote_port) != bpf_ntohs(flow->peer_port_be))
		return 0;
	if (flow->peer.word_be[2] == SN_V4_MAPPED && !flow->peer.word_be[1] &&
	    !flow->peer.word_be[0])
		return ops->remote_ip4 == flow->peer.word_be[3];
	return ops->remote_ip6[3] == flow->peer.word_be[3] &&
	       ops->remote_ip6[2] == flow->peer.word_be[2] &&
	       ops->remote_ip6[1] == flow->peer.word_be[1] &&
	       ops->remote_ip6[0] == flow->peer.word_be[0];
}

/* The SYN leaves: time starts, and only this socket's states are wanted from now on. A socket whose
 * connect failed before its SYN may have gone on to another address, past our doors: then this SYN
 * is not the flow's. Other programs' flags stay as they are. */
static __always_inline void sn_on_syn(struct bpf_sock_ops *ops)
{
	__u64 cookie;
	struct sn_flow *flow = sn_sockops_flow(ops, &cookie);

	if (!flow || flow->state != SN_FLOW_PICKED)
		return;
	if (!sn_is_sent_to(ops, flow)) {
		sn_flow_end(flow, cookie, 0, 0);
		return;
	}
	flow->start_ns = bpf_ktime_get_ns();
	flow->state = SN_FLOW_CONNECTING;
	if (sn_timeouts)
		sn_timeout_set(ops, flow);
	bpf_sock_ops_cb_flags_set(ops, ops->bpf_sock_ops_cb_flags | BPF_SOCK_OPS_STATE_CB_FLAG);
}

static __always_inline void sn_on_established(struct sn_flow *flow)
{
	__u64 now = bpf_ktime_get_ns();
	struct sn_health *health;

	if (!sn_flow_move(flow, SN_FLOW_CONNECTING, SN_FLOW_ESTABLISHED))
		return;
	health = sn_flow_health(flow);
	if (health)
		sn_outcome_connected(flow->backend, health, now - flow->start_ns, now);
	sn_flow_arrive(flow);
	if (!(flow->cookie & sn_sample))
		sn_report_flow(flow, flow->cookie, SN_EVENT_OUTCOME, SN_R_CONNECTED, now);
}

static __always_inline void sn_on_close(struct bpf_sock_ops *ops, struct sn_flow *flow,
					__u64 cookie)
{
	struct bpf_sock *sk = ops->sk;
	struct tcp_sock *tcp = NULL;
	int error = 0, reset = 0;

	if (sk)
		tcp = (void *)bpf_skc_to_tcp_sock(sk);
	if (tcp) {
		error = ((struct sock *)tcp)->sk_err;
		reset = flow->state == SN_FLOW_ESTABLISHED && error == SN_ECONNRESET &&
			!tcp->bytes_received;
	}
	sn_flow_end(flow, cookie, error, reset);
}

/* The kernel asks how long to wait for the answer to the first SYN; a listener's socket asks, too.
 */
static __always_inline void sn_on_patience(struct bpf_sock_ops *ops)
{
	struct sn_flow *flow;
	__u64 cookie;

	if (!ops->is_fullsock || ops->state != BPF_TCP_SYN_SENT)
		return;
	flow = sn_sockops_flow(ops, &cookie);
	if (flow && flow->state == SN_FLOW_CONNECTING)
		sn_timeout_reply(ops, flow);
}

SEC("sockops")
int sn_sockops(struct bpf_sock_ops *ops)
{
	struct sn_flow *flow;
	__u64 cookie;
	__u32 state;

	if (ops->op == BPF_SOCK_OPS_TCP_CONNECT_CB)
		sn_on_syn(ops);
	if (sn_timeouts && ops->op == BPF_SOCK_OPS_TIMEOUT_INIT)
		sn_on_patience(ops);
	if (ops->op != BPF_SOCK_OPS_STATE_CB)
		return 1;
	state = ops->args[1];
	if (state != BPF_TCP_ESTABLISHED && state != BPF_TCP_CLOSE)
		return 1;
	flow = sn_sockops_flow(ops, &cookie);
	if (!flow)
		return 1;
	sn_timeout_restore(ops, flow);
	if (state == BPF_TCP_CLOSE)
		sn_on_close(ops, flow, cookie);
	else
		sn_on_established(flow);
	return 1;
}

SEC("cgroup/sock_release")
int sn_release(struct bpf_sock *sk)
{
	__u64 cookie = bpf_get_socket_cookie(sk);
	struct sn_flow *flow = sn_flow_find(cookie, sk);
	int error = 0;

	if (!flow)
		return 1;
	if (flow->state == SN_FLOW_CONNECTING)
		error = sn_ctx_icmp_error(sk);
	sn_flow_end(flow, cookie, error, 0);
	return 1;
}

char _license[] SEC("license") __weak = "Dual BSD/GPL";
