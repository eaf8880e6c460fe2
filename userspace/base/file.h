/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Small files that are read and written whole. A file that is replaced is there as it was or as it
 * is to be, whenever the machine stops. Blocks; knows nothing of what is in them.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

/* The whole of a file of at most `max` bytes, and a NUL behind it; caller frees. ret_changed_ms
 * (may be NULL): its time of change in CLOCK_REALTIME. -E2BIG; -EIO: it changed meanwhile; -errno.
 */
int file_read(const char *path, size_t max, char **ret, size_t *ret_length,
	      uint64_t *ret_changed_ms);
/* Writes <dir>/<name>.json whole or not at all, durably, by way of <name>.tmp; text NULL removes
 * it. -ENAMETOOLONG, -errno. */
int file_replace(int dir, const char *name, const char *text, size_t length);
