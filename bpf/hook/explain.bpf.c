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

	choice.service = sn_resolve(&dest, &choice.index);
	if (!choice.service) {
		query->reason = SN_NOT_OURS;
		return 0;
	}
	query->service = choice.index;
	reason =
		sn_bypass_mark && query->mark == sn_bypass_mark ? SN_R_BYPASS_MARK : SN_R_CONNECTED;
	if (reason == SN_R_CONNECTED && query->cgroup_id && sn_workload_bypass(query->cgroup_id))
		reason = SN_R_BYPASS_WORKLOAD;
	if (reason == SN_R_CONNECTED)
		reason = sn_choose_backend(&choice);
	query->reason = reason;
	query->set = choice.pick.set;
	query->count = choice.pick.count;
	query->backend = choice.pick.index;
	query->incarnation = choice.pick.backend ? choice.pick.backend->incarnation : 0;
	return 0;
}

char _license[] SEC("license") __weak = "Dual BSD/GPL";
