/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A growing run of bytes, for answers that are written and bodies that are read. After a failed
 * allocation it stays failed and swallows what is added, so that a writer checks once, at the end.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/cleanup.h"

struct bytes {
	char *data;
	size_t length, room;
	bool failed;
};

void bytes_done(struct bytes *b);
/* Forgets the content, keeps the room. */
void bytes_clear(struct bytes *b);
/* -ENOMEM. */
int bytes_reserve(struct bytes *b, size_t more);
void bytes_append(struct bytes *b, const void *data, size_t length);
void bytes_text(struct bytes *b, const char *text);
__attribute__((format(printf, 2, 3))) void bytes_format(struct bytes *b, const char *format, ...);
