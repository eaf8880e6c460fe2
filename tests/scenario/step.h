/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Stops after every single store into the maps: memory is write-protected, the store that faults is
 * let through alone, and the test looks. So a kill can be played at each point where the maps have
 * another content. x86-64 only: it needs the trap flag.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

bool step_is_possible(void);
/* Stores into that memory are stepped from step_begin to step_end. Whole pages. */
void step_watch(void *memory, size_t bytes);
/* `look` is called after each store, from a signal handler: it may copy memory, no more. */
void step_begin(void (*look)(void *arg), void *arg);
void step_end(void);
