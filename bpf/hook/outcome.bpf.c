/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * How it went: the SYN, the answer, the end. sock_ops sees a TCP socket's states, sock_release the
 * application's last close; whichever comes first ends the flow.
 */
#include "ctx.bpf.h"
#include "stage/enlist.h"
#include "stage/listen.h"
#include "stage/promise.h"
#include "stage/timeout.h"

#define SN_AF_INET 2
#define SN_SOCK_STREAM 1

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

/* The socket's own address, which is known from its SYN on. Each field is read on its own: the
 * verifier takes no pointer into a context. */
static __always_inline void sn_local(struct bpf_sock_ops *ops, struct sn_addr *ret)
{
	__u32 v4 = *(volatile __u32 *)&ops->local_ip4;

	ret->word_be[0] = *(volatile __u32 *)&ops->local_ip6[0];
	ret->word_be[1] = *(volatile __u32 *)&ops->local_ip6[1];
	ret->word_be[2] = *(volatile __u32 *)&ops->local_ip6[2];
	ret->word_be[3] = *(volatile __u32 *)&ops->local_ip6[3];
	if (*(volatile __u32 *)&ops->family == SN_AF_INET)
		*ret = (struct sn_addr){{0, 0, SN_V4_MAPPED, v4}};
}

/* A connect that may go on to another backend is known by its addresses to the programs that see
 * its packets. Only a flow of the table can be found by them. */
static __always_inline void sn_enlist(struct bpf_sock_ops *ops, struct sn_flow *flow, __u64 cookie)
{
	struct sn_backend *backend = sn_backend_at(flow->backend);
	struct sn_service *service;
	const struct sn_policy *policy;
	struct sn_addr local = {};

	if (!backend || backend->incarnation != flow->incarnation || flow != sn_flow_slot(cookie))
		return;
	service = sn_service_at(backend->service);
	policy = service ? sn_policy_at(service->policy) : NULL;
	if (!policy || !policy->attempts || !(policy->flags & SN_POLICY_FAIL_ANY))
		return;
	sn_local(ops, &local);
	if (sn_syn_claim(flow, backend->service, &local, bpf_htons(ops->local_port),
			 flow->start_ns))
		sn_flow_flag_set(flow, SN_FLOW_CLAIMED);
}

/* The connect went to whom it was sent, or it has gone on: either way it goes on no more. */
static __always_inline void sn_delist(struct bpf_sock_ops *ops, __u64 cookie, __u64 now)
{
	struct sn_addr local = {};

	sn_local(ops, &local);
	sn_syn_end(&local, bpf_htons(ops->local_port), cookie, now);
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
	if (sn_failover)
		sn_enlist(ops, flow, cookie);
	bpf_sock_ops_cb_flags_set(ops, ops->bpf_sock_ops_cb_flags | BPF_SOCK_OPS_STATE_CB_FLAG);
}

/* A backend answered: the entry has done what it was for, unless it translates. */
static __always_inline void sn_on_answer(struct bpf_sock_ops *ops, struct sn_flow *flow,
					 __u64 cookie, __u64 now)
{
	struct sn_backend *backend = sn_backend_at(flow->backend);

	if (flow->flags & SN_FLOW_MOVED) {
		if (backend && backend->incarnation == flow->incarnation)
			sn_count_service(backend->service, SN_R_FAILED_OVER);
		return;
	}
	sn_flow_flag_clear(flow, SN_FLOW_CLAIMED);
	sn_delist(ops, cookie, now);
}

static __always_inline void sn_on_established(struct bpf_sock_ops *ops, struct sn_flow *flow,
					      __u64 cookie)
{
	__u64 now = bpf_ktime_get_ns();

	if (sn_failover && flow->flags & SN_FLOW_CLAIMED)
		sn_flow_settle(flow);
	if (!sn_flow_answer(flow, now))
		return;
	if (sn_failover && flow->flags & SN_FLOW_CLAIMED)
		sn_on_answer(ops, flow, cookie, now);
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

/* The flow may have ended with the application's last close; its entry is there until now. */
static __always_inline void sn_on_closed(struct bpf_sock_ops *ops, struct sn_flow *flow,
					 __u64 cookie)
{
	int is_listed = flow ? flow->flags & SN_FLOW_CLAIMED : sn_flow_was_listed(cookie);

	if (flow)
		sn_on_close(ops, flow, cookie);
	if (sn_failover && is_listed)
		sn_delist(ops, cookie, bpf_ktime_get_ns());
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

/* The cgroup is the socket's: who made it, not who was given it. The socket's states are not asked
 * for, which would tell its end, too: every socket that it accepts would inherit the wish, and each
 * of its states would run us. */
static __noinline int sn_on_listen(struct bpf_sock_ops *ops)
{
	__u64 cookie = bpf_get_socket_cookie(ops);
	struct sn_listener l = {};
	struct bpf_sock *sk = ops->sk;
	struct tcp_sock *tcp = NULL;

	if (sk)
		tcp = (void *)bpf_skc_to_tcp_sock(sk);
	if (!tcp)
		return 0;
	l.cgroup_id = ((struct sock *)tcp)->sk_cgrp_data.cgroup->kn->id;
	l.netns = bpf_get_netns_cookie(ops);
	l.since_ns = bpf_ktime_get_ns();
	l.port_be = bpf_htons(ops->local_port);
	l.family = ops->family;
	sn_local(ops, &l.addr);
	sn_listen_begin(cookie, &l);
	return 0;
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
	if (ops->op != BPF_SOCK_OPS_STATE_CB) {
		if (ops->op == BPF_SOCK_OPS_TCP_LISTEN_CB)
			sn_on_listen(ops);
		return 1;
	}
	state = ops->args[1];
	if (state != BPF_TCP_ESTABLISHED && state != BPF_TCP_CLOSE)
		return 1;
	flow = sn_sockops_flow(ops, &cookie);
	if (flow)
		sn_timeout_restore(ops, flow);
	if (flow && state == BPF_TCP_ESTABLISHED)
		sn_on_established(ops, flow, cookie);
	if (state == BPF_TCP_CLOSE)
		sn_on_closed(ops, flow, cookie);
	return 1;
}

/* The last close of a socket without a flow; one that was shut down before is closed already. Of
 * MPTCP the first subflow listens. */
static __noinline int sn_on_unlisten(struct bpf_sock *sk, __u64 cookie)
{
	if (sk->protocol == SN_IPPROTO_MPTCP)
		cookie = sn_ctx_first_subflow(sk);
	sn_listen_end(cookie, bpf_ktime_get_ns());
	return 0;
}

SEC("cgroup/sock_release")
int sn_release(struct bpf_sock *sk)
{
	__u64 cookie = bpf_get_socket_cookie(sk);
	struct sn_flow *flow = sn_flow_find(cookie, sk);
	int error = 0;

	if (!flow) {
		if (sk->type == SN_SOCK_STREAM &&
		    (sk->state == BPF_TCP_LISTEN || sk->state == BPF_TCP_CLOSE))
			sn_on_unlisten(sk, cookie);
		return 1;
	}
	if (flow->state == SN_FLOW_CONNECTING)
		error = sn_ctx_icmp_error(sk);
	sn_flow_end(flow, cookie, error, 0);
	return 1;
}

char _license[] SEC("license") __weak = "Dual BSD/GPL";
