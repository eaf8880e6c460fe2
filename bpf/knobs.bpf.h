/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Settings that the daemon fixes when it loads the programs. The verifier removes the branches
 * that a setting makes dead, so an unused feature costs nothing; a changed setting is a new load
 * and a swap of the links.
 */
#pragma once

#include <linux/types.h>

#include <bpf/bpf_helpers.h>

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
/* A successful connect is reported when (cookie & sn_sample) == 0; all ones: never. */
const volatile __u64 sn_sample __weak = 255;
