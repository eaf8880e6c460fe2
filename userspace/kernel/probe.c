/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * See probe.h. Before object.c. Must leave nothing loaded behind.
 */
#include "kernel/probe.h"

#include <bpf/bpf.h>
#include <bpf/btf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <stddef.h>
#include <unistd.h>

bool probe_kfunc(const char *name)
{
	struct btf *btf = btf__load_vmlinux_btf();
	bool found;

	if (!btf)
		return false;
	found = btf__find_by_name_kind(btf, name, BTF_KIND_FUNC) > 0;
	btf__free(btf);
	return found;
}

const char *probe_missing(void)
{
	if (access("/sys/kernel/btf/vmlinux", R_OK) < 0)
		return "the kernel has no BTF (/sys/kernel/btf/vmlinux): it needs CONFIG_DEBUG_INFO_BTF";
	if (libbpf_probe_bpf_map_type(BPF_MAP_TYPE_RINGBUF, NULL) == 0)
		return "the kernel has no BPF ring buffer: it needs Linux 6.1 or newer";
	if (libbpf_probe_bpf_map_type(BPF_MAP_TYPE_SK_STORAGE, NULL) == 0)
		return "the kernel has no BPF socket storage: it needs Linux 6.1 or newer";
	if (libbpf_probe_bpf_helper(BPF_PROG_TYPE_CGROUP_SOCK_ADDR, BPF_FUNC_set_retval, NULL) == 0)
		return "the kernel lacks bpf_set_retval for socket address programs: it needs Linux 6.1 or newer";
	return NULL;
}
