/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * See scalar.h. Before: yaml.c found a plain scalar, or one in single quotes.
 */
#include "manifest/scalar.h"

#include <errno.h>
#include <math.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"

#define NUMBER_MAX 64 /* no number worth having is longer */

static bool is_word(const char *text, const char *const *words, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (!strcmp(text, words[i]))
			return true;
	return false;
}

static size_t count_digits(const char *p)
{
	return strspn(p, "0123456789");
}

/* [-+]? [0-9]+, 0o[0-7]+, 0x[0-9a-fA-F]+; 0: it is none. */
static int integer_base(const char *text)
{
	const char *p = text + (*text == '-' || *text == '+');

	if (*p && !p[count_digits(p)])
		return 10;
	if (text[0] == '0' && text[1] == 'o' && text[2] && !text[2 + strspn(text + 2, "01234567")])
		return 8;
	if (text[0] == '0' && text[1] == 'x' && text[2] &&
	    !text[2 + strspn(text + 2, "0123456789abcdefABCDEF")])
		return 16;
	return 0;
}

/* [-+]? ( \. [0-9]+ | [0-9]+ ( \. [0-9]* )? ) ( [eE] [-+]? [0-9]+ )? */
static bool is_real(const char *text)
{
	const char *p = text + (*text == '-' || *text == '+');
	size_t whole = count_digits(p), part = 0;

	p += whole;
	if (*p == '.') {
		part = count_digits(p + 1);
		p += part + 1;
	}
	if (!whole && !part)
		return false;
	if (*p == 'e' || *p == 'E') {
		p += 1 + (p[1] == '-' || p[1] == '+');
		if (!count_digits(p))
			return false;
		p += count_digits(p);
	}
	return !*p;
}

static yyjson_mut_val *number_value(yyjson_mut_doc *doc, const char *text, int base)
{
	const char *digits = text + (base != 10 ? 2 : *text == '-' || *text == '+');
	unsigned long long value;
	double real;

	errno = 0;
	value = base ? strtoull(digits, NULL, base) : 0;
	if (base && !errno && *text != '-')
		return yyjson_mut_uint(doc, value);
	if (base && !errno && value <= (unsigned long long)INT64_MAX)
		return yyjson_mut_sint(doc, -(int64_t)value);
	real = base == 8 ? HUGE_VAL : strtod(text, NULL);
	/* JSON has no infinity; as text it is refused where a number is wanted. */
	return isfinite(real) ? yyjson_mut_real(doc, real) : yyjson_mut_strcpy(doc, text);
}

yyjson_mut_val *scalar_resolve(yyjson_mut_doc *doc, const char *text, size_t length)
{
	static const char *const nulls[] = {"", "~", "null", "Null", "NULL"};
	static const char *const truths[] = {"true", "True", "TRUE"};
	static const char *const lies[] = {"false", "False", "FALSE"};
	char word[NUMBER_MAX];

	if (length >= sizeof(word) || memchr(text ? text : "", 0, length))
		return yyjson_mut_strncpy(doc, text, length);
	if (length)
		memcpy(word, text, length);
	word[length] = '\0';
	if (is_word(word, nulls, ARRAY_SIZE(nulls)))
		return yyjson_mut_null(doc);
	if (is_word(word, truths, ARRAY_SIZE(truths)))
		return yyjson_mut_true(doc);
	if (is_word(word, lies, ARRAY_SIZE(lies)))
		return yyjson_mut_false(doc);
	if (integer_base(word) || is_real(word))
		return number_value(doc, word, integer_base(word));
	return yyjson_mut_strcpy(doc, word);
}

/* Blanks and line breaks from `i` on, until text follows. Returns the number of breaks (a CR with
 * its LF is one). */
static size_t skip_breaks(const char *text, size_t length, size_t *i)
{
	size_t breaks = 0;

	for (; *i < length && strchr(" \t\r\n", text[*i]); ++*i)
		breaks += text[*i] == '\n' ||
			  (text[*i] == '\r' && (*i + 1 == length || text[*i + 1] != '\n'));
	return breaks;
}

size_t scalar_unquote(const char *text, size_t length, char *ret)
{
	size_t n = 0;

	for (size_t i = 0; i < length;) {
		size_t at = i, breaks = skip_breaks(text, length, &i);

		/* one break is a blank, of several the first one goes */
		if (breaks)
			ret[n++] = breaks == 1 ? ' ' : '\n';
		for (; breaks > 2; breaks--)
			ret[n++] = '\n';
		for (; !breaks && at < i; at++)
			ret[n++] = text[at];
		if (i == length)
			break;
		ret[n++] = text[i];
		i += text[i] == '\'' ? 2 : 1;
	}
	return n;
}
