/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Every map, once: who writes it, who reads it, what bounds it, what happens when it is full.
 *
 * Maps are __weak so that each hook file may include this one and the linker keeps a single copy.
 * max_entries are the defaults; the daemon sets them from its settings before loading. Accessors
 * hide the lookup; each returns NULL only for an index out of range.
 */
#pragma once

#include <linux/bpf.h>

#include <bpf/bpf_helpers.h>
#include <sinew/event.h>
#include <sinew/flow.h>
#include <sinew/health.h>
#include <sinew/listener.h>
#include <sinew/meta.h>
#include <sinew/policy.h>
#include <sinew/service.h>
#include <sinew/syn.h>

#define SN_MAP(name, map_type, key_type, value_type, entries, flags)                               \
	struct {                                                                                   \
		__uint(type, map_type);                                                            \
		__uint(max_entries, entries);                                                      \
		__uint(map_flags, flags);                                                          \
		__type(key, key_type);                                                             \
		__type(value, value_type);                                                         \
	} name SEC(".maps") __weak

#define SN_ARRAY(name, value_type, entries)                                                        \
	SN_MAP(name, BPF_MAP_TYPE_ARRAY, __u32, value_type, entries, BPF_F_MMAPABLE)

/* Written by user space. Full: the service that does not fit is refused by the daemon. */
SN_MAP(sn_frontends, BPF_MAP_TYPE_HASH, struct sn_frontend, __u32, 32768, BPF_F_NO_PREALLOC);
SN_ARRAY(sn_services, struct sn_service, 16384);
SN_ARRAY(sn_slots, struct sn_slot, 262144);
SN_ARRAY(sn_backends, struct sn_backend, 65536);
SN_ARRAY(sn_policies, struct sn_policy, 1024);
SN_MAP(sn_workloads, BPF_MAP_TYPE_HASH, __u64, struct sn_workload, 4096, BPF_F_NO_PREALLOC);
SN_ARRAY(sn_meta, struct sn_meta, 1);

/* Written by the programs. Indexed like sn_backends and sn_services, so they cannot fill up. */
SN_ARRAY(sn_health, struct sn_health, 65536);
SN_ARRAY(sn_latency, struct sn_latency, 65536);
SN_ARRAY(sn_svc_stats, struct sn_svc_stats, 16384);
SN_ARRAY(sn_svc_state, struct sn_svc_state, 16384);
SN_MAP(sn_windows, BPF_MAP_TYPE_ARRAY, __u32, struct sn_window, 65536, 0);

/* Written when a connect fails, and by affinity. Full: the least recently used entry goes, and with
 * it one caller's budget or preference; breakers are never in an LRU. */
SN_MAP(sn_memory, BPF_MAP_TYPE_LRU_HASH, struct sn_memory_key, struct sn_memory, 16384, 0);
SN_MAP(sn_affinity, BPF_MAP_TYPE_LRU_HASH, struct sn_affinity_key, struct sn_affinity, 16384, 0);

/* See struct sn_syn. A bucket that is full: that connect cannot fail over, SN_R_SYN_FULL. */
SN_MAP(sn_syns, BPF_MAP_TYPE_ARRAY, __u32, struct sn_syn, 16384, 0);
/* Entries of sn_syns that translate; 0 lets packets pass unread. One element. */
SN_MAP(sn_moved, BPF_MAP_TYPE_ARRAY, __u32, __u64, 1, 0);

/* Direct-mapped, a power of two. A slot that another live socket holds: socket storage. */
SN_MAP(sn_flows, BPF_MAP_TYPE_ARRAY, __u32, struct sn_flow, 131072, 0);

struct {
	__uint(type, BPF_MAP_TYPE_SK_STORAGE);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, int);
	__type(value, struct sn_flow);
} sn_flow_spill SEC(".maps") __weak;

/* Live flows in socket storage; 0 lets readers skip looking there. One element. */
SN_MAP(sn_spilled, BPF_MAP_TYPE_ARRAY, __u32, __u64, 1, 0);

/* Evicts the least recently used pair when full: SN_R_REVERSE_MISS tells. */
SN_MAP(sn_reverse, BPF_MAP_TYPE_LRU_HASH, struct sn_reverse_key, struct sn_reverse, 65536, 0);

/* By cookie; see stage/listen.h. User space only takes out what the programs did not see end. Full:
 * the socket listens as ever, and is not known; SN_R_LISTENER_FULL. */
SN_MAP(sn_listeners, BPF_MAP_TYPE_HASH, __u64, struct sn_listener, 16384, BPF_F_NO_PREALLOC);

/* SN_NODE_REASONS, index reason - SN_R_SERVICE_MAX. */
SN_MAP(sn_counters, BPF_MAP_TYPE_PERCPU_ARRAY, __u32, __u64, SN_R_NODE_COUNT, 0);

/* A pointer written here reads back as a plain number; see sn_ctx_number. Not pinned state. */
SN_MAP(sn_scratch, BPF_MAP_TYPE_PERCPU_ARRAY, __u32, __u64, 1, 0);

/* What a program at an interface knows of the packet that it has: too much for a stack from which a
 * pick is made. Packets pass one after the other on a CPU, each to its end. Not pinned state. */
struct sn_room {
	__u64 word[16];
};
SN_MAP(sn_rooms, BPF_MAP_TYPE_PERCPU_ARRAY, __u32, struct sn_room, 1, 0);

/* Full: the record is dropped and SN_R_EVENT_LOST counts it. */
struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 256 * 1024);
} sn_events SEC(".maps") __weak;

#define SN_ACCESSOR(function, map, value_type)                                                     \
	static __always_inline value_type *function(__u32 index)                                   \
	{                                                                                          \
		return bpf_map_lookup_elem(&map, &index);                                          \
	}                                                                                          \
	struct sn_accessor_semicolon_

SN_ACCESSOR(sn_service_at, sn_services, struct sn_service);
SN_ACCESSOR(sn_slot_at, sn_slots, struct sn_slot);
SN_ACCESSOR(sn_backend_at, sn_backends, struct sn_backend);
SN_ACCESSOR(sn_health_at, sn_health, struct sn_health);
SN_ACCESSOR(sn_latency_at, sn_latency, struct sn_latency);
SN_ACCESSOR(sn_svc_stats_at, sn_svc_stats, struct sn_svc_stats);
SN_ACCESSOR(sn_flow_at, sn_flows, struct sn_flow);
SN_ACCESSOR(sn_svc_state_at, sn_svc_state, struct sn_svc_state);
SN_ACCESSOR(sn_window_at, sn_windows, struct sn_window);
SN_ACCESSOR(sn_policy_at, sn_policies, struct sn_policy);
SN_ACCESSOR(sn_syn_at, sn_syns, struct sn_syn);
SN_ACCESSOR(sn_counter_at, sn_counters, __u64);
