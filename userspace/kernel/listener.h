/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * sn_listeners, as the programs have filled it.
 */
#pragma once

#include <sinew/listener.h>

#include "kernel/kernel.h"

/* -ENOENT: it does not listen (any more), or the map was full. */
int listener_find(const struct kernel *k, uint64_t cookie, struct sn_listener *ret);
/* Each of them, in no order; what comes or goes meanwhile may be missed. 0 or -errno. */
int listener_visit(const struct kernel *k,
		   void (*visit)(void *arg, uint64_t cookie, const struct sn_listener *l),
		   void *arg);
/* One whose end the programs did not see. */
void listener_forget(const struct kernel *k, uint64_t cookie);
uint32_t listener_max(const struct kernel *k);
