/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Where a socket's flow is, and how it changes while others look at it. Below promise, which says
 * when flows begin and end; must book nothing.
 */
#pragma once

#include "knobs.bpf.h"
#include "maps.bpf.h"

/* No socket's cookie: its flow is being ended. */
#define SN_FLOW_ENDING (~0ULL)

static __always_inline __u64 *sn_spilled_count(void)
{
	__u32 zero = 0;

	return bpf_map_lookup_elem(&sn_spilled, &zero);
}

static __always_inline struct sn_flow *sn_flow_slot(__u64 cookie)
{
	return sn_flow_at((__u32)cookie & sn_flow_mask);
}

/* Incarnation, state and flags are one word: a flow becomes visible, and is taken out of sight, by
 * one store. Datagram sockets come here from several threads at once, without the socket's lock. */
#define SN_FLOW_STATE_BITS (0xffu << 16)
#define SN_FLOW_FLAGS_SHIFT 24
_Static_assert(__builtin_offsetof(struct sn_flow, state) ==
		       __builtin_offsetof(struct sn_flow, incarnation) + 2,
	       "state is the word's third byte");
_Static_assert(__builtin_offsetof(struct sn_flow, flags) ==
		       __builtin_offsetof(struct sn_flow, incarnation) + 3,
	       "flags are the word's fourth byte");
_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "the word's bytes");

static __always_inline __u32 *sn_flow_word(struct sn_flow *flow)
{
	return (__u32 *)&flow->incarnation;
}

static __always_inline void sn_flow_show(struct sn_flow *flow, __u16 incarnation, __u8 state,
					 __u8 flags)
{
	*(volatile __u32 *)sn_flow_word(flow) =
		incarnation | (__u32)state << 16 | (__u32)flags << SN_FLOW_FLAGS_SHIFT;
}

/* Of a flow that has ended and whose slot nobody has taken since: sn_syns may have its entry. */
#define SN_FLOW_LISTED SN_FLOW_MOVED

#define SN_FLOW_STATE_OF(word) ((__u8)((word) >> 16))
#define SN_FLOW_FLAGS_OF(word) ((__u8)((word) >> SN_FLOW_FLAGS_SHIFT))

/* Takes the flow out of sight, to change it. Returns the word that it had; state SN_FLOW_FREE:
 * another one is changing it. SN_FLOW_PENDING goes along: of an end and an answer at the same
 * moment, the one that has it gives it back. */
static __always_inline __u32 sn_flow_take(struct sn_flow *flow)
{
	return __sync_fetch_and_and(
		sn_flow_word(flow),
		~(SN_FLOW_STATE_BITS | (__u32)SN_FLOW_PENDING << SN_FLOW_FLAGS_SHIFT));
}

/* Takes it for good. Of one that is just being moved the mark goes, by which who moves it sees that
 * its end has come, and finishes that: see sn_flow_return(). */
static __always_inline __u32 sn_flow_take_end(struct sn_flow *flow)
{
	return __sync_fetch_and_and(sn_flow_word(flow),
				    ~(SN_FLOW_STATE_BITS | (__u32)(SN_FLOW_PENDING | SN_FLOW_HELD)
								   << SN_FLOW_FLAGS_SHIFT));
}

#define SN_FLOW_IS_HELD(word)                                                                      \
	(!SN_FLOW_STATE_OF(word) && (SN_FLOW_FLAGS_OF(word) & (SN_FLOW_CLAIMED | SN_FLOW_HELD)) == \
					    (SN_FLOW_CLAIMED | SN_FLOW_HELD))

/* Takes a connect in its SYN phase out of sight, to move it; only those with an entry of sn_syns.
 * Returns the word that it had; 0: it is in another state by now. */
static __always_inline __u32 sn_flow_hold(struct sn_flow *flow)
{
	__u32 gone = SN_FLOW_STATE_BITS | (__u32)SN_FLOW_PENDING << SN_FLOW_FLAGS_SHIFT;
	__u32 old = *(volatile __u32 *)sn_flow_word(flow);

	if (SN_FLOW_STATE_OF(old) != SN_FLOW_CONNECTING ||
	    !(SN_FLOW_FLAGS_OF(old) & SN_FLOW_CLAIMED))
		return 0;
	if (__sync_val_compare_and_swap(sn_flow_word(flow), old,
					(old & ~gone) | (__u32)SN_FLOW_HELD
								<< SN_FLOW_FLAGS_SHIFT) != old)
		return 0;
	return old;
}

/* From one state to the next; 0: it is in another one by now. An application may close a socket on
 * one CPU while the answer to its SYN comes in on another: who changes the word has the say. */
static __always_inline int sn_flow_move(struct sn_flow *flow, __u8 from, __u8 to)
{
	__u32 old = *(volatile __u32 *)sn_flow_word(flow);

	if ((old & SN_FLOW_STATE_BITS) != (__u32)from << 16)
		return 0;
	return __sync_val_compare_and_swap(sn_flow_word(flow), old,
					   (old & ~SN_FLOW_STATE_BITS) | (__u32)to << 16) == old;
}

static __always_inline void sn_flow_flag_set(struct sn_flow *flow, __u8 flag)
{
	if (!(flow->flags & flag))
		__sync_fetch_and_or(sn_flow_word(flow), (__u32)flag << SN_FLOW_FLAGS_SHIFT);
}

static __always_inline void sn_flow_flag_clear(struct sn_flow *flow, __u8 flag)
{
	if (flow->flags & flag)
		__sync_fetch_and_and(sn_flow_word(flow), ~((__u32)flag << SN_FLOW_FLAGS_SHIFT));
}

/* Out of line: sockets in storage are rare, and the doors' usual way stays short. */
static __noinline struct sn_flow *sn_flow_find_spilled(__u64 cookie, void *sk)
{
	struct sn_flow *flow = bpf_sk_storage_get(&sn_flow_spill, sk, 0, 0);

	return flow && flow->cookie == cookie ? flow : NULL;
}

/* The socket's flow or NULL. `sk`: the context's socket, or NULL to look at the table only. */
static __always_inline struct sn_flow *sn_flow_find(__u64 cookie, void *sk)
{
	struct sn_flow *flow = sn_flow_slot(cookie);
	__u64 *spilled;

	if (flow && flow->cookie == cookie)
		return flow;
	spilled = sn_spilled_count();
	if (!spilled || !*spilled || !sk)
		return NULL;
	return sn_flow_find_spilled(cookie, sk);
}

/* What is left in the slot of a socket whose flow has ended: may sn_syns have an entry of it? */
static __always_inline int sn_flow_was_listed(__u64 cookie)
{
	const struct sn_flow *flow = sn_flow_slot(cookie);

	return !flow || *(volatile const __u64 *)&flow->cookie || flow->start_ns != cookie ||
	       flow->flags & SN_FLOW_LISTED;
}
