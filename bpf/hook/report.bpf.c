/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * An application's report about one of its connections, run by the daemon (a syscall program),
 * which has found out whose report it is. Flows in socket storage cannot be reached from here:
 * they are unknown.
 */
#include "ctx.bpf.h"
#include "stage/told.h"

SEC("syscall")
int sn_told(struct sn_told *told)
{
	struct sn_told copy = {};

	copy.cookie = told->cookie;
	copy.cgroup_id = told->cgroup_id;
	copy.failed = told->failed;
	told->answer = sn_told_judge(&copy, bpf_ktime_get_ns());
	return 0;
}

char _license[] SEC("license") __weak = "Dual BSD/GPL";
