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
#include "stage/translate.h"

static __always_inline int sn_backend_usable(__u32 index, __u16 incarnation)
{
	struct sn_backend *backend = sn_backend_at(index);

	return backend && backend->incarnation == incarnation &&
	       backend->state == SN_BACKEND_ACTIVE;
}

static __always_inline void sn_reverse_key_fill(struct sn_reverse_key *key, __u64 cookie,
						const struct sn_addr *addr, __be16 port_be)
{
	__builtin_memset(key, 0, sizeof(*key));
	key->cookie = cookie;
	key->addr = *addr;
	key->port_be = port_be;
}

static __always_inline void sn_reverse_put(struct sn_reverse_key *key, __u16 way,
					   const struct sn_reverse *value)
{
	key->way = way;
	if (bpf_map_update_elem(&sn_reverse, key, value, BPF_ANY))
		sn_count_node(SN_R_REVERSE_FULL);
}

static __always_inline int sn_is_flows_peer(const struct sn_flow *flow, const struct sn_addr *addr,
					    __be16 port_be)
{
	return flow->peer_port_be == port_be && sn_addr_equal(&flow->peer, addr);
}

/* Replies from `peer` are for `orig` from now on. Services of one socket may share a backend, or it
 * was sent to by its own address meanwhile, or the pair was crowded out: the last one asked wins.
 */
static __always_inline void sn_reverse_point(struct sn_flow *flow, __u64 cookie,
					     const struct sn_frontend *orig,
					     const struct sn_reverse *peer)
{
	struct sn_reverse back = {.addr = orig->addr, .port_be = orig->port_be};
	struct sn_reverse_key key;
	struct sn_reverse *known;

	if (flow->state == SN_FLOW_UDP_UNCONNECTED &&
	    sn_is_flows_peer(flow, &peer->addr, peer->port_be))
		flow->flags = (flow->flags & ~SN_FLOW_DIRECT) | SN_FLOW_LENT;
	sn_reverse_key_fill(&key, cookie, &peer->addr, peer->port_be);
	known = bpf_map_lookup_elem(&sn_reverse, &key);
	if (known && !known->incarnation && known->port_be == orig->port_be &&
	    sn_addr_equal(&known->addr, &orig->addr))
		return;
	sn_reverse_put(&key, SN_WAY_BACK, &back);
}

/* Remembers orig <-> peer for a socket whose flow is about something else. */
static __always_inline void sn_reverse_remember(struct sn_flow *flow, __u64 cookie,
						const struct sn_frontend *orig,
						const struct sn_reverse *peer)
{
	struct sn_reverse_key key;

	flow->flags |= SN_FLOW_MANY;
	sn_reverse_key_fill(&key, cookie, &orig->addr, orig->port_be);
	sn_reverse_put(&key, SN_WAY_FORTH, peer);
	sn_reverse_point(flow, cookie, orig, peer);
}

/* The backend that this socket's datagrams to `dest` go to already; 0: none, or no longer usable.
 */
static __always_inline int sn_datagram_sticky(struct sn_flow *flow, __u64 cookie,
					      const struct sn_frontend *dest,
					      struct sn_reverse *ret)
{
	struct sn_reverse_key key;
	struct sn_reverse *known;

	if (flow->orig_port_be == dest->port_be && sn_addr_equal(&flow->orig, &dest->addr)) {
		flow->flags &= ~(SN_FLOW_DIRECT | SN_FLOW_LENT);
		ret->addr = flow->peer;
		ret->port_be = flow->peer_port_be;
		return sn_backend_usable(flow->backend, flow->incarnation);
	}
	if (!(flow->flags & SN_FLOW_MANY))
		return 0;
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

/* The flow's backend is gone: late replies from it still translate back. */
static __always_inline void sn_datagram_leave(struct sn_flow *flow, __u64 cookie)
{
	struct sn_reverse back = {.addr = flow->orig, .port_be = flow->orig_port_be};
	struct sn_reverse_key key;

	sn_reverse_key_fill(&key, cookie, &flow->peer, flow->peer_port_be);
	sn_reverse_put(&key, SN_WAY_BACK, &back);
	sn_flow_book_end(flow, 0, 0);
}

/* Remembers a new pair, in the flow when it is free or about the same address. The flow of a socket
 * that is still connected is about its connection: it has to end that one when its backend goes. */
static __always_inline void sn_datagram_promise(struct sn_flow *flow, __u64 cookie,
						const struct sn_frontend *dest,
						const struct sn_pick *pick)
{
	__be16 port_be = sn_pick_port(pick, dest);
	struct sn_reverse peer = {.addr = pick->backend->addr,
				  .port_be = port_be,
				  .incarnation = pick->backend->incarnation,
				  .backend = pick->index};
	__u8 flags = 0;

	if (flow->state == SN_FLOW_UDP_CONNECTED ||
	    (flow->state &&
	     (flow->orig_port_be != dest->port_be || !sn_addr_equal(&flow->orig, &dest->addr)))) {
		sn_reverse_remember(flow, cookie, dest, &peer);
		sn_book_pick(pick, SN_PROTO_UDP, 0);
		return;
	}
	if (flow->state) {
		sn_datagram_leave(flow, cookie);
		flags = SN_FLOW_MANY;
	}
	sn_flow_fill(flow, dest, pick, port_be);
	flow->flags = flags;
	flow->state = SN_FLOW_UDP_UNCONNECTED;
	sn_book_pick(pick, SN_PROTO_UDP, 1);
}

/* A datagram straight to a backend: its replies keep the backend's own address, until the service
 * is asked again. (Both at once cannot be told apart; see the man page.) */
static __always_inline void sn_datagram_direct(struct sn_flow *flow, __u64 cookie,
					       const struct sn_frontend *dest)
{
	struct sn_reverse_key key;
	struct sn_reverse *known = NULL;

	if (flow->state != SN_FLOW_UDP_UNCONNECTED)
		return; /* it only hears whom it is connected to */
	if (sn_is_flows_peer(flow, &dest->addr, dest->port_be)) {
		flow->flags |= SN_FLOW_DIRECT;
		return;
	}
	if (flow->flags & SN_FLOW_MANY) {
		sn_reverse_key_fill(&key, cookie, &dest->addr, dest->port_be);
		known = bpf_map_lookup_elem(&sn_reverse, &key);
	}
	if (known)
		known->incarnation = SN_REVERSE_DIRECT;
	else
		flow->flags |= SN_FLOW_ELSEWHERE;
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
