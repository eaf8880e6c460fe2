/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * See text.h. Used by every room; never prints, never looks at the locale.
 */
#include "base/text.h"

#include <errno.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/cleanup.h"

struct unit {
	const char *name;
	uint64_t factor;
};

/* Falling, so that the first that fits is the largest. */
static const struct unit durations[] = {
	{"d", 86400000}, {"h", 3600000}, {"m", 60000}, {"s", 1000}, {"ms", 1}};
static const struct unit sizes[] = {{"TiB", 1ull << 40},
				    {"GiB", 1ull << 30},
				    {"MiB", 1ull << 20},
				    {"KiB", 1ull << 10},
				    {"B", 1}};

/* Digits at *p, which moves behind them. -EINVAL: there are none. */
static int parse_digits(const char **p, uint64_t *ret)
{
	uint64_t value = 0;
	const char *c = *p;

	for (; *c >= '0' && *c <= '9'; c++)
		if (__builtin_mul_overflow(value, 10, &value) ||
		    __builtin_add_overflow(value, (uint64_t)(*c - '0'), &value))
			return -ERANGE;
	if (c == *p)
		return -EINVAL;
	*p = c;
	*ret = value;
	return 0;
}

/* The unit whose name is all letters at p; n when there is no such unit. */
static size_t find_unit(const struct unit *units, size_t n, const char *p, size_t length)
{
	size_t i;

	for (i = 0; i < n; i++)
		if (strlen(units[i].name) == length && !memcmp(units[i].name, p, length))
			break;
	return i;
}

static size_t count_letters(const char *p)
{
	size_t n = 0;

	while ((p[n] >= 'a' && p[n] <= 'z') || (p[n] >= 'A' && p[n] <= 'Z'))
		n++;
	return n;
}

int text_parse_duration(const char *text, uint64_t *ret_ms)
{
	size_t next = 0; /* the largest unit that may follow */
	uint64_t sum = 0;
	const char *p = text;

	if (!strcmp(text, "0")) {
		*ret_ms = 0;
		return 0;
	}
	do {
		uint64_t value = 0;
		size_t length, unit;
		int r = parse_digits(&p, &value);

		if (r < 0)
			return r;
		length = count_letters(p);
		unit = find_unit(durations, ARRAY_SIZE(durations), p, length);
		if (unit == ARRAY_SIZE(durations) || unit < next)
			return -EINVAL;
		if (__builtin_mul_overflow(value, durations[unit].factor, &value) ||
		    __builtin_add_overflow(sum, value, &sum))
			return -ERANGE;
		next = unit + 1;
		p += length;
	} while (*p);
	*ret_ms = sum;
	return 0;
}

const char *text_format_duration(uint64_t ms, char buf[static TEXT_DURATION])
{
	size_t n = 0;

	if (!ms)
		return strcpy(buf, "0");
	for (size_t i = 0; i < ARRAY_SIZE(durations); i++) {
		uint64_t value = ms / durations[i].factor;

		ms %= durations[i].factor;
		if (value)
			n += (size_t)snprintf(buf + n, TEXT_DURATION - n, "%llu%s",
					      (unsigned long long)value, durations[i].name);
	}
	return buf;
}

int text_parse_size(const char *text, uint64_t *ret_bytes)
{
	const char *p = text;
	uint64_t value = 0;
	size_t unit;
	int r = parse_digits(&p, &value);

	if (r < 0)
		return r;
	unit = *p ? find_unit(sizes, ARRAY_SIZE(sizes), p, strlen(p)) : ARRAY_SIZE(sizes) - 1;
	if (unit == ARRAY_SIZE(sizes))
		return -EINVAL;
	if (__builtin_mul_overflow(value, sizes[unit].factor, &value))
		return -ERANGE;
	*ret_bytes = value;
	return 0;
}

const char *text_format_size(uint64_t bytes, char buf[static TEXT_SIZE])
{
	size_t i = 0;

	while (bytes % sizes[i].factor || (!bytes && sizes[i].factor > 1))
		i++;
	(void)snprintf(buf, TEXT_SIZE, "%llu%s", (unsigned long long)(bytes / sizes[i].factor),
		       sizes[i].name);
	return buf;
}

const char *text_format_time(uint64_t ms, char buf[static TEXT_TIME])
{
	time_t seconds = (time_t)(ms / 1000);
	struct tm tm;
	size_t n;

	if (!gmtime_r(&seconds, &tm) || tm.tm_year > 8099) {
		ms = 0;
		tm = (struct tm){.tm_year = 70, .tm_mday = 1};
	}
	n = strftime(buf, TEXT_TIME, "%Y-%m-%dT%H:%M:%S", &tm);
	(void)snprintf(buf + n, TEXT_TIME - n, ".%03uZ", (unsigned int)(ms % 1000));
	return buf;
}

#define SUGGEST_MAX 64 /* longer words are not compared */

static char lower(char c)
{
	return c >= 'A' && c <= 'Z' ? (char)(c - 'A' + 'a') : c;
}

static unsigned int least(unsigned int a, unsigned int b)
{
	return a < b ? a : b;
}

/* Optimal string alignment: insert, remove, replace, swap neighbours; case does not count. */
static unsigned int distance_of(const char *a, size_t n, const char *b, size_t m)
{
	unsigned int rows[3][SUGGEST_MAX + 1];

	for (size_t j = 0; j <= m; j++)
		rows[0][j] = (unsigned int)j;
	for (size_t i = 1; i <= n; i++) {
		unsigned int *row = rows[i % 3], *above = rows[(i + 2) % 3];
		const unsigned int *twice = rows[(i + 1) % 3];

		row[0] = (unsigned int)i;
		for (size_t j = 1; j <= m; j++) {
			bool same = lower(a[i - 1]) == lower(b[j - 1]);

			row[j] = least(above[j - 1] + !same, least(above[j], row[j - 1]) + 1);
			if (i > 1 && j > 1 && lower(a[i - 1]) == lower(b[j - 2]) &&
			    lower(a[i - 2]) == lower(b[j - 1]))
				row[j] = least(row[j], twice[j - 2] + 1);
		}
	}
	return rows[n % 3][m];
}

const char *text_suggest(const char *word, const char *const *candidates, size_t n)
{
	size_t length = strlen(word);
	const char *best = NULL;
	unsigned int nearest = UINT_MAX;

	if (!length || length > SUGGEST_MAX)
		return NULL;
	for (size_t i = 0; i < n; i++) {
		size_t m = candidates[i] ? strlen(candidates[i]) : 0;
		/* A third of the letters may be wrong, but never all of them. */
		unsigned int allowed = (unsigned int)((length > m ? length : m) + 2) / 3;
		unsigned int distance;

		if (!m || m > SUGGEST_MAX)
			continue;
		distance = distance_of(word, length, candidates[i], m);
		if (distance <= allowed && distance < m && distance < nearest) {
			nearest = distance;
			best = candidates[i];
		}
	}
	return best;
}

static uint64_t mix(uint64_t a, uint64_t b)
{
	unsigned __int128 product = (unsigned __int128)a * b;

	return (uint64_t)product ^ (uint64_t)(product >> 64);
}

uint64_t text_hash(const void *data, size_t n, uint64_t seed)
{
	const unsigned char *p = data;
	uint64_t hash = seed ^ 0x9e3779b97f4a7c15ull, word = 0;
	size_t left = n;

	/* Bytes are put together by hand so that byte order does not matter. */
	for (; left >= 8; left -= 8, p += 8) {
		__builtin_memcpy(&word, p, 8);
#if __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
		word = __builtin_bswap64(word);
#endif
		hash = mix(hash ^ word, 0xff51afd7ed558ccdull);
	}
	word = 0;
	for (size_t i = 0; i < left; i++)
		word |= (uint64_t)p[i] << (8 * i);
	hash = mix(hash ^ word, 0xc4ceb9fe1a85ec53ull);
	return mix(hash ^ n, 0x9fb21c651e98df25ull);
}

size_t text_utf8_length(const char *text, size_t n)
{
	static const uint32_t smallest[] = {0, 0, 0x80, 0x800, 0x10000};
	const unsigned char *p = (const unsigned char *)text;
	size_t length;
	uint32_t code;

	if (!n)
		return 0;
	length = *p < 0x80 ? 1 : *p < 0xc0 ? 0 : *p < 0xe0 ? 2 : *p < 0xf0 ? 3 : *p < 0xf8 ? 4 : 0;
	if (length <= 1 || length > n)
		return length > n ? 0 : length;
	code = *p & (0x7fu >> length);
	for (size_t i = 1; i < length; i++) {
		if ((p[i] & 0xc0) != 0x80)
			return 0;
		code = code << 6 | (p[i] & 0x3fu);
	}
	if (code < smallest[length] || code > 0x10ffff || (code >= 0xd800 && code < 0xe000))
		return 0;
	return length;
}

/* Whether the n bytes are the beginning of a character, and all there is of it. */
static bool is_cut(const char *text, size_t n)
{
	unsigned char c = (unsigned char)*text;
	size_t whole = c < 0xc0 || c >= 0xf8 ? 0 : c < 0xe0 ? 2 : c < 0xf0 ? 3 : 4;

	for (size_t i = 1; i < n; i++) {
		if (((unsigned char)text[i] & 0xc0) != 0x80)
			return false;
	}
	return n < whole;
}

void text_make_printable(char *text)
{
	size_t left = strlen(text);

	while (left) {
		size_t n = text_utf8_length(text, left);
		unsigned char c = (unsigned char)*text;

		if (!n && is_cut(text, left)) {
			*text = '\0';
			return;
		}
		if (c < ' ' || c == 0x7f)
			*text = ' ';
		else if (!n)
			*text = '?';
		n = n ? n : 1;
		text += n;
		left -= n;
	}
}

static bool reserve(struct text_buffer *b, size_t more)
{
	size_t wanted = b->n + more + 1;
	char *grown;

	if (b->no_memory)
		return false;
	if (wanted <= b->capacity)
		return true;
	wanted = wanted < 128 ? 128 : wanted + wanted / 2;
	grown = realloc(b->data, wanted);
	if (!grown) {
		b->no_memory = true;
		return false;
	}
	b->data = grown;
	b->capacity = wanted;
	return true;
}

void text_append_bytes(struct text_buffer *b, const char *data, size_t n)
{
	if (!reserve(b, n))
		return;
	if (n)
		memcpy(b->data + b->n, data, n);
	b->n += n;
	b->data[b->n] = '\0';
}

void text_append(struct text_buffer *b, const char *text)
{
	text_append_bytes(b, text, strlen(text));
}

void text_append_format(struct text_buffer *b, const char *format, ...)
{
	va_list ap;
	int n;

	va_start(ap, format);
	n = vsnprintf(NULL, 0, format, ap);
	va_end(ap);
	if (n < 0 || !reserve(b, (size_t)n)) {
		b->no_memory = true;
		return;
	}
	va_start(ap, format);
	(void)vsnprintf(b->data + b->n, (size_t)n + 1, format, ap);
	va_end(ap);
	b->n += (size_t)n;
}

char *text_take(struct text_buffer *b)
{
	char *text = NULL;

	if (!b->n)
		text_append_bytes(b, "", 0);
	if (!b->no_memory)
		text = TAKE_PTR(b->data);
	text_done(b);
	return text;
}

void text_done(struct text_buffer *b)
{
	free(b->data);
	*b = (struct text_buffer){};
}

/* --- lines ---------------------------------------------------------------------------------- */

/* The rest of a line that began in an earlier piece. */
static int end_line(struct text_buffer *rest, const struct text_lines *to, const char *data,
		    size_t length)
{
	int r;

	text_append_bytes(rest, data, length);
	r = rest->no_memory ? -ENOMEM : to->on_line(to->arg, rest->data, rest->n);
	text_done(rest);
	return r;
}

int text_take_lines(struct text_buffer *rest, const struct text_lines *to, const char *data,
		    size_t length)
{
	const char *end;
	int r = 0;

	while (r >= 0 && length && (end = memchr(data, '\n', length))) {
		size_t n = (size_t)(end - data);

		if (n + rest->n > to->most)
			return -EMSGSIZE;
		if (rest->n)
			r = end_line(rest, to, data, n);
		else if (n)
			r = to->on_line(to->arg, data, n);
		length -= n + 1;
		data = end + 1;
	}
	if (r < 0)
		return r;
	if (length + rest->n > to->most)
		return -EMSGSIZE;
	if (length)
		text_append_bytes(rest, data, length);
	return rest->no_memory ? -ENOMEM : 0;
}
