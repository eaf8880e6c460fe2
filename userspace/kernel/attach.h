/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Programs to the cgroup, by links that are pinned and so outlive us.
 */
#pragma once

#include "kernel/kernel.h"

/* Every hook: swaps the program of a live pinned link, or makes and pins a new one. On failure
 * nothing is detached that was attached before, and k->trouble says why. -EEXIST: another owner's
 * program stands alone. */
int attach_all(struct kernel *k);
/* Is the link still attached to the cgroup with this id? A dead cgroup leaves id 0. */
bool attach_is_live(const struct bpf_link *link, uint64_t cgroup_id);
/* Inode number of a cgroup folder, which is its id. */
int attach_cgroup_id(const char *path, uint64_t *ret);
