/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Workloads set to bypass -> sn_workloads.
 */
#pragma once

#include "kernel/kernel.h"

/* Makes the map hold exactly these cgroup ids. */
int workload_set(const struct kernel *k, const uint64_t *ids, size_t n);
/* How deep a cgroup lies below its mount; the mount itself is 0. */
uint32_t workload_depth(const char *mount, const char *path);
