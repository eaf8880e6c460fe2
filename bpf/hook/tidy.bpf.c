/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Forgets connections that went on to another backend and have been closed for longer than a packet
 * of theirs can be late; run by the daemon now and then (a syscall program). Without it they would
 * stay until another client needs their place, and every packet be looked up for their sake.
 * Nothing depends on it: whoever needs the place sweeps it alike.
 */
#include "ctx.bpf.h"
#include "stage/enlist.h"

static long sn_tidy_bucket(__u32 bucket, void *now)
{
	sn_syn_sweep(bucket * SN_SYN_WAYS, *(__u64 *)now);
	return 0;
}

SEC("syscall")
int sn_tidy(void *unused)
{
	__u64 now = bpf_ktime_get_ns();

	bpf_loop(sn_syn_mask + 1, sn_tidy_bucket, &now, 0);
	return 0;
}

char _license[] SEC("license") __weak = "Dual BSD/GPL";
