/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * See name.h. Before: text as a client sent it, percent-encoding undone. After: route.c and write.c
 * refuse what is none. A filter with a name that nothing can have would only hide a typing error.
 */
#include <string.h>

#include "control/name.h"
#include "model/limits.h"

#define DIGITS_LETTERS "abcdefghijklmnopqrstuvwxyz0123456789"

bool name_is_label(const char *text)
{
	size_t length = strlen(text);

	return length > 0 && length <= LIMIT_NAME && text[0] != '-' && text[length - 1] != '-' &&
	       !text[strspn(text, DIGITS_LETTERS "-")];
}

/* The character after one tag, or NULL. */
static const char *tag_end(const char *p)
{
	if (p[0] == 'W' && p[1] == '/')
		p += 2;
	if (*p++ != '"')
		return NULL;
	while ((unsigned char)*p > 0x20 && *p != '"' && *p != 0x7f)
		p++;
	return *p == '"' ? p + 1 : NULL;
}

bool name_is_tags(const char *text)
{
	const char *p = text;

	if (strcmp(text, "*") == 0)
		return true;
	while ((p = tag_end(p))) {
		p += strspn(p, " \t");
		if (!*p)
			return true;
		if (*p++ != ',')
			return false;
		p += strspn(p, " \t");
	}
	return false;
}
