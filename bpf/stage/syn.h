/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * The table of connects that may go on to another backend, and of connections that did: finding an
 * entry, claiming it, letting it go. Before failover, which changes what an entry says.
 *
 * `cookie` says whose an entry is, and `state` who may change it: whoever makes it SN_SYN_BUSY. The
 * socket's end comes from anywhere at any time; it only writes SN_SYN_GONE over the cookie while an
 * entry is busy, and leaves the rest to who is changing it.
 */
#pragma once

#include "knobs.bpf.h"
#include "maps.bpf.h"
#include "stage/account.h"
#include "stage/flow.h"
#include "stage/pick.h"
#include "stage/resolve.h"

/* Twice the longest life of a segment (RFC 9293), as the kernel has it for TIME_WAIT. */
#define SN_SYN_LATE_NS 120000000000ULL

/* Port, state and side are one word, which comes in sight by one store. */
#define SN_SYN_STATE_SHIFT 16
#define SN_SYN_STATE_BITS (0xffu << SN_SYN_STATE_SHIFT)
#define SN_SYN_SIDE_SHIFT 24
_Static_assert(__builtin_offsetof(struct sn_syn, state) ==
		       __builtin_offsetof(struct sn_syn, now_port_be) + 2,
	       "state is the word's third byte");
_Static_assert(__builtin_offsetof(struct sn_syn, side) ==
		       __builtin_offsetof(struct sn_syn, now_port_be) + 3,
	       "side is the word's fourth byte");

static __always_inline __u32 *sn_syn_word(struct sn_syn *syn)
{
	return (__u32 *)&syn->now_port_be;
}

static __always_inline __u64 *sn_moved_count(void)
{
	__u32 zero = 0;

	return bpf_map_lookup_elem(&sn_moved, &zero);
}

static __always_inline void sn_moved_add(__u64 n)
{
	__u64 *moved = sn_moved_count();

	if (moved)
		__sync_fetch_and_add(moved, n);
}

/* The index of the client's first way in sn_syns. */
static __always_inline __u32 sn_syn_bucket(const struct sn_addr *client, __be16 port_be)
{
	__u64 upper = (__u64)client->word_be[0] << 32 | client->word_be[1];
	__u64 lower = (__u64)client->word_be[2] << 32 | client->word_be[3];

	return (sn_mix(upper * 31 + lower + port_be * 0x9e3779b97f4a7c15ULL) & sn_syn_mask) *
	       SN_SYN_WAYS;
}

/* From one state to the next; 0: it is in another one by now. */
static __always_inline int sn_syn_move(struct sn_syn *syn, __u8 from, __u8 to)
{
	__u32 old = *(volatile __u32 *)sn_syn_word(syn);

	if ((old & SN_SYN_STATE_BITS) != (__u32)from << SN_SYN_STATE_SHIFT)
		return 0;
	return __sync_val_compare_and_swap(sn_syn_word(syn), old,
					   (old & ~SN_SYN_STATE_BITS) |
						   (__u32)to << SN_SYN_STATE_SHIFT) == old;
}

/* Opens the entry to others; its cookie is SN_SYN_GONE, or of its finder's making. */
static __always_inline void sn_syn_open(struct sn_syn *syn)
{
	if (syn->moves)
		sn_moved_add(-1);
	syn->moves = 0;
	*(volatile __u64 *)&syn->cookie = 0;
}

/* An entry whose socket has gone: opened, or kept for late packets if it was answered where it
 * went. One that is busy is left to who is changing it. */
SN_ONCE int sn_syn_settle(struct sn_syn *syn, __u64 now)
{
	__u8 state;
	int keeps;

	if (!syn)
		return 0;
#pragma clang loop unroll(disable)
	for (int i = 0; i < 4; i++) {
		state = *(volatile __u8 *)&syn->state;
		if (state == SN_SYN_BUSY || state == SN_SYN_CLOSED || state == SN_SYN_FREE)
			return 0;
		keeps = syn->moves && state != SN_SYN_MOVED;
		if (keeps)
			syn->closed_ns = now;
		if (!sn_syn_move(syn, state, keeps ? SN_SYN_CLOSED : SN_SYN_FREE))
			continue;
		if (!keeps)
			sn_syn_open(syn);
		return 1;
	}
	return 0;
}

/* Ends a change: `word` of port, state and side comes in sight. */
static __always_inline void sn_syn_show(struct sn_syn *syn, __be16 port_be, __u8 state, __u64 now)
{
	__u32 word = port_be | (__u32)state << SN_SYN_STATE_SHIFT |
		     (__u32)syn->side << SN_SYN_SIDE_SHIFT;

	__sync_lock_test_and_set(sn_syn_word(syn), word); /* a barrier, too */
	if (*(volatile __u64 *)&syn->cookie == SN_SYN_GONE)
		sn_syn_settle(syn, now);
}

/* Nobody waits for a late packet of it any more. */
static __always_inline int sn_syn_is_past(const struct sn_syn *syn, __u64 now)
{
	return syn->state == SN_SYN_CLOSED && now >= syn->closed_ns + SN_SYN_LATE_NS;
}

/* Takes a closed entry away; 0: another one did. */
static __always_inline int sn_syn_drop(struct sn_syn *syn)
{
	if (!sn_syn_move(syn, SN_SYN_CLOSED, SN_SYN_FREE))
		return 0;
	sn_syn_open(syn);
	return 1;
}

/* Which of an entry's two peers a packet must be towards or from. */
#define SN_MATCH_FIRST 1
#define SN_MATCH_NOW 2

static __always_inline int sn_syn_matches(const struct sn_syn *syn, const struct sn_addr *peer,
					  __be16 port_be, __u32 match)
{
	if (match & SN_MATCH_NOW && syn->now_port_be == port_be && sn_addr_equal(&syn->now, peer))
		return 1;
	return match & SN_MATCH_FIRST && syn->first_port_be == port_be &&
	       sn_addr_equal(&syn->first, peer);
}

/* The entry of what goes on between a client and a peer, as its index + 1; 0: there is none.
 * `ports`: the client's, and the peer's << 16. */
SN_ONCE __u32 sn_syn_find(const struct sn_addr *client, const struct sn_addr *peer, __u32 ports,
			  __u32 match)
{
	__be16 client_port = ports, peer_port = ports >> 16;
	const struct sn_syn *syn;
	__u32 bucket;

	if (!client || !peer)
		return 0;
	bucket = sn_syn_bucket(client, client_port);
#pragma clang loop unroll(disable)
	for (int i = 0; i < SN_SYN_WAYS; i++) {
		syn = sn_syn_at(bucket + i);
		if (syn && syn->client_port_be == client_port && syn->cookie &&
		    syn->state != SN_SYN_FREE && sn_addr_equal(&syn->client, client) &&
		    sn_syn_matches(syn, peer, peer_port, match))
			return bucket + i + 1;
	}
	return 0;
}

/* A client begins anew between the same ends: what is left of the former connection goes. */
SN_ONCE int sn_syn_forget(const struct sn_addr *client, const struct sn_addr *peer, __u32 ports)
{
	__be16 client_port = ports, peer_port = ports >> 16;
	struct sn_syn *syn;
	__u32 bucket;
	int gone = 0;

	if (!client || !peer)
		return 0;
	bucket = sn_syn_bucket(client, client_port);
#pragma clang loop unroll(disable)
	for (int i = 0; i < SN_SYN_WAYS; i++) {
		syn = sn_syn_at(bucket + i);
		if (syn && syn->state == SN_SYN_CLOSED && syn->client_port_be == client_port &&
		    sn_addr_equal(&syn->client, client) &&
		    sn_syn_matches(syn, peer, peer_port, SN_MATCH_FIRST | SN_MATCH_NOW))
			gone += sn_syn_drop(syn);
	}
	return gone;
}
