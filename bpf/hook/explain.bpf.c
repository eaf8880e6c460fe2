/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * What would a connect() to this address get now? The same stages over the same maps as the real
 * doors, run on request by the daemon (a syscall program), remembering and counting nothing.
 */
#include "ctx.bpf.h"
#include "stage/translate.h"

SEC("syscall")
int sn_explain(struct sn_explain *query)
{
	struct sn_frontend dest = query->dest; /* a key must lie on the stack */
	struct sn_choice choice = {};
	__u32 reason;

	choice.ask.flags = SN_ASK_DRY;
	choice.ask.caller = query->cgroup_id;
	choice.ask.workload = (__u32)query->cgroup_id;
	choice.ask.now = bpf_ktime_get_ns();
	choice.ask.draw = bpf_get_prandom_u32();
	if (!sn_choice_resolve(&choice, &dest)) {
		query->reason = SN_NOT_OURS;
		return 0;
	}
	query->service = choice.ask.service;
	reason =
		sn_bypass_mark && query->mark == sn_bypass_mark ? SN_R_BYPASS_MARK : SN_R_CONNECTED;
	if (reason == SN_R_CONNECTED && query->cgroup_id && sn_workload_bypass(query->cgroup_id))
		reason = SN_R_BYPASS_WORKLOAD;
	if (reason == SN_R_CONNECTED)
		reason = sn_choose_backend(&choice);
	query->reason = reason;
	query->set = choice.pick.set;
	query->count = choice.pick.count;
	query->level = choice.pick.level;
	query->panic = choice.pick.panic;
	query->backend = choice.pick.index;
	query->incarnation = choice.backend ? choice.backend->incarnation : 0;
	return 0;
}

char _license[] SEC("license") __weak = "Dual BSD/GPL";
