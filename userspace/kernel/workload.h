/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Workloads set to bypass -> sn_workloads.
 */
#pragma once

#include "kernel/kernel.h"

/* Makes the map hold exactly these cgroup ids. */
int workload_set(const struct kernel *k, const uint64_t *ids, size_t n);
/* Is the cgroup mount that we see the kernel's own top? In a cgroup namespace it is somewhere
 * below, and nobody tells how deep: then every level has to be looked at. */
bool workload_sees_top(void);
#define WORKLOAD_LEVELS 16u /* that the programs look at; see sn_levels */
#define WORKLOAD_LEVELS_ALL ((1u << WORKLOAD_LEVELS) - 1)
#define WORKLOAD_DEPTH_UNKNOWN UINT32_MAX
/* How deep a cgroup lies below its mount; the mount itself is 0. Unknown: a path that does not
 * begin with the mount's. */
uint32_t workload_depth(const char *mount, const char *path);
