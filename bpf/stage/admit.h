/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * May this caller be translated? After resolve (so that only services pay), before pick.
 * Returns SN_R_CONNECTED for yes, or the reason why the socket passes untouched.
 */
#pragma once

#include "knobs.bpf.h"
#include "maps.bpf.h"

static __always_inline int sn_workload_bypass(__u64 cgroup_id)
{
	struct sn_workload *workload = bpf_map_lookup_elem(&sn_workloads, &cgroup_id);

	return workload && (workload->flags & SN_WORKLOAD_BYPASS);
}

/* A bypass holds for the cgroup and everything below it. Only depths at which one is set are looked
 * up, and the loop is gone when there is none. */
static __always_inline int sn_caller_bypass(void)
{
#pragma unroll
	for (int level = 0; level < 16; level++)
		if ((sn_levels & (1u << level)) &&
		    sn_workload_bypass(bpf_get_current_ancestor_cgroup_id(level)))
			return 1;
	return 0;
}

static __always_inline int sn_admit(__u32 mark, int is_kernel)
{
	if (sn_bypass_mark && mark == sn_bypass_mark)
		return SN_R_BYPASS_MARK;
	if (is_kernel && !sn_kernel_too)
		return SN_R_BYPASS_KERNEL;
	if (sn_levels && sn_caller_bypass())
		return SN_R_BYPASS_WORKLOAD;
	return SN_R_CONNECTED;
}
