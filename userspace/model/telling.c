/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * See telling.h. Before: daemon/report.c has a datagram of anybody. Strict, so that what is told
 * later by other words is refused by us today.
 */
#include "model/telling.h"

#include <errno.h>
#include <string.h>

#include "base/cleanup.h"

static const struct {
	const char *word;
	bool failed;
} words[] = {{"failure ", true}, {"success ", false}};

/* Digits only, none in front of the number that says nothing. */
static int parse_cookie(const char *text, size_t length, uint64_t *ret)
{
	uint64_t n = 0;

	if (!length || text[0] == '0')
		return -EINVAL;
	for (size_t i = 0; i < length; i++) {
		if (text[i] < '0' || text[i] > '9')
			return -EINVAL;
		if (__builtin_mul_overflow(n, 10u, &n) ||
		    __builtin_add_overflow(n, (uint64_t)(text[i] - '0'), &n))
			return -EINVAL;
	}
	*ret = n;
	return 0;
}

int telling_parse(const char *text, size_t length, struct telling *ret)
{
	uint64_t cookie;

	if (length && text[length - 1] == '\n')
		length--;
	for (size_t i = 0; i < ARRAY_SIZE(words); i++) {
		size_t n = strlen(words[i].word);

		if (length <= n || memcmp(text, words[i].word, n) != 0)
			continue;
		if (parse_cookie(text + n, length - n, &cookie) < 0)
			return -EINVAL;
		*ret = (struct telling){.cookie = cookie, .failed = words[i].failed};
		return 0;
	}
	return -EINVAL;
}
