/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What the published policies need besides the cgroup's programs. Only looks.
 */
#pragma once

#include "kernel/kernel.h"

#define WANTS_FAILOVER 0x1 /* programs at interfaces */
#define WANTS_TIMEOUTS 0x2 /* the knob sn_timeouts */

/* Over the policies of all services. */
unsigned int wants_read(const struct kernel *k);
/* The same before anything is loaded, over all policies that an earlier daemon has published: its
 * programs must not be replaced by some that do less. */
unsigned int wants_read_pinned(const char *bpffs);
/* Connections that live by being translated at interfaces. */
uint64_t wants_moved(const struct kernel *k);
