/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Has the kernel forget what nobody waits for any more. Now and then, by the daemon.
 */
#pragma once

#include "kernel/kernel.h"

/* Connections that were moved to another backend and closed more than two minutes ago. */
int tidy_moved(const struct kernel *k);
