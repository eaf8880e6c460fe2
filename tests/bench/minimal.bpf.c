/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The smallest balancers that one could write, to compare with: what does anything cost that does
 * more? Before it: minimal.c fills the maps and attaches one of the programs. After it: bpf_stats
 * and load.c. It must never be made slow: no test that the verifier does not ask for, no counter.
 */
#include <linux/bpf.h>

#include <bpf/bpf_helpers.h>

#include "minimal.h"

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 16384);
	__type(key, struct minimal_key);
	__type(value, struct minimal_service);
} services SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 65536);
	__type(key, __u32);
	__type(value, struct minimal_backend);
} backends SEC(".maps");

/* Room for as many sockets as sn_flows has. */
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 131072);
	__type(key, struct minimal_reverse_key);
	__type(value, struct minimal_key);
} reverse SEC(".maps");

/* One hash lookup, a draw, one array lookup. */
static __always_inline struct minimal_backend *pick(const struct minimal_key *key)
{
	struct minimal_service *service = bpf_map_lookup_elem(&services, key);
	__u32 index;

	if (!service)
		return NULL;
	index = service->first + (__u32)(((__u64)bpf_get_prandom_u32() * service->count) >> 32);
	return bpf_map_lookup_elem(&backends, &index);
}

static __always_inline struct minimal_key asked_for(struct bpf_sock_addr *ctx)
{
	struct minimal_key key = {
		.addr_be = ctx->user_ip4,
		.port_be = (__u16)ctx->user_port,
		.protocol = (__u8)ctx->protocol,
	};

	return key;
}

SEC("cgroup/connect4")
int balance(struct bpf_sock_addr *ctx)
{
	struct minimal_key key = asked_for(ctx);
	struct minimal_backend *backend = pick(&key);

	if (!backend)
		return 1;
	ctx->user_ip4 = backend->addr_be;
	ctx->user_port = backend->port_be;
	return 1;
}

SEC("cgroup/connect4")
int balance_lru(struct bpf_sock_addr *ctx)
{
	struct minimal_key key = asked_for(ctx);
	struct minimal_backend *backend = pick(&key);
	struct minimal_reverse_key back = {};

	if (!backend)
		return 1;
	back.cookie = bpf_get_socket_cookie(ctx);
	back.addr_be = backend->addr_be;
	back.port_be = backend->port_be;
	bpf_map_update_elem(&reverse, &back, &key, BPF_ANY);
	ctx->user_ip4 = backend->addr_be;
	ctx->user_port = backend->port_be;
	return 1;
}

SEC("cgroup/connect4")
int empty(struct bpf_sock_addr *ctx)
{
	return 1;
}

SEC("sockops")
int empty_ops(struct bpf_sock_ops *ctx)
{
	return 1;
}

char _license[] SEC("license") = "GPL";
