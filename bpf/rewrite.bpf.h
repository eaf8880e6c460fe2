/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Changing a packet: one address and port of it, or of what an ICMP error quotes; or all of it,
 * into a SYN. Helpers of the kernel keep the checksums, because only they know who has to fill them
 * in. Offsets of a packet hold before and after.
 */
#pragma once

#include "packet.bpf.h"

#ifndef BPF_F_IPV6
#define BPF_F_IPV6 (1ULL << 7) /* Linux 6.16 and its stable relatives */
#endif
#define SN_EINVAL 22

/* The other address and port that one of a packet's two ends gets. */
#define SN_END_SOURCE 0
#define SN_END_DEST 1

/* An IPv6 address in TCP's pseudo header. Without the flag, which older kernels refuse, they tell
 * the device's own checksum wrongly and count the packet anew. */
static __always_inline void sn_rewrite_pseudo6(struct __sk_buff *skb, __u32 sum_at, __u64 diff)
{
	if (bpf_l4_csum_replace(skb, sum_at, 0, diff, BPF_F_PSEUDO_HDR | BPF_F_IPV6) == -SN_EINVAL)
		bpf_l4_csum_replace(skb, sum_at, 0, diff, BPF_F_PSEUDO_HDR);
}

/* Gives a TCP packet another source or destination. GSO packets keep their lengths. */
SN_ONCE int sn_rewrite_end(struct __sk_buff *skb, const struct sn_packet *p, __u32 end,
			   const struct sn_addr *addr, __u32 port_be)
{
	const struct sn_addr *old;
	__u32 sum_at, addr_at;
	__be16 old_port, port = port_be;

	if (!p || !addr)
		return 0;
	old = end == SN_END_DEST ? &p->dst : &p->src;
	old_port = end == SN_END_DEST ? p->dst_port_be : p->src_port_be;
	sum_at = p->l4 + SN_TCP_SUM;
	if (port != old_port)
		bpf_l4_csum_replace(skb, sum_at, old_port, port, 2);
	if (p->is_v6) {
		addr_at = p->l3 + (end == SN_END_DEST ? SN_IP6_DEST : SN_IP6_SOURCE);
		sn_rewrite_pseudo6(skb, sum_at,
				   bpf_csum_diff((__be32 *)old, 16, (__be32 *)addr, 16, 0));
		bpf_skb_store_bytes(skb, addr_at, addr, 16, 0);
	} else {
		addr_at = p->l3 + (end == SN_END_DEST ? SN_IP4_DEST : SN_IP4_SOURCE);
		bpf_l4_csum_replace(skb, sum_at, old->word_be[3], addr->word_be[3],
				    BPF_F_PSEUDO_HDR | 4);
		bpf_l3_csum_replace(skb, p->l3 + SN_IP4_SUM, old->word_be[3], addr->word_be[3], 4);
		bpf_skb_store_bytes(skb, addr_at, &addr->word_be[3], 4, 0);
	}
	bpf_skb_store_bytes(skb, p->l4 + (end == SN_END_DEST ? SN_TCP_DEST : 0), &port, 2, 0);
	return 1;
}

/* Gives what an ICMP error quotes another destination, so that the socket knows it for its own.
 * IPv4: the quoted header's own sum evens its address out in ICMP's. */
SN_ONCE int sn_rewrite_quote(struct __sk_buff *skb, const struct sn_packet *p,
			     const struct sn_addr *addr, __u32 port_be)
{
	__u32 sum_at, port_at, ip = SN_IP6_BYTES;
	__be16 port = port_be;
	__u8 first = 0;

	if (!p || !addr)
		return 0;
	sum_at = p->l4 + SN_ICMP_SUM;
	if (p->is_v6) {
		bpf_l4_csum_replace(skb, sum_at, 0,
				    bpf_csum_diff((__be32 *)&p->dst, 16, (__be32 *)addr, 16, 0), 0);
		bpf_skb_store_bytes(skb, p->quote + SN_IP6_DEST, addr, 16, 0);
	} else {
		if (bpf_skb_load_bytes(skb, p->quote, &first, 1))
			return 0;
		ip = (first & 15) * 4;
		bpf_l3_csum_replace(skb, p->quote + SN_IP4_SUM, p->dst.word_be[3], addr->word_be[3],
				    4);
		bpf_skb_store_bytes(skb, p->quote + SN_IP4_DEST, &addr->word_be[3], 4, 0);
	}
	port_at = p->quote + ip + SN_TCP_DEST;
	if (port != p->dst_port_be)
		bpf_l4_csum_replace(skb, sum_at, p->dst_port_be, port, 2);
	bpf_skb_store_bytes(skb, port_at, &port, 2, 0);
	return 1;
}

/* Is the checksum at this offset still to be filled in by a device? The helper that corrects one
 * for a changed word knows, and leaves it alone then. */
SN_ONCE int sn_rewrite_is_partial(struct __sk_buff *skb, __u32 sum_at)
{
	__u16 before = 0, after = 0;

	if (bpf_skb_load_bytes(skb, sum_at, &before, 2) ||
	    bpf_l4_csum_replace(skb, sum_at, 0, 0x5a5a, 2) ||
	    bpf_skb_load_bytes(skb, sum_at, &after, 2))
		return 0;
	if (before == after)
		return 1;
	bpf_skb_store_bytes(skb, sum_at, &before, 2, 0);
	return 0;
}

/* Makes of a packet of the same family the SYN that was kept, as sn_reborn() aimed it. `pseudo`:
 * what it returned, if a device is to fill in TCP's sum; else < 0. */
SN_ONCE int sn_rewrite_syn(struct __sk_buff *skb, const struct sn_syn *syn, __u32 l3, int pseudo)
{
	__u16 sum = pseudo;
	__u64 length;
	__u32 ip;

	if (!syn)
		return 0;
	length = syn->length;
	ip = sn_reborn_is_v6(syn) ? SN_IP6_BYTES : SN_IP4_BYTES;
	if (length > SN_SYN_MAX)
		return 0;
	asm volatile("" : "+r"(length)); /* two tests, as in sn_keep_headers() */
	if (length < SN_IP4_BYTES + SN_TCP_BYTES)
		return 0;
	if (bpf_skb_change_tail(skb, l3 + length, 0))
		return 0;
	if (bpf_skb_store_bytes(skb, l3, syn->headers, length,
				BPF_F_RECOMPUTE_CSUM | BPF_F_INVALIDATE_HASH))
		return 0;
	if (pseudo >= 0)
		bpf_skb_store_bytes(skb, l3 + ip + SN_TCP_SUM, &sum, 2, 0);
	return 1;
}

/* Back where it came from. */
static __always_inline void sn_rewrite_turn(struct __sk_buff *skb, __u32 l3)
{
	__u8 macs[ETH_ALEN * 2] = {};

	if (l3 != ETH_HLEN || bpf_skb_load_bytes(skb, 0, macs, sizeof(macs)))
		return;
	bpf_skb_store_bytes(skb, 0, macs + ETH_ALEN, ETH_ALEN, 0);
	bpf_skb_store_bytes(skb, ETH_ALEN, macs, ETH_ALEN, 0);
}
