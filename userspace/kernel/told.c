/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * See told.h. One run of a syscall program, some 2 us; it does not block.
 */
#include "kernel/told.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>

#include "sinew.skel.h"

int told_judge(const struct kernel *k, struct sn_told *told)
{
	/* A syscall program's result comes back in its argument. */
	LIBBPF_OPTS(bpf_test_run_opts, opts, .ctx_in = told, .ctx_size_in = sizeof(*told));

	if (bpf_prog_test_run_opts(bpf_program__fd(k->skel->progs.sn_told), &opts) < 0)
		return -errno;
	return 0;
}
