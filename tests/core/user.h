/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The decision core's user-space build behind plain functions, for tests that also have the
 * kernel's and must not see the stages twice.
 */
#pragma once

#include <sinew/health.h>

#include "core/step.h"

/* Maps as small as the histories need, all empty. */
void user_begin(void);
/* An array's elements from the first one on; NULL: no such array. */
void *user_array(const char *name);
/* Runs the steps in place; then copies what is remembered, and forgets it. */
void user_history(struct door_step *steps, __u32 n, struct sn_memory memory[16],
		  struct sn_affinity affinity[16]);
void user_end(void);
