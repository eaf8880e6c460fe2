/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What an application sends to the report socket: one line of text, sinew-report(7). Pure.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define TELLING_MAX 64 /* bytes of a message; a valid one has fewer */

struct telling {
	uint64_t cookie; /* SO_COOKIE; never 0 */
	bool failed;
};

/* "failure COOKIE" or "success COOKIE", decimal, with or without a newline. -EINVAL otherwise, and
 * ret is untouched then. The text may hold any bytes and need not end with a NUL. */
int telling_parse(const char *text, size_t length, struct telling *ret);
