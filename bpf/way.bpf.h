/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Which way a packet must go when it is for another backend than its sender thinks: asks the
 * kernel's routes, and sends it. A socket of this host has chosen its interface by the backend that
 * it was given first; the next one must be reached by the same one.
 */
#pragma once

#include <linux/pkt_cls.h>

#include "packet.bpf.h"

#define SN_AF_INET 2
#define SN_AF_INET6 10

enum sn_way_kind {
	SN_WAY_NONE = 0,  /* another interface, or none */
	SN_WAY_MAC = 1,   /* the neighbour's address is known */
	SN_WAY_NEIGH = 2, /* the neighbour is, its address not yet */
	SN_WAY_ROUTE =
		3, /* forwarding is off, so that we may not ask; the route by this interface */
};

struct sn_route {
	struct bpf_fib_lookup fib;
	__u32 kind; /* enum sn_way_kind */
};

static __always_inline int sn_is_v4(const struct sn_addr *addr)
{
	return !addr->word_be[0] && !addr->word_be[1] && addr->word_be[2] == bpf_htonl(0xffff);
}

static __always_inline void sn_route_ask(struct bpf_fib_lookup *fib, const struct sn_addr *from,
					 const struct sn_addr *to)
{
	fib->l4_protocol = SN_PROTO_TCP;
	if (sn_is_v4(to)) {
		fib->family = SN_AF_INET;
		fib->ipv4_src = from->word_be[3];
		fib->ipv4_dst = to->word_be[3];
		return;
	}
	fib->family = SN_AF_INET6;
	__builtin_memcpy(fib->ipv6_src, from, 16);
	__builtin_memcpy(fib->ipv6_dst, to, 16);
}

/* Does `ifindex` lead from here to there? */
static __always_inline void sn_route_find(struct __sk_buff *skb, __u32 ifindex,
					  const struct sn_addr *from, const struct sn_addr *to,
					  struct sn_route *ret)
{
	long r;

	ret->fib.ifindex = ifindex;
	sn_route_ask(&ret->fib, from, to);
	r = bpf_fib_lookup(skb, &ret->fib, sizeof(ret->fib), 0);
	if (r == BPF_FIB_LKUP_RET_FWD_DISABLED)
		ret->kind = SN_WAY_ROUTE;
	else if (ret->fib.ifindex != ifindex)
		ret->kind = SN_WAY_NONE;
	else if (r == BPF_FIB_LKUP_RET_SUCCESS || r == BPF_FIB_LKUP_RET_FRAG_NEEDED)
		ret->kind = SN_WAY_MAC;
	else if (r == BPF_FIB_LKUP_RET_NO_NEIGH)
		ret->kind = SN_WAY_NEIGH;
}

static __always_inline int sn_is_loopback(const struct sn_addr *addr)
{
	if (sn_is_v4(addr))
		return (addr->word_be[3] & bpf_htonl(0xff000000)) == bpf_htonl(0x7f000000);
	return !addr->word_be[0] && !addr->word_be[1] && !addr->word_be[2] &&
	       addr->word_be[3] == bpf_htonl(1);
}

/* Does anybody listen there on this host? */
static __always_inline int sn_is_listening(struct __sk_buff *skb, const struct sn_syn *syn,
					   const struct sn_addr *to, __be16 port_be)
{
	struct bpf_sock_tuple tuple = {};
	struct bpf_sock *sk;
	__u32 size;

	if (sn_is_v4(to)) {
		tuple.ipv4.saddr = syn->client.word_be[3];
		tuple.ipv4.daddr = to->word_be[3];
		tuple.ipv4.sport = syn->client_port_be;
		tuple.ipv4.dport = port_be;
		size = sizeof(tuple.ipv4);
	} else {
		__builtin_memcpy(tuple.ipv6.saddr, &syn->client, 16);
		__builtin_memcpy(tuple.ipv6.daddr, to, 16);
		tuple.ipv6.sport = syn->client_port_be;
		tuple.ipv6.dport = port_be;
		size = sizeof(tuple.ipv6);
	}
	sk = bpf_skc_lookup_tcp(skb, &tuple, size, BPF_F_CURRENT_NETNS, 0);
	if (!sk)
		return 0;
	bpf_sk_release(sk);
	return 1;
}

/* From there to the client. Returns the bytes of it that count. */
static __always_inline __u32 sn_way_tuple(struct bpf_sock_tuple *tuple, const struct sn_addr *from,
					  __u32 port_be, const struct sn_syn *syn)
{
	if (sn_is_v4(from)) {
		tuple->ipv4.saddr = from->word_be[3];
		tuple->ipv4.daddr = syn->client.word_be[3];
		tuple->ipv4.sport = port_be;
		tuple->ipv4.dport = syn->client_port_be;
		return sizeof(tuple->ipv4);
	}
	__builtin_memcpy(tuple->ipv6.saddr, from, 16);
	__builtin_memcpy(tuple->ipv6.daddr, &syn->client, 16);
	tuple->ipv6.sport = port_be;
	tuple->ipv6.dport = syn->client_port_be;
	return sizeof(tuple->ipv6);
}

/* Has the client another connection between the port and that backend? Both would be one on the
 * wire. One in TIME_WAIT may be followed by a new one. */
SN_ONCE int sn_way_is_taken(struct __sk_buff *skb, const struct sn_syn *syn,
			    const struct sn_addr *to, __u32 port_be)
{
	struct bpf_sock_tuple tuple = {};
	struct bpf_sock *sk;
	__u32 state;

	if (!syn || !to || syn->side == SN_SIDE_BEHIND)
		return 0;
	sk = bpf_skc_lookup_tcp(skb, &tuple, sn_way_tuple(&tuple, to, port_be, syn),
				BPF_F_CURRENT_NETNS, 0);
	if (!sk)
		return 0;
	state = sk->state;
	bpf_sk_release(sk);
	return state != BPF_TCP_LISTEN && state != BPF_TCP_TIME_WAIT;
}

/* A connect over the loopback device may go on to local addresses only. The routes tell which those
 * are, where forwarding is on; else 127.0.0.0/8 and ::1 are, and addresses that somebody listens
 * on. */
static __always_inline int sn_is_local(struct __sk_buff *skb, const struct sn_syn *syn,
				       const struct sn_addr *to, __be16 port_be)
{
	struct sn_route route = {};
	long r;

	if (sn_is_loopback(to))
		return 1;
	route.fib.ifindex = SN_LO;
	sn_route_ask(&route.fib, &syn->client, to);
	r = bpf_fib_lookup(skb, &route.fib, sizeof(route.fib), 0);
	if (r == BPF_FIB_LKUP_RET_FWD_DISABLED)
		return sn_is_listening(skb, syn, to, port_be);
	return r == BPF_FIB_LKUP_RET_NOT_FWDED;
}

/* Can this backend be reached by the way that the connect has taken? What comes from behind an
 * interface is routed anew, as any packet from there. */
SN_ONCE int sn_way_leads(struct __sk_buff *skb, const struct sn_syn *syn, const struct sn_addr *to,
			 __u32 port_be)
{
	struct sn_route route = {};

	if (!syn || !to)
		return 0;
	if (syn->side == SN_SIDE_BEHIND)
		return 1;
	if (syn->ifindex == SN_LO)
		return sn_is_local(skb, syn, to, port_be);
	if (sn_is_loopback(to))
		return 0;
	sn_route_find(skb, syn->ifindex, &syn->client, to, &route);
	return route.kind != SN_WAY_NONE;
}

static __always_inline long sn_way_neigh(__u32 ifindex, const struct bpf_fib_lookup *fib)
{
	struct bpf_redir_neigh hop = {};

	hop.nh_family = fib->family;
	if (fib->family == SN_AF_INET)
		hop.ipv4_nh = fib->ipv4_dst;
	else
		__builtin_memcpy(hop.ipv6_nh, fib->ipv6_dst, 16);
	return bpf_redirect_neigh(ifindex, &hop, sizeof(hop), 0);
}

/* Sends a packet out by `ifindex`, with the link-layer header that it needs there. */
SN_ONCE int sn_way_send(struct __sk_buff *skb, __u32 ifindex, const struct sn_addr *from,
			const struct sn_addr *to)
{
	struct sn_route route = {};

	if (!from || !to)
		return TC_ACT_UNSPEC;
	sn_route_find(skb, ifindex, from, to, &route);
	switch (route.kind) {
	case SN_WAY_MAC:
		bpf_skb_store_bytes(skb, 0, route.fib.dmac, ETH_ALEN, 0);
		bpf_skb_store_bytes(skb, ETH_ALEN, route.fib.smac, ETH_ALEN, 0);
		return bpf_redirect(ifindex, 0);
	case SN_WAY_NEIGH:
		return sn_way_neigh(ifindex, &route.fib);
	case SN_WAY_ROUTE:
		return bpf_redirect_neigh(ifindex, NULL, 0, 0);
	}
	return TC_ACT_SHOT;
}
