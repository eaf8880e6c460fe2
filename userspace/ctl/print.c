/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The one door between strangers' strings and a terminal; see print.h.
 */
#include <string.h>

#include "ctl/print.h"

/* Continuation bytes that follow a first byte, and the smallest value that needs them. */
static size_t sequence(unsigned char first, uint32_t *ret_bits, uint32_t *ret_least)
{
	if (first >= 0xc2 && first <= 0xdf) {
		*ret_bits = first & 0x1fu;
		*ret_least = 0x80;
		return 1;
	}
	if ((first & 0xf0) == 0xe0) {
		*ret_bits = first & 0x0fu;
		*ret_least = 0x800;
		return 2;
	}
	if (first >= 0xf0 && first <= 0xf4) {
		*ret_bits = first & 0x07u;
		*ret_least = 0x10000;
		return 3;
	}
	return 0;
}

size_t print_decode(const char *text, uint32_t *ret)
{
	const unsigned char *p = (const unsigned char *)text;
	uint32_t c = 0, least = 0;
	size_t more;

	if (p[0] < 0x80) {
		*ret = p[0];
		return 1;
	}
	*ret = UINT32_MAX;
	more = sequence(p[0], &c, &least);
	if (more == 0)
		return 1;
	for (size_t i = 1; i <= more; i++) {
		if ((p[i] & 0xc0) != 0x80) /* the NUL at the end stops here, too */
			return 1;
		c = c << 6 | (p[i] & 0x3fu);
	}
	if (c < least || c > 0x10ffff || (c >= 0xd800 && c <= 0xdfff))
		return 1;
	*ret = c;
	return more + 1;
}

bool print_is_unsafe(uint32_t c)
{
	return c < 0x20 || (c >= 0x7f && c <= 0x9f) || c == 0x061c ||
	       (c >= 0x200b && c <= 0x200f) || (c >= 0x2028 && c <= 0x202e) ||
	       (c >= 0x2060 && c <= 0x206f) || c == 0xfeff || c == UINT32_MAX;
}

/* Writes one character, escaped if it must be; returns its columns. */
static size_t put(FILE *f, const char *text, size_t length, uint32_t c)
{
	int n;

	if (!print_is_unsafe(c)) {
		(void)fwrite(text, 1, length, f);
		return 1;
	}
	if (c == '\n')
		n = fprintf(f, "\\n");
	else if (c == '\t')
		n = fprintf(f, "\\t");
	else if (c == UINT32_MAX)
		n = fprintf(f, "\\x%02x", (unsigned char)text[0]);
	else if (c <= 0xff)
		n = fprintf(f, "\\x%02x", c);
	else
		n = fprintf(f, "\\u%04x", c);
	return n > 0 ? (size_t)n : 0;
}

size_t print_text(FILE *f, const char *text)
{
	size_t columns = 0;

	while (text && *text) {
		uint32_t c;
		size_t n = print_decode(text, &c);

		columns += put(f, text, n, c);
		text += n;
	}
	return columns;
}

char *print_escape(const char *text)
{
	char *copy = NULL;
	size_t size = 0;
	FILE *f = open_memstream(&copy, &size);

	if (!f)
		return NULL;
	(void)print_text(f, text);
	if (fclose(f) != 0)
		return NULL;
	return copy;
}

size_t print_width(const char *escaped)
{
	size_t columns = 0;

	for (; *escaped; escaped++)
		columns += ((unsigned char)*escaped & 0xc0) != 0x80;
	return columns;
}

void print_style_on(FILE *f, bool colour, enum print_style style)
{
	static const char *const codes[] = {
		[STYLE_PLAIN] = "",       [STYLE_GOOD] = "\033[32m", [STYLE_WARN] = "\033[33m",
		[STYLE_BAD] = "\033[31m", [STYLE_DIM] = "\033[2m",   [STYLE_BOLD] = "\033[1m",
	};

	if (colour)
		fputs(codes[style], f);
}

void print_style_off(FILE *f, bool colour, enum print_style style)
{
	if (colour && style != STYLE_PLAIN)
		fputs("\033[0m", f);
}
