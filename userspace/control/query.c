/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * See query.h. Before: the URI as the client sent it. After: handlers ask by name. Pure.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "control/query.h"

static int hex_digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	c |= 0x20;
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

int query_unescape(char *text, bool plus)
{
	char *out = text;

	for (const char *in = text; *in; in++) {
		int c = (unsigned char)*in;

		if (c == '+' && plus)
			c = ' ';
		if (c == '%') {
			int high = hex_digit(in[1]), low = high < 0 ? -1 : hex_digit(in[2]);

			if (low < 0)
				return -EINVAL;
			c = high << 4 | low;
			in += 2;
		}
		if (c < 0x20 || c == 0x7f)
			return -EINVAL;
		*out++ = (char)c;
	}
	*out = 0;
	return 0;
}

/* Whether `name` is one of `allowed`; *ret_repeats when it is written with a star. */
static bool name_is_allowed(const char *name, const char *allowed, bool *ret_repeats)
{
	size_t length = strlen(name);

	for (const char *a = allowed; a && *a; a += strcspn(a, " "), a += strspn(a, " ")) {
		size_t n = strcspn(a, " ");
		bool star = n && a[n - 1] == '*';

		if (length != n - star || memcmp(a, name, length) != 0)
			continue;
		*ret_repeats = star;
		return true;
	}
	return false;
}

static void arg_add(struct query *q, char *pair, const char *allowed, struct problems *problems)
{
	char *value = strchr(pair, '=');
	bool repeats = false;

	if (value)
		*value++ = 0;
	else
		value = pair + strlen(pair);
	if (query_unescape(pair, true) < 0 || query_unescape(value, true) < 0) {
		problem_add(problems, "", "a query parameter holds a bad percent-encoding");
		return;
	}
	if (!name_is_allowed(pair, allowed, &repeats)) {
		problem_add(problems, "", "unknown query parameter \"%.60s\"; known here: %s", pair,
			    allowed && *allowed ? allowed : "none");
		return;
	}
	if (!repeats && query_get(q, pair)) {
		problem_add(problems, "", "query parameter \"%s\" is given twice", pair);
		return;
	}
	if (q->n == QUERY_ARGS) {
		problem_add(problems, "", "more than %d query parameters", QUERY_ARGS);
		return;
	}
	q->args[q->n++] = (struct query_arg){pair, value};
}

int query_parse(const char *text, const char *allowed, struct problems *problems, struct query *ret)
{
	struct query q = {.text = strdup(text)};
	char *save = NULL;

	if (!q.text)
		return -ENOMEM;
	for (char *p = strtok_r(q.text, "&", &save); p; p = strtok_r(NULL, "&", &save))
		arg_add(&q, p, allowed, problems);
	if (problems_any(problems)) {
		query_done(&q);
		return -EINVAL;
	}
	*ret = q;
	return 0;
}

void query_done(struct query *q)
{
	free(q->text);
	*q = (struct query){};
}

const char *query_get(const struct query *q, const char *name)
{
	for (size_t i = 0; i < q->n; i++)
		if (strcmp(q->args[i].name, name) == 0)
			return q->args[i].value;
	return NULL;
}

int query_bool(const struct query *q, const char *name, struct problems *problems, bool *ret)
{
	const char *v = query_get(q, name);

	if (!v || strcmp(v, "false") == 0) {
		*ret = false;
		return 0;
	}
	if (!*v || strcmp(v, "true") == 0) {
		*ret = true;
		return 0;
	}
	problem_add(problems, "", "query parameter %s is true or false, not \"%.60s\"", name, v);
	return -EINVAL;
}

int query_number(const struct query *q, const char *name, struct query_range range,
		 struct problems *problems, uint64_t *ret)
{
	const char *v = query_get(q, name);
	uint64_t n;
	int r;

	if (!v)
		return 0;
	r = number_parse(v, &n);
	if (r < 0 || n < range.min || n > range.max) {
		problem_add(problems, "",
			    "query parameter %s is a number from %llu to %llu, not \"%.60s\"", name,
			    (unsigned long long)range.min, (unsigned long long)range.max, v);
		return -EINVAL;
	}
	*ret = n;
	return 0;
}

int number_parse(const char *text, uint64_t *ret)
{
	bool hex = text[0] == '0' && (text[1] | 0x20) == 'x';
	uint64_t n = 0;

	if (hex)
		text += 2;
	if (!*text)
		return -EINVAL;
	for (; *text; text++) {
		int d = hex_digit(*text);

		if (d < 0 || (!hex && d > 9))
			return -EINVAL;
		if (__builtin_mul_overflow(n, hex ? 16u : 10u, &n) ||
		    __builtin_add_overflow(n, (uint64_t)d, &n))
			return -ERANGE;
	}
	*ret = n;
	return 0;
}
