/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * A packet as failover wants to know it: who talks to whom by TCP, or about what an ICMP error
 * complains. Filled by read.bpf.h; changes nothing (rewrite.bpf.h does).
 */
#pragma once

#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <linux/ip.h>
#include <linux/ipv6.h>
#include <linux/tcp.h>

#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

#include "stage/account.h"
#include "stage/reborn.h"

#define SN_LO 1 /* the loopback device of every network namespace */
#define SN_PROTO_HOP 0
#define SN_PROTO_ICMP 1
#define SN_PROTO_ICMP6 58
#define SN_TCP_SYN 0x02
#define SN_TCP_RST 0x04
#define SN_TCP_ACK 0x10
#define SN_ICMP_BYTES 8
#define SN_HOP_BYTES 8
#define SN_ICMP_SUM 2

/* Of a packet, or of the one that an ICMP error quotes. */
struct sn_packet {
	struct sn_addr src;
	struct sn_addr dst;
	__be16 src_port_be;
	__be16 dst_port_be;
	__be32 seq_be;
	__be32 ack_be;
	__u16 l3;    /* offsets from skb->data: IP's header, */
	__u16 l4;    /* TCP's or ICMP's */
	__u16 quote; /* the quoted IP header's; 0: this is no ICMP error */
	__u16 bytes; /* IP header and all behind it */
	__u8 header; /* bytes of TCP's header */
	__u8 flags;  /* TCP's */
	__u8 reason; /* what an ICMP error says of the backend; 0: nothing */
	__u8 is_v6;
	__u32 pad;
};

static __always_inline __u32 sn_packet_ports(const struct sn_packet *p)
{
	return p->src_port_be | (__u32)p->dst_port_be << 16;
}

static __always_inline __u32 sn_packet_ports_back(const struct sn_packet *p)
{
	return p->dst_port_be | (__u32)p->src_port_be << 16;
}

static __always_inline void sn_addr_from4(struct sn_addr *ret, __be32 addr)
{
	ret->word_be[0] = ret->word_be[1] = 0;
	ret->word_be[2] = bpf_htonl(0xffff);
	ret->word_be[3] = addr;
}

static __always_inline void sn_packet_tcp(struct sn_packet *p, const struct tcphdr *tcp)
{
	p->src_port_be = tcp->source;
	p->dst_port_be = tcp->dest;
	p->seq_be = tcp->seq;
	p->ack_be = tcp->ack_seq;
	p->header = tcp->doff * 4;
	p->flags = ((const __u8 *)tcp)[13];
}

/* What a connect makes of it: icmp_err_convert[] and tab_unreach[] of the kernel. Codes that only
 * tell of a packet's size or way end nothing. */
static __always_inline __u8 sn_icmp_reason(int is_v6, __u8 type, __u8 code)
{
	if (is_v6 && type == 1)
		return code == 4 ? SN_R_REFUSED : SN_R_UNREACHABLE;
	if (!is_v6 && type == 3 && code != 4)
		return code == 3 ? SN_R_REFUSED : SN_R_UNREACHABLE;
	return 0;
}

/* Errors that quote a packet. */
static __always_inline int sn_icmp_is_error(int is_v6, __u8 type)
{
	return is_v6 ? type >= 1 && type <= 4 : type == 3 || type == 11 || type == 12;
}

/* The first eight bytes of TCP behind a quoted IP header. */
static __always_inline int sn_packet_quoted_tcp(struct __sk_buff *skb, struct sn_packet *p,
						__u32 at)
{
	__be32 words[2] = {};

	if (bpf_skb_load_bytes(skb, at, words, sizeof(words)))
		return 0;
	p->src_port_be = ((__be16 *)words)[0];
	p->dst_port_be = ((__be16 *)words)[1];
	p->seq_be = words[1];
	return 1;
}

static __always_inline int sn_packet_quote4(struct __sk_buff *skb, struct sn_packet *p)
{
	struct iphdr ip = {};

	if (bpf_skb_load_bytes(skb, p->quote, &ip, sizeof(ip)) || ip.version != 4 ||
	    ip.protocol != SN_PROTO_TCP || ip.ihl < 5)
		return 0;
	sn_addr_from4(&p->src, ip.saddr);
	sn_addr_from4(&p->dst, ip.daddr);
	return sn_packet_quoted_tcp(skb, p, p->quote + ip.ihl * 4);
}

static __always_inline int sn_packet_quote6(struct __sk_buff *skb, struct sn_packet *p)
{
	struct ipv6hdr ip = {};

	if (bpf_skb_load_bytes(skb, p->quote, &ip, sizeof(ip)) || ip.version != 6 ||
	    ip.nexthdr != SN_PROTO_TCP)
		return 0;
	__builtin_memcpy(&p->src, &ip.saddr, sizeof(p->src));
	__builtin_memcpy(&p->dst, &ip.daddr, sizeof(p->dst));
	return sn_packet_quoted_tcp(skb, p, p->quote + SN_IP6_BYTES);
}

/* `translates`: some flow is translated, so that every packet matters. */
static __always_inline int sn_packet_icmp(struct __sk_buff *skb, struct sn_packet *p,
					  const __u8 *icmp, int translates)
{
	if (!sn_icmp_is_error(p->is_v6, icmp[0]))
		return 0;
	p->reason = sn_icmp_reason(p->is_v6, icmp[0], icmp[1]);
	if (!p->reason && !translates)
		return 0;
	p->quote = p->l4 + SN_ICMP_BYTES;
	return p->is_v6 ? sn_packet_quote6(skb, p) : sn_packet_quote4(skb, p);
}
