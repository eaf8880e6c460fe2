/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Unconnected datagram sockets: the same socket asking for the same address keeps its backend for
 * as long as that is usable (QUIC and DNS over one socket rely on it), and replies carry the
 * address that was asked for. The first service of a socket lives in its flow; further ones in
 * sn_reverse, both ways.
 */
#pragma once

#include "stage/promise.h"
#include "stage/resolve.h"
#include "stage/reverse.h"
#include "stage/stale.h"
#include "stage/translate.h"

static __always_inline int sn_backend_usable(__u32 index, __u16 incarnation)
{
	struct sn_backend *backend = sn_backend_at(index);

	return backend && backend->incarnation == incarnation &&
	       backend->state == SN_BACKEND_ACTIVE && !sn_is_drained(index);
}

static __always_inline int sn_datagram_is_first(const struct sn_flow *flow,
						const struct sn_frontend *dest)
{
	return flow->orig_port_be == dest->port_be && sn_addr_equal(&flow->orig, &dest->addr);
}

/* The pair that is remembered beside the flow; 0: none that is usable. Out of line, for the stack.
 */
static __noinline int sn_datagram_further(struct sn_flow *flow, __u64 cookie,
					  const struct sn_frontend *dest, struct sn_reverse *ret)
{
	struct sn_reverse_key key;
	struct sn_reverse *known;

	sn_reverse_key_fill(&key, cookie, &dest->addr, dest->port_be);
	key.way = SN_WAY_FORTH;
	known = bpf_map_lookup_elem(&sn_reverse, &key);
	if (!known)
		return 0;
	*ret = *known;
	if (!sn_backend_usable(ret->backend, ret->incarnation))
		return 0;
	sn_reverse_point(flow, cookie, dest, ret);
	return 1;
}

/* The backend that this socket's datagrams to `dest` go to already; 0: none, or no longer usable.
 * The flow is in sight. */
static __always_inline int sn_datagram_sticky(struct sn_flow *flow, __u64 cookie,
					      const struct sn_frontend *dest,
					      struct sn_reverse *ret)
{
	if (sn_datagram_is_first(flow, dest)) {
		sn_flow_flag_clear(flow, SN_FLOW_DIRECT | SN_FLOW_LENT);
		ret->addr = flow->peer;
		ret->port_be = flow->peer_port_be;
		return sn_backend_usable(flow->backend, flow->incarnation);
	}
	return flow->flags & SN_FLOW_MANY && sn_datagram_further(flow, cookie, dest, ret);
}

/* The flow's backend is gone: late replies from it still translate back. Out of line, for the
 * stack. */
static __noinline void sn_datagram_leave(const struct sn_flow *flow, __u64 cookie)
{
	struct sn_reverse back = {.addr = flow->orig, .port_be = flow->orig_port_be};
	struct sn_reverse_key key;

	sn_reverse_key_fill(&key, cookie, &flow->peer, flow->peer_port_be);
	sn_reverse_put(&key, SN_WAY_BACK, &back);
}

/* Ends what the flow was, and keeps it for the same socket; a datagram socket's end tells nothing
 * of its backend. 0: another thread is at it. */
static __always_inline int sn_datagram_empty(struct sn_flow *flow)
{
	struct sn_health *health;

	if (SN_FLOW_STATE_OF(sn_flow_take(flow)) == SN_FLOW_FREE)
		return 0;
	health = sn_flow_health(flow);
	if (health)
		__sync_fetch_and_add(&health->active, -1);
	return 1;
}

/* Remembers a new pair, in the flow when it is about the same address. The flow of a socket that is
 * still connected is about its connection: it has to end that one when its backend goes. 0: another
 * thread of this socket is changing the flow. */
static __always_inline int sn_datagram_promise(struct sn_flow *flow, __u64 cookie,
					       const struct sn_frontend *dest,
					       const struct sn_choice *choice)
{
	struct sn_reverse peer = {.addr = choice->backend->addr,
				  .port_be = sn_choice_port(choice, dest),
				  .incarnation = choice->backend->incarnation,
				  .backend = choice->pick.index};

	if (flow->state == SN_FLOW_UDP_CONNECTED || !sn_datagram_is_first(flow, dest)) {
		sn_reverse_remember(flow, cookie, dest, &peer);
		sn_book_pick(choice, 0);
		return 1;
	}
	sn_datagram_leave(flow, cookie);
	if (!sn_datagram_empty(flow))
		return 0;
	sn_book_pick(choice, 1);
	sn_flow_fill(flow, dest, choice, SN_FLOW_UDP_UNCONNECTED, bpf_ktime_get_ns());
	sn_flow_flag_set(flow, SN_FLOW_MANY);
	return 1;
}

/* Several threads may send over one socket: one fills its flow, which takes some 100 ns, and the
 * others wait a little rather than send the same question to another backend. 0: in vain. */
static __always_inline int sn_datagram_wait(const struct sn_flow *flow)
{
#pragma clang loop unroll(disable)
	for (int i = 0; i < 256; i++)
		if (*(const volatile __u8 *)&flow->state)
			return 1;
	return 0;
}

/* A socket that has a flow already sends to what it got, or to what was picked now, which is
 * remembered. 0: the flow could not be had. */
static __always_inline int sn_datagram_settle(struct sn_flow *flow, __u64 cookie,
					      const struct sn_frontend *dest,
					      const struct sn_choice *choice,
					      struct sn_reverse *ret)
{
	struct sn_reverse other =
		{}; /* copied whole: Linux 6.1 refuses to read what was not written */

#pragma clang loop unroll(disable)
	for (int i = 0; i < 2 && sn_datagram_wait(flow); i++) {
		if (sn_datagram_sticky(flow, cookie, dest, &other)) {
			*ret = other;
			return 1;
		}
		if (sn_datagram_promise(flow, cookie, dest, choice))
			return 1;
	}
	return 0;
}

/* Remembers the pick; `ret` holds what was picked, and then where the datagram goes. */
static __noinline void sn_datagram_remember(__u64 cookie, void *sk, const struct sn_frontend *dest,
					    const struct sn_choice *choice, struct sn_reverse *ret)
{
	struct sn_flow *flow = sn_flow_find(cookie, sk);

	if (!flow) {
		flow = sn_flow_claim_free(cookie, sk);
		if (flow) {
			sn_book_pick(choice, 1);
			sn_flow_fill(flow, dest, choice, SN_FLOW_UDP_UNCONNECTED,
				     bpf_ktime_get_ns());
			return;
		}
		flow = sn_flow_find(cookie, sk);
	}
	if (flow && sn_datagram_settle(flow, cookie, dest, choice, ret))
		return;
	sn_count_service(choice->ask.service, SN_R_UNTRACKED);
	sn_book_pick(choice, 0);
}

/* A datagram straight to a backend: its replies keep the backend's own address, until the service
 * is asked again. (Both at once cannot be told apart; see the man page.) */
static __noinline void sn_datagram_direct(struct sn_flow *flow, __u64 cookie,
					  const struct sn_frontend *dest)
{
	struct sn_reverse_key key;
	struct sn_reverse *known = NULL;

	if (flow->state != SN_FLOW_UDP_UNCONNECTED)
		return; /* it only hears whom it is connected to */
	if (sn_is_flows_peer(flow, &dest->addr, dest->port_be)) {
		sn_flow_flag_set(flow, SN_FLOW_DIRECT);
		return;
	}
	if (flow->flags & SN_FLOW_MANY) {
		sn_reverse_key_fill(&key, cookie, &dest->addr, dest->port_be);
		known = bpf_map_lookup_elem(&sn_reverse, &key);
	}
	if (known)
		known->incarnation = SN_REVERSE_DIRECT;
	else
		sn_flow_flag_set(flow, SN_FLOW_ELSEWHERE);
}

/* Who a datagram from `source` is from, as the application asked for it. 0: as it stands. */
static __always_inline int sn_datagram_origin(const struct sn_flow *flow, __u64 cookie,
					      const struct sn_frontend *source,
					      struct sn_reverse *ret)
{
	struct sn_reverse_key key;
	struct sn_reverse *known;
	int is_flows = sn_is_flows_peer(flow, &source->addr, source->port_be);

	ret->addr = flow->orig;
	ret->port_be = flow->orig_port_be;
	if (is_flows && !(flow->flags & SN_FLOW_LENT))
		return !(flow->flags & SN_FLOW_DIRECT);
	if (!(flow->flags & SN_FLOW_MANY))
		return 0;
	sn_reverse_key_fill(&key, cookie, &source->addr, source->port_be);
	known = bpf_map_lookup_elem(&sn_reverse, &key);
	if (!known) {
		if (!(flow->flags & SN_FLOW_ELSEWHERE))
			sn_count_node(SN_R_REVERSE_MISS);
		return is_flows;
	}
	*ret = *known;
	return known->incarnation != SN_REVERSE_DIRECT;
}
