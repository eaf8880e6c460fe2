/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What real servers answered: the corpora of the fuzz targets.
 */
#pragma once

#include <stddef.h>

/* tests/fuzz/corpus/NAME as a text, for free; *ret_n bytes, at least one, before its end. */
char *recorded_read(const char *name, size_t *ret_n);
