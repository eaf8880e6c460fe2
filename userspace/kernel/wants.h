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
/* Connections that live by being translated at interfaces. */
uint64_t wants_moved(const struct kernel *k);
