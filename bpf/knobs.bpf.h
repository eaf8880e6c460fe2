/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Settings that the daemon fixes when it loads the programs. The verifier removes the branches
 * that a setting makes dead, so an unused feature costs nothing; a changed setting is a new load
 * and a swap of the links.
 */
#pragma once

#include <linux/types.h>

#include <bpf/bpf_helpers.h>

/* A function that the verifier judges once, by itself, and not anew at each call: for loops over
 * compare-and-swap, and for what is called from many places. Weak, as maps are. */
#define SN_ONCE __weak __attribute__((noinline))

/* Entries of sn_flows - 1; the entries are a power of two. */
const volatile __u32 sn_flow_mask __weak = 131072 - 1;
/* A socket with this SO_MARK passes untouched; 0: off. */
const volatile __u32 sn_bypass_mark __weak = 0;
/* Bit n: sn_workloads holds a cgroup of depth n; 0: no workload is looked up. */
const volatile __u32 sn_levels __weak = 0;
/* Translate for sockets of kernel threads (NFS, SMB, MPTCP's own subflows)? */
const volatile __u32 sn_kernel_too __weak = 0;
/* Address pools, whose addresses may have any-port services: IPv4 in host order, IPv6 upper half.
 */
const volatile __u32 sn_pool4 __weak = 0x7f800000;
const volatile __u32 sn_pool4_mask __weak = 0xff800000;
const volatile __u64 sn_pool6 __weak = 0xfd73696e65770000ULL;
const volatile __u64 sn_pool6_mask __weak = 0xffffffffffffffffULL;
/* Of this node, so that nodes do not let a backend return all at once. */
const volatile __u32 sn_node __weak = 0;
/* Are programs attached to interfaces, so that a connect may go on to another backend? */
const volatile __u32 sn_failover __weak = 0;
/* Buckets of sn_syns - 1; a power of two. */
const volatile __u32 sn_syn_mask __weak = 16384 / 4 - 1;
/* Does any policy set connect timeouts? The kernel asks for each SYN then. */
const volatile __u32 sn_timeouts __weak = 0;
/* One jiffy in ns: the unit of the kernel's SYN timer. */
const volatile __u64 sn_tick_ns __weak = 4000000;
/* A successful connect is reported when (cookie & sn_sample) == 0; all ones: never. */
const volatile __u64 sn_sample __weak = 255;
