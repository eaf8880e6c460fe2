/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * The SYN that was kept, aimed at another backend: addresses, and both checksums from the first
 * byte on, because what was kept may have been without (a device was to fill it in). Pure; the
 * entry is its changer's.
 */
#pragma once

#include <bpf/bpf_endian.h>

#include "knobs.bpf.h"
#include "maps.bpf.h"

#define SN_IP4_BYTES 20
#define SN_IP6_BYTES 40
#define SN_TCP_BYTES 20 /* without options */
#define SN_IP4_SUM 10   /* offsets of fields */
#define SN_IP4_DEST 16
#define SN_IP4_SOURCE 12
#define SN_IP6_DEST 24
#define SN_IP6_SOURCE 8
#define SN_TCP_DEST 2
#define SN_TCP_SEQ 4
#define SN_TCP_OFFSET 12
#define SN_TCP_SUM 16

/* Sum of the kept bytes [from, to), both even, in 16-bit words. Arithmetic instead of tests: the
 * verifier would read what follows once for each outcome of each of them. */
SN_ONCE __u32 sn_reborn_sum(const struct sn_syn *syn, __u32 from, __u32 to)
{
	__u32 inside, sum = 0;

	if (!syn)
		return 0;
#pragma clang loop unroll(disable)
	for (__u32 at = 0; at < SN_SYN_MAX; at += 2) {
		inside = (from - at - 1) & (at - to); /* its sign: both differences are below 0 */
		sum += *(const __u16 *)&syn->headers[at] & (__u32)((__s32)inside >> 31);
	}
	return sum;
}

static __always_inline __u16 sn_fold(__u32 sum)
{
	sum = (sum & 0xffff) + (sum >> 16);
	sum = (sum & 0xffff) + (sum >> 16);
	return sum;
}

/* Of the addresses, the protocol and TCP's length; not complemented, as a device wants it. */
static __always_inline __u16 sn_reborn_pseudo(const struct sn_syn *syn, int is_v6)
{
	__u32 ip = is_v6 ? SN_IP6_BYTES : SN_IP4_BYTES;
	__u32 from = is_v6 ? SN_IP6_SOURCE : SN_IP4_SOURCE;

	return sn_fold(sn_reborn_sum(syn, from, ip) + bpf_htons(SN_PROTO_TCP) +
		       bpf_htons(syn->length - ip));
}

static __always_inline int sn_reborn_is_v6(const struct sn_syn *syn)
{
	return syn->headers[0] >> 4 == 6;
}

/* Aims what was kept at `now`:`port_be`. Returns the pseudo header's sum. */
SN_ONCE __u32 sn_reborn(struct sn_syn *syn, __u32 port_be)
{
	__u32 pseudo;

	if (!syn)
		return 0;
	if (sn_reborn_is_v6(syn)) {
		__builtin_memcpy(&syn->headers[SN_IP6_DEST], &syn->now, 16);
		*(__be16 *)&syn->headers[SN_IP6_BYTES + SN_TCP_DEST] = port_be;
		*(__u16 *)&syn->headers[SN_IP6_BYTES + SN_TCP_SUM] = 0;
		pseudo = sn_reborn_pseudo(syn, 1);
		*(__u16 *)&syn->headers[SN_IP6_BYTES + SN_TCP_SUM] =
			~sn_fold(pseudo + sn_reborn_sum(syn, SN_IP6_BYTES, syn->length));
		return pseudo;
	}
	*(__be32 *)&syn->headers[SN_IP4_DEST] = syn->now.word_be[3];
	*(__be16 *)&syn->headers[SN_IP4_BYTES + SN_TCP_DEST] = port_be;
	*(__u16 *)&syn->headers[SN_IP4_SUM] = 0;
	*(__u16 *)&syn->headers[SN_IP4_SUM] = ~sn_fold(sn_reborn_sum(syn, 0, SN_IP4_BYTES));
	*(__u16 *)&syn->headers[SN_IP4_BYTES + SN_TCP_SUM] = 0;
	pseudo = sn_reborn_pseudo(syn, 0);
	*(__u16 *)&syn->headers[SN_IP4_BYTES + SN_TCP_SUM] =
		~sn_fold(pseudo + sn_reborn_sum(syn, SN_IP4_BYTES, syn->length));
	return pseudo;
}
