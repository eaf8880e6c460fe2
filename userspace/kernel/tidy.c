/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * See tidy.h. One run of a syscall program over all of sn_syns: some 100 us; it does not block.
 */
#include "kernel/tidy.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>

#include "sinew.skel.h"

int tidy_moved(const struct kernel *k)
{
	LIBBPF_OPTS(bpf_test_run_opts, opts);

	return bpf_prog_test_run_opts(bpf_program__fd(k->skel->progs.sn_tidy), &opts) < 0 ? -errno
											  : 0;
}
