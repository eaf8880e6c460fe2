/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What the running kernel offers. Decided by asking it, never by its version.
 */
#pragma once

#include <stdbool.h>

/* A kernel function that programs may call. */
bool probe_kfunc(const char *name);
/* Tells what is missing for us to run at all, as one sentence with what to do; NULL: nothing. */
const char *probe_missing(void);
