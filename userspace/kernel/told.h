/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Asks the kernel to judge by what an application reported. After the daemon has found out whose
 * report it is.
 */
#pragma once

#include <sinew/report.h>

#include "kernel/kernel.h"

/* told->answer says what came of it. */
int told_judge(const struct kernel *k, struct sn_told *told);
