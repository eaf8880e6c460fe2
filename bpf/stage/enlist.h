/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * A socket's side of sn_syns: an entry claimed before its SYN leaves, and given up when the connect
 * is over. After promise, whose flow the entry is about; the packets' side is failover.
 */
#pragma once

#include "stage/syn.h"

/* The socket ended and did not find its entry, or never told: its flow is not there. */
static __always_inline void sn_syn_release_lost(struct sn_syn *syn, __u64 now)
{
	__u64 cookie = *(volatile __u64 *)&syn->cookie;
	struct sn_flow *flow = sn_flow_slot(cookie);

	if (!cookie || cookie == SN_SYN_GONE || (flow && flow->cookie == cookie))
		return;
	if (__sync_val_compare_and_swap(&syn->cookie, cookie, SN_SYN_GONE) == cookie)
		sn_syn_settle(syn, now);
}

/* A way of the bucket that nobody needs, claimed; NULL: all are in use. */
static __always_inline struct sn_syn *sn_syn_claim_way(__u32 bucket, __u64 cookie)
{
	struct sn_syn *syn;

#pragma clang loop unroll(disable)
	for (int i = 0; i < SN_SYN_WAYS; i++) {
		syn = sn_syn_at(bucket + i);
		if (syn && !syn->cookie && !__sync_val_compare_and_swap(&syn->cookie, 0, cookie))
			return syn;
	}
	return NULL;
}

static __always_inline void sn_syn_sweep(__u32 bucket, __u64 now)
{
	struct sn_syn *syn;

#pragma clang loop unroll(disable)
	for (int i = 0; i < SN_SYN_WAYS; i++) {
		syn = sn_syn_at(bucket + i);
		if (!syn)
			continue;
		sn_syn_release_lost(syn, now);
		if (sn_syn_is_past(syn, now))
			sn_syn_drop(syn);
	}
}

/* An entry for the flow, whose SYN is about to leave from `client`. 0: there is no room. */
SN_ONCE int sn_syn_claim(const struct sn_flow *flow, __u32 service, const struct sn_addr *client,
			 __u32 port_be, __u64 now)
{
	struct sn_syn *syn;
	__u32 bucket;

	if (!flow || !client)
		return 0;
	bucket = sn_syn_bucket(client, port_be);
	syn = sn_syn_claim_way(bucket, flow->cookie);
	if (!syn) {
		sn_syn_sweep(bucket, now);
		syn = sn_syn_claim_way(bucket, flow->cookie);
	}
	if (!syn) {
		sn_count_node(SN_R_SYN_FULL);
		return 0;
	}
	syn->client = *client;
	syn->client_port_be = port_be;
	syn->first = flow->peer;
	syn->first_port_be = flow->peer_port_be;
	syn->now = flow->peer;
	syn->service = service;
	syn->workload = flow->workload;
	syn->tried[0] = flow->backend;
	syn->tried[1] = syn->tried[2] = syn->tried[3] = SN_NONE;
	syn->n_tried = 1;
	syn->moves = 0;
	syn->length = 0;
	syn->side = SN_SIDE_LOCAL;
	sn_syn_show(syn, flow->peer_port_be, SN_SYN_CLAIMED, now);
	return 1;
}

/* The socket needs its entry no longer; one that translates is kept for late packets. */
SN_ONCE int sn_syn_end(const struct sn_addr *client, __u32 port_be, __u64 cookie, __u64 now)
{
	struct sn_syn *syn;
	__u32 bucket;

	if (!client)
		return 0;
	bucket = sn_syn_bucket(client, port_be);
#pragma clang loop unroll(disable)
	for (int i = 0; i < SN_SYN_WAYS; i++) {
		syn = sn_syn_at(bucket + i);
		if (!syn || syn->cookie != cookie)
			continue;
		if (__sync_val_compare_and_swap(&syn->cookie, cookie, SN_SYN_GONE) == cookie)
			return sn_syn_settle(syn, now);
	}
	return 0;
}
