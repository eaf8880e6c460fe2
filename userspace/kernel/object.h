/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The BPF object: opened, fitted to the kernel and to maps that are pinned already, loaded.
 */
#pragma once

#include "kernel/kernel.h"

/* Opens and loads; maps end up pinned below <pin_dir>/maps. *ret_took_over: some were there before.
 * -EPROTO: a pinned map has another shape. Caller destroys with object_free. */
int object_load(const struct kernel_config *config, const char *pin_dir, struct sinew_bpf **ret,
		bool *ret_took_over);
struct sinew_bpf *object_free(struct sinew_bpf *skel);
