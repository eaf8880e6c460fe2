/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * From what a person calls a workload to the cgroup that the kernel knows it by. Reads /proc and
 * the cgroup tree; paths are parameters so that tests can have their own.
 */
#pragma once

#include <stdint.h>

struct workload_roots {
	const char *proc;   /* "/proc" */
	const char *cgroup; /* NULL: found in proc/self/mounts */
};

struct workload {
	char path[4096]; /* folder of the cgroup */
	uint64_t id;     /* as bpf_get_current_cgroup_id gives it */
};

/*
 * `name`: a process id, a path (absolute, or below the cgroup mount), or the name of a systemd unit
 * ("checkout.service"; without a suffix ".service" is tried). -ENOENT: no such workload; -ESRCH: no
 * such process; -ENODEV: no cgroup v2 mount; -EEXIST: the name fits more than one cgroup;
 * -ENAMETOOLONG.
 */
int workload_find(const struct workload_roots *roots, const char *name, struct workload *ret);
