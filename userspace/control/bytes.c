/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * See bytes.h. The caller bounds what is added; this file only keeps the arithmetic safe.
 */
#include <errno.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "control/bytes.h"

void bytes_done(struct bytes *b)
{
	free(b->data);
	*b = (struct bytes){};
}

void bytes_clear(struct bytes *b)
{
	b->length = 0;
}

int bytes_reserve(struct bytes *b, size_t more)
{
	size_t need, room = b->room ? b->room : 1024;
	char *data;

	if (b->failed)
		return -ENOMEM;
	if (__builtin_add_overflow(b->length, more, &need) || need > SIZE_MAX / 4) {
		b->failed = true;
		return -ENOMEM;
	}
	if (need <= b->room)
		return 0;
	while (room < need)
		room *= 2;
	data = realloc(b->data, room);
	if (!data) {
		b->failed = true;
		return -ENOMEM;
	}
	b->data = data;
	b->room = room;
	return 0;
}

void bytes_append(struct bytes *b, const void *data, size_t length)
{
	int r;

	if (!length)
		return;
	r = bytes_reserve(b, length);
	if (r < 0)
		return;
	memcpy(b->data + b->length, data, length);
	b->length += length;
}

void bytes_text(struct bytes *b, const char *text)
{
	bytes_append(b, text, strlen(text));
}

void bytes_format(struct bytes *b, const char *format, ...)
{
	va_list args;
	int n, r;

	va_start(args, format);
	n = vsnprintf(NULL, 0, format, args);
	va_end(args);
	if (n < 0) {
		b->failed = true;
		return;
	}
	r = bytes_reserve(b, (size_t)n + 1);
	if (r < 0)
		return;
	va_start(args, format);
	(void)vsnprintf(b->data + b->length, (size_t)n + 1, format, args);
	va_end(args);
	b->length += (size_t)n;
}
