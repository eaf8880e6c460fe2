/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * The only wrappers round odd context access, each with its why. Stages never see a context.
 */
#pragma once

#include <linux/bpf.h>

#include <bpf/bpf_core_read.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>
#include <sinew/service.h>

#include "knobs.bpf.h"
#include "maps.bpf.h"
#include "stage/grade.h"

#define SN_PROCEED 1
#define SN_REJECT 0

#define SN_PF_KTHREAD 0x00200000 /* include/linux/sched.h */
#define SN_IPPROTO_MPTCP 262     /* include/uapi/linux/in.h; older headers lack it */
#define SN_ORIGIN_ICMP 2         /* include/uapi/linux/errqueue.h, which needs libc's headers */
#define SN_ORIGIN_ICMP6 3

#define SN_V4_MAPPED bpf_htonl(0xffff)

/* The few kernel fields that we read; the loader relocates them by the running kernel's BTF. */
struct task_struct {
	unsigned int flags;
} __attribute__((preserve_access_index));

typedef struct {
	long long counter;
} sn_atomic64;

struct sock_common {
	sn_atomic64 skc_cookie;
} __attribute__((preserve_access_index));

struct sk_buff {
	char cb[48];
} __attribute__((preserve_access_index));

struct sk_buff_head {
	struct sk_buff *next;
	__u32 qlen;
} __attribute__((preserve_access_index));

struct sock_extended_err {
	__u32 ee_errno;
	__u8 ee_origin;
} __attribute__((preserve_access_index));

struct sock_exterr_skb {
	struct sock_extended_err ee;
} __attribute__((preserve_access_index));

struct kernfs_node {
	__u64 id;
} __attribute__((preserve_access_index));

struct cgroup {
	struct kernfs_node *kn;
} __attribute__((preserve_access_index));

struct sock_cgroup_data {
	struct cgroup *cgroup;
} __attribute__((preserve_access_index));

struct sock {
	struct sock_common __sk_common;
	struct sock_cgroup_data sk_cgrp_data;
	struct sk_buff_head sk_error_queue;
	int sk_err;
	int sk_err_soft;
} __attribute__((preserve_access_index));

struct tcp_sock {
	__u64 bytes_received;
} __attribute__((preserve_access_index));

struct mptcp_sock {
	struct sock *first;
} __attribute__((preserve_access_index));

/* Reads the port as the whole 32-bit word it is declared as: the verifier of older kernels refuses
 * the 16-bit load that the compiler would otherwise make of it. */
static __always_inline __be16 sn_ctx_port(struct bpf_sock_addr *ctx)
{
	return (__be16) * (volatile __u32 *)&ctx->user_port;
}

static __always_inline void sn_ctx_dest4(struct bpf_sock_addr *ctx, struct sn_frontend *ret)
{
	ret->addr.word_be[0] = 0;
	ret->addr.word_be[1] = 0;
	ret->addr.word_be[2] = SN_V4_MAPPED;
	ret->addr.word_be[3] = ctx->user_ip4;
	ret->port_be = sn_ctx_port(ctx);
	ret->proto = ctx->protocol;
	ret->scope = 0;
}

static __always_inline void sn_ctx_dest6(struct bpf_sock_addr *ctx, struct sn_frontend *ret)
{
	ret->addr.word_be[0] = ctx->user_ip6[0];
	ret->addr.word_be[1] = ctx->user_ip6[1];
	ret->addr.word_be[2] = ctx->user_ip6[2];
	ret->addr.word_be[3] = ctx->user_ip6[3];
	ret->port_be = sn_ctx_port(ctx);
	ret->proto = ctx->protocol;
	ret->scope = 0;
}

static __always_inline void sn_ctx_rewrite4(struct bpf_sock_addr *ctx, const struct sn_addr *addr,
					    __be16 port_be)
{
	ctx->user_ip4 = addr->word_be[3];
	ctx->user_port = port_be;
}

static __always_inline void sn_ctx_rewrite6(struct bpf_sock_addr *ctx, const struct sn_addr *addr,
					    __be16 port_be)
{
	ctx->user_ip6[0] = addr->word_be[0];
	ctx->user_ip6[1] = addr->word_be[1];
	ctx->user_ip6[2] = addr->word_be[2];
	ctx->user_ip6[3] = addr->word_be[3];
	ctx->user_port = port_be;
}

/* Not read unless a mark means anything. */
static __always_inline __u32 sn_ctx_mark(struct bpf_sock_addr *ctx)
{
	return sn_bypass_mark ? ctx->sk->mark : 0;
}

/* Kernel threads connect for NFS, SMB, MPTCP: the caller's own copy of the address may be what we
 * would overwrite (kernels before 0bdf399342c5 and friends), and an error may make it spin. */
static __always_inline int sn_ctx_is_kernel(void)
{
	struct task_struct *task;

	if (sn_kernel_too)
		return 0;
	task = (void *)bpf_get_current_task_btf();
	return task->flags & SN_PF_KTHREAD;
}

/* The verifier forbids arithmetic on a socket pointer, and with it the relocated read of any field
 * that struct bpf_sock does not have. Stored in a map and read back it is a number, good for
 * bpf_probe_read_kernel(), which checks what it reads. */
static __always_inline void *sn_ctx_number(void *sk)
{
	__u32 zero = 0;
	__u64 *scratch = bpf_map_lookup_elem(&sn_scratch, &zero);

	if (!scratch)
		return NULL;
	*(void *volatile *)scratch = sk;
	return *(void *volatile *)scratch;
}

/* An MPTCP connection is asked for its peer on the outer socket, but it was the first subflow,
 * a TCP socket with a cookie of its own, whose connect was translated. 0: no such subflow. */
static __always_inline __u64 sn_ctx_first_subflow(void *sk)
{
	struct mptcp_sock *msk = sn_ctx_number(sk);
	struct sock *first = NULL;

	if (!bpf_core_field_exists(msk->first))
		return 0;
	if (bpf_core_read(&first, sizeof(first), &msk->first) || !first)
		return 0;
	return BPF_CORE_READ(first, __sk_common.skc_cookie.counter);
}

/* Whom a pick is for. The cgroup is the caller's; by address means by network namespace, which has
 * one address towards any peer: the socket is seldom bound yet. */
static __always_inline void sn_ctx_caller(struct bpf_sock_addr *ctx, struct sn_ask *ask)
{
	const struct sn_policy *policy = sn_policy_at(ask->policy);

	ask->caller = bpf_get_current_cgroup_id();
	ask->workload = (__u32)ask->caller;
	ask->now = bpf_ktime_get_coarse_ns();
	ask->draw = bpf_get_prandom_u32();
	if (policy && policy->affinity == SN_AFFINITY_ADDRESS)
		ask->caller = bpf_get_netns_cookie(ctx);
}

/* The error of an ICMP message that came while the socket was locked, as it is in connect() when
 * the path's end is on this host: TCP stays in SYN_SENT then, and poll() and SO_ERROR tell the
 * caller (the latter clears sk_err_soft, but what was queued for MSG_ERRQUEUE stays). 0: none. */
static __always_inline int sn_ctx_icmp_error(void *ctx_sk)
{
	struct sock *sk = sn_ctx_number(ctx_sk);
	struct sock_exterr_skb *queued;
	struct sk_buff *skb;
	__u8 origin;
	int error;

	error = BPF_CORE_READ(sk, sk_err_soft);
	if (error || !BPF_CORE_READ(sk, sk_error_queue.qlen))
		return error;
	skb = BPF_CORE_READ(sk, sk_error_queue.next);
	queued = (void *)skb + bpf_core_field_offset(struct sk_buff, cb);
	origin = BPF_CORE_READ(queued, ee.ee_origin);
	if (origin != SN_ORIGIN_ICMP && origin != SN_ORIGIN_ICMP6)
		return 0;
	return (int)BPF_CORE_READ(queued, ee.ee_errno);
}
