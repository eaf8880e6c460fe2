/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * See accept.h. Before: a header as the client sent it, of any form. After: route.c and metrics.c
 * choose. A range that cannot be read counts as not given.
 */
#include <stddef.h>
#include <string.h>
#include <strings.h>

#include "control/accept.h"

#define BLANK " \t"

/* Digits of a weight: "1", "0.5", "0.125" in thousandths; anything else is 0. */
static int weight_parse(const char *text, size_t length)
{
	int weight = 0, scale = 1000;

	if (!length || (text[0] != '0' && text[0] != '1'))
		return 0;
	weight = (text[0] - '0') * 1000;
	if (length > 1 && text[1] != '.')
		return 0;
	for (size_t i = 2; i < length && i < 5; i++) {
		if (text[i] < '0' || text[i] > '9')
			return 0;
		scale /= 10;
		weight += (text[i] - '0') * scale;
	}
	return weight > 1000 ? 1000 : weight;
}

/* The q parameter of one range; 1000 without one. `version` parameters are the caller's business.
 */
static int range_weight(const char *range, size_t length)
{
	const char *end = range + length;

	for (const char *p = memchr(range, ';', length); p; p = memchr(p, ';', (size_t)(end - p))) {
		p++;
		while (p < end && strchr(BLANK, *p))
			p++;
		if (end - p >= 2 && (p[0] | 0x20) == 'q' && p[1] == '=') {
			size_t n = strcspn(p + 2, "; \t,");

			return weight_parse(p + 2, n);
		}
	}
	return 1000;
}

/* 0: does not cover; 1: any type; 2: any subtype; 3: exactly. */
static int range_fits(const char *range, size_t length, const char *type)
{
	size_t major = strcspn(type, "/");

	if (length == 3 && memcmp(range, "*/*", 3) == 0)
		return 1;
	if (length == major + 2 && strncasecmp(range, type, major) == 0 &&
	    memcmp(range + major, "/*", 2) == 0)
		return 2;
	return length == strlen(type) && strncasecmp(range, type, length) == 0 ? 3 : 0;
}

int accept_quality(const char *header, const char *type)
{
	int best = 0, weight = 0;

	if (!header || !header[strspn(header, BLANK)])
		return 1000;
	for (const char *p = header; *p; p += *p == ',') {
		size_t length, name;
		int fit;

		p += strspn(p, BLANK);
		length = strcspn(p, ",");
		name = strcspn(p, ";, \t");
		fit = range_fits(p, name, type);
		if (fit > best) {
			best = fit;
			weight = range_weight(p, length);
		}
		p += length;
	}
	return weight;
}
