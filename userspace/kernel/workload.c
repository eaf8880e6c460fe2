/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * See workload.h. After daemon/config has named the cgroups; before stage/admit looks them up.
 */
#include "kernel/workload.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <string.h>
#include <sys/stat.h>

#include "sinew.skel.h"

static bool is_wanted(const uint64_t *ids, size_t n, uint64_t id)
{
	for (size_t i = 0; i < n; i++)
		if (ids[i] == id)
			return true;
	return false;
}

int workload_set(const struct kernel *k, const uint64_t *ids, size_t n)
{
	const struct sn_workload bypass = {.flags = SN_WORKLOAD_BYPASS};
	int fd = bpf_map__fd(k->skel->maps.sn_workloads);
	uint64_t key, previous = 0;
	bool first = true;

	for (size_t i = 0; i < n; i++)
		if (bpf_map_update_elem(fd, &ids[i], &bypass, BPF_ANY) < 0)
			return -errno;
	while (!bpf_map_get_next_key(fd, first ? NULL : &previous, &key)) {
		if (is_wanted(ids, n, key)) {
			previous = key;
			first = false;
			continue;
		}
		if (bpf_map_delete_elem(fd, &key) < 0)
			return -errno;
	}
	return 0;
}

#define CGROUP_NS_INIT 0xEFFFFFFBul /* PROC_CGROUP_INIT_INO of the kernel's proc_ns.h */

bool workload_sees_top(void)
{
	struct stat st;

	return stat("/proc/self/ns/cgroup", &st) < 0 || st.st_ino == CGROUP_NS_INIT;
}

uint32_t workload_depth(const char *mount, const char *path)
{
	size_t skip = strlen(mount);
	uint32_t depth = 0;

	if (strncmp(path, mount, skip) != 0 || (path[skip] && path[skip] != '/') ||
	    strstr(path, "/."))
		return WORKLOAD_DEPTH_UNKNOWN;
	for (const char *p = path + skip; *p; p++)
		depth += p[0] == '/' && p[1] && p[1] != '/';
	return depth;
}
