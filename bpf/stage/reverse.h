/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * sn_reverse: the pairs of a datagram socket that its flow has no room for, both ways. Below
 * datagram, which says what becomes one; must book no backend.
 */
#pragma once

#include "stage/account.h"
#include "stage/flow.h"
#include "stage/resolve.h"

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
	    sn_is_flows_peer(flow, &peer->addr, peer->port_be)) {
		sn_flow_flag_clear(flow, SN_FLOW_DIRECT);
		sn_flow_flag_set(flow, SN_FLOW_LENT);
	}
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

	sn_flow_flag_set(flow, SN_FLOW_MANY);
	sn_reverse_key_fill(&key, cookie, &orig->addr, orig->port_be);
	sn_reverse_put(&key, SN_WAY_FORTH, peer);
	sn_reverse_point(flow, cookie, orig, peer);
}
