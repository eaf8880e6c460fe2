/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Reads a packet: what every one that passes an interface pays for, so that most are done after a
 * look at TCP's flags. What is no whole TCP header and quotes none is none of ours.
 */
#pragma once

#include "packet.bpf.h"

/* Headers that a driver left outside the linear part are fetched into it. Only then: making a
 * packet writable may copy it. */
static __always_inline int sn_packet_reach(struct __sk_buff *skb, __u32 bytes)
{
	__u32 linear = skb->data_end - skb->data;

	if (linear >= bytes || skb->len <= linear)
		return 1;
	return !bpf_skb_pull_data(skb, skb->len < bytes ? skb->len : bytes);
}

static __always_inline int sn_packet_is_wanted(const struct tcphdr *tcp, int translates)
{
	return translates || ((const __u8 *)tcp)[13] & (SN_TCP_SYN | SN_TCP_RST);
}

static __always_inline int sn_packet_read4(struct __sk_buff *skb, struct sn_packet *p,
					   int translates)
{
	void *data = (void *)(long)skb->data, *end = (void *)(long)skb->data_end;
	struct iphdr *ip = data + p->l3;
	struct tcphdr *tcp;

	if ((void *)(ip + 1) > end || ip->version != 4 || ip->frag_off & bpf_htons(0x1fff))
		return 0;
	p->l4 = p->l3 + ip->ihl * 4;
	tcp = data + p->l4;
	if (ip->protocol == SN_PROTO_ICMP && (void *)tcp + SN_ICMP_BYTES <= end)
		return sn_packet_icmp(skb, p, (void *)tcp, translates);
	if (ip->protocol != SN_PROTO_TCP || (void *)(tcp + 1) > end ||
	    !sn_packet_is_wanted(tcp, translates))
		return 0;
	sn_addr_from4(&p->src, ip->saddr);
	sn_addr_from4(&p->dst, ip->daddr);
	p->bytes = bpf_ntohs(ip->tot_len);
	sn_packet_tcp(p, tcp);
	return 1;
}

/* What follows an IPv6 header; *l4 comes to point there. Linux puts a hop-by-hop header of eight
 * bytes into its own packets beyond 64 KB (BIG TCP); others there are none in TCP. */
static __always_inline __u8 sn_packet_next6(const struct ipv6hdr *ip, const void *end, __u16 *l4)
{
	const __u8 *hop = (const void *)(ip + 1);

	if (ip->nexthdr != SN_PROTO_HOP || (const void *)(hop + SN_HOP_BYTES) > end || hop[1])
		return ip->nexthdr;
	*l4 += SN_HOP_BYTES;
	return hop[0];
}

static __always_inline int sn_packet_read6(struct __sk_buff *skb, struct sn_packet *p,
					   int translates)
{
	void *data = (void *)(long)skb->data, *end = (void *)(long)skb->data_end;
	struct ipv6hdr *ip = data + p->l3;
	struct tcphdr *tcp;
	__u16 l4 = p->l3 + SN_IP6_BYTES;
	__u8 next;

	if ((void *)(ip + 1) > end || ip->version != 6)
		return 0;
	next = sn_packet_next6(ip, end, &l4);
	tcp = data + l4;
	p->l4 = l4;
	p->is_v6 = 1;
	if (next == SN_PROTO_ICMP6 && (void *)tcp + SN_ICMP_BYTES <= end)
		return sn_packet_icmp(skb, p, (void *)tcp, translates);
	if (next != SN_PROTO_TCP || (void *)(tcp + 1) > end ||
	    !sn_packet_is_wanted(tcp, translates))
		return 0;
	__builtin_memcpy(&p->src, &ip->saddr, sizeof(p->src));
	__builtin_memcpy(&p->dst, &ip->daddr, sizeof(p->dst));
	p->bytes = bpf_ntohs(ip->payload_len) + SN_IP6_BYTES;
	sn_packet_tcp(p, tcp);
	return 1;
}

/* On the loopback device every packet passes both ways, and nobody is behind it: a client's own
 * packet is looked at as it leaves, and what is for a client as it enters. */
static __always_inline int sn_packet_is_twin(__u32 ifindex, __u32 is_ingress, __u8 flags)
{
	int is_first = (flags & (SN_TCP_SYN | SN_TCP_ACK)) == SN_TCP_SYN;

	return ifindex == SN_LO && is_first == !!is_ingress;
}

/* What most packets of an open connection are: no SYN, no RST, no options of IPv4. Asked before
 * anything else, since each of them pays for it twice. 0: look closer. */
static __always_inline int sn_packet_is_plain(struct __sk_buff *skb, __u32 is_ingress)
{
	const struct ethhdr *ether = (void *)(long)skb->data;
	const struct iphdr *ip = (void *)(ether + 1);
	const struct tcphdr *tcp = (void *)(ip + 1);
	__u8 flags;

	if ((void *)(tcp + 1) > (void *)(long)skb->data_end ||
	    ether->h_proto != bpf_htons(ETH_P_IP) || *(const __u8 *)ip != 0x45 ||
	    ip->protocol != SN_PROTO_TCP)
		return 0;
	flags = ((const __u8 *)tcp)[13];
	return !(flags & (SN_TCP_SYN | SN_TCP_RST)) ||
	       sn_packet_is_twin(skb->ifindex, is_ingress, flags);
}

/* Bytes that hold all headers, and no more: payload that a sender left outside the linear part
 * stays there, or each packet of a stream would be copied. */
static __always_inline __u32 sn_packet_need(struct __sk_buff *skb, __u32 proto)
{
	const struct iphdr *ip = (void *)(long)skb->data + ETH_HLEN;

	if (proto == bpf_htons(ETH_P_IP) && (void *)(ip + 1) <= (void *)(long)skb->data_end &&
	    ip->ihl == 5)
		return ETH_HLEN + sizeof(*ip) + SN_TCP_BYTES;
	return ETH_HLEN + SN_IP6_BYTES + SN_TCP_BYTES;
}

/* 0: not ours, which most packets find out by a look at TCP's flags. A device may have no
 * link-layer header: then the data begins with IP's. */
static __always_inline int sn_packet_read(struct __sk_buff *skb, struct sn_packet *p,
					  int translates)
{
	__u32 proto = skb->protocol;
	struct ethhdr *ether;

	if (proto != bpf_htons(ETH_P_IP) && proto != bpf_htons(ETH_P_IPV6))
		return 0;
	if (!sn_packet_reach(skb, sn_packet_need(skb, proto)))
		return 0;
	ether = (void *)(long)skb->data;
	asm volatile(""
		     : "+r"(ether)); /* or the compiler spares the test that the verifier wants */
	if ((void *)(ether + 1) > (void *)(long)skb->data_end)
		return 0;
	p->quote = 0;
	p->reason = 0;
	p->is_v6 = 0;
	p->l3 = ether->h_proto == proto ? ETH_HLEN : 0;
	return proto == bpf_htons(ETH_P_IP) ? sn_packet_read4(skb, p, translates)
					    : sn_packet_read6(skb, p, translates);
}
