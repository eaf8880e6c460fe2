/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * See codec_read.h. Before: yyjson parsed it. After: codec*.c know what it means.
 */
#include "model/codec_read.h"

#include <assert.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/cleanup.h"
#include "model/codec.h"
#include "model/limits.h"

#define SHOWN 64 /* bytes of somebody's text that a message repeats */

static void add_problem(struct codec *c, const struct json_at *at, bool key, const char *message)
{
	struct text_buffer pointer = {};

	json_append_pointer(&pointer, at);
	if (pointer.no_memory)
		c->problems->no_memory = true;
	else if (key)
		problem_add_key(c->problems, pointer.data ? pointer.data : "", "%s", message);
	else
		problem_add(c->problems, pointer.data ? pointer.data : "", "%s", message);
	text_done(&pointer);
}

int codec_refuse(struct codec *c, const struct json_at *at, const char *format, ...)
{
	char message[1024];
	va_list ap;

	va_start(ap, format);
	(void)vsnprintf(message, sizeof(message), format, ap);
	va_end(ap);
	add_problem(c, at, false, message);
	return -EINVAL;
}

int codec_refuse_key(struct codec *c, const struct json_at *at, const char *format, ...)
{
	char message[1024];
	va_list ap;

	va_start(ap, format);
	(void)vsnprintf(message, sizeof(message), format, ap);
	va_end(ap);
	add_problem(c, at, true, message);
	return -EINVAL;
}

struct json_at codec_at_key(const struct json_at *up, const char *key)
{
	return (struct json_at){.up = up, .key = key, .length = strlen(key)};
}

struct json_at codec_at_index(const struct json_at *up, size_t index)
{
	return (struct json_at){.up = up, .index = index};
}

const char *codec_type_name(yyjson_val *json)
{
	switch (yyjson_get_type(json)) {
	case YYJSON_TYPE_NULL:
		return "nothing";
	case YYJSON_TYPE_BOOL:
		return "true or false";
	case YYJSON_TYPE_NUM:
		return "a number";
	case YYJSON_TYPE_STR:
		return "a text";
	case YYJSON_TYPE_ARR:
		return "a list";
	default:
		return "a mapping";
	}
}

static size_t find_key(const struct codec_shape *shape, yyjson_val *key)
{
	size_t i;

	for (i = 0; i < shape->n; i++)
		if (yyjson_equals_str(key, shape->keys[i]))
			break;
	return i;
}

static char folded(char c)
{
	return c >= 'A' && c <= 'Z' ? (char)(c - 'A' + 'a') : c;
}

/* Whether they differ in nothing but case and "_", "-": "base_ejection_time", "baseEjectionTime".
 */
static bool is_same_word(const char *a, const char *b)
{
	for (;;) {
		a += strspn(a, "_-");
		b += strspn(b, "_-");
		if (folded(*a) != folded(*b))
			return false;
		if (!*a)
			return true;
		a++;
		b++;
	}
}

const char *codec_find_meant(const char *word, const char *const *known, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (is_same_word(word, known[i]))
			return known[i];
	return text_suggest(word, known, n);
}

static int refuse_unknown(struct codec *c, const struct json_at *at,
			  const struct codec_shape *shape, yyjson_val *key)
{
	const char *word = yyjson_get_str(key), *meant;

	meant = shape->elsewhere ? shape->elsewhere(word) : NULL;
	if (meant)
		return codec_refuse_key(c, at, "unknown key \"%.*s\" in %s; here it is %s", SHOWN,
					word, shape->name, meant);
	meant = codec_find_meant(word, shape->keys, shape->n);
	if (meant)
		return codec_refuse_key(c, at, "unknown key \"%.*s\" in %s; did you mean \"%s\"?",
					SHOWN, word, shape->name, meant);
	return codec_refuse_key(c, at, "unknown key \"%.*s\" in %s", SHOWN, word, shape->name);
}

int codec_read_members(struct codec *c, const struct json_at *at, yyjson_val *json,
		       const struct codec_shape *shape, yyjson_val **values)
{
	yyjson_val *key, *value;
	size_t i, n;
	int r = 0;

	assert(shape->n <= CODEC_KEYS_MAX);
	memset(values, 0, shape->n * sizeof(*values));
	if (!yyjson_is_obj(json))
		return codec_refuse(c, at, "%s must be a mapping, not %s", shape->name,
				    codec_type_name(json));
	yyjson_obj_foreach (json, i, n, key, value) {
		size_t which = find_key(shape, key);
		struct json_at here = {
			.up = at, .key = yyjson_get_str(key), .length = yyjson_get_len(key)};

		if (which == shape->n)
			r = refuse_unknown(c, &here, shape, key);
		else if (values[which])
			r = codec_refuse_key(c, &here, "key \"%s\" is given twice in %s",
					     shape->keys[which], shape->name);
		else
			values[which] = value;
	}
	return r;
}

/* "port" of ".../ports/0/port", "addresses" of ".../addresses/1": what to call the value. */
static const char *place_name(const struct json_at *at)
{
	while (at->up && !at->key)
		at = at->up;
	return at->up ? at->key : "the document";
}

int codec_read_text(struct codec *c, const struct json_at *at, yyjson_val *json, size_t max,
		    const char **ret)
{
	const char *text = yyjson_get_str(json);

	if (!text)
		return codec_refuse(c, at, "%s must be a text, not %s", place_name(at),
				    codec_type_name(json));
	if (yyjson_get_len(json) > max)
		return codec_refuse(c, at, "%s is %zu bytes long, at most %zu are allowed",
				    place_name(at), yyjson_get_len(json), max);
	if (strlen(text) != yyjson_get_len(json))
		return codec_refuse(c, at, "%s holds a NUL byte", place_name(at));
	*ret = text;
	return 0;
}

/* Up to the end or a dot; `*end` is set to it. */
static bool is_label(const char *text, const char **end)
{
	size_t n = 0;

	for (; text[n] && text[n] != '.'; n++) {
		char ch = text[n];

		if (!(ch >= 'a' && ch <= 'z') && !(ch >= '0' && ch <= '9') && ch != '-')
			return false;
	}
	*end = text + n;
	return n && n <= LIMIT_NAME && text[0] != '-' && text[n - 1] != '-';
}

static bool is_host(const char *text)
{
	while (is_label(text, &text)) {
		if (!*text)
			return true;
		text++;
	}
	return false;
}

bool codec_is_name(const char *text)
{
	const char *end;

	return is_label(text, &end) && !*end;
}

bool codec_is_host(const char *text)
{
	return strlen(text) <= LIMIT_NODE && is_host(text);
}

int codec_read_name(struct codec *c, const struct json_at *at, yyjson_val *json, const char **ret)
{
	const char *text;
	int r = codec_read_text(c, at, json, LIMIT_NAME, &text);

	if (r < 0)
		return r;
	if (!codec_is_name(text))
		return codec_refuse(c, at,
				    "%s \"%s\" must be lower-case letters, digits and inner \"-\" "
				    "(an RFC 1123 label)",
				    place_name(at), text);
	*ret = text;
	return 0;
}

int codec_read_host(struct codec *c, const struct json_at *at, yyjson_val *json, const char **ret)
{
	const char *text;
	int r = codec_read_text(c, at, json, LIMIT_NODE, &text);

	if (r < 0)
		return r;
	if (!is_host(text))
		return codec_refuse(
			c, at,
			"%s \"%.*s\" must be lower-case letters, digits and inner \"-\", "
			"with single dots between (an RFC 1123 name)",
			place_name(at), SHOWN, text);
	*ret = text;
	return 0;
}

bool codec_is_source(const char *text)
{
	static const char allowed[] = "abcdefghijklmnopqrstuvwxyz0123456789._-";
	size_t first = strspn(text, allowed);

	if (!first || strlen(text) > LIMIT_SOURCE || strchr("._-", text[0]))
		return false;
	if (!text[first])
		return true;
	return text[first] == '/' && text[first + 1] &&
	       !text[first + 1 + strspn(text + first + 1, allowed)];
}

int codec_read_source(struct codec *c, const struct json_at *at, yyjson_val *json, const char **ret)
{
	const char *text;
	int r = codec_read_text(c, at, json, LIMIT_SOURCE, &text);

	if (r < 0)
		return r;
	if (!codec_is_source(text))
		return codec_refuse(c, at, "%s \"%s\" is no source's name, such as consul/dc1",
				    place_name(at), text);
	*ret = text;
	return 0;
}

int codec_read_number(struct codec *c, const struct json_at *at, yyjson_val *json,
		      struct codec_range range, uint64_t *ret)
{
	const char *name = place_name(at);

	if (yyjson_is_str(json))
		return codec_refuse(c, at, "%s must be a number, not the text \"%.*s\"", name,
				    SHOWN, yyjson_get_str(json));
	if (!yyjson_is_num(json))
		return codec_refuse(c, at, "%s must be a number, not %s", name,
				    codec_type_name(json));
	if (yyjson_is_real(json))
		return codec_refuse(c, at, "%s %g is not a whole number (%llu to %llu)", name,
				    yyjson_get_real(json), (unsigned long long)range.min,
				    (unsigned long long)range.max);
	if (yyjson_is_sint(json) && yyjson_get_sint(json) < 0)
		return codec_refuse(c, at, "%s %lld is out of range (%llu to %llu)", name,
				    (long long)yyjson_get_sint(json), (unsigned long long)range.min,
				    (unsigned long long)range.max);
	if (yyjson_get_uint(json) < range.min || yyjson_get_uint(json) > range.max)
		return codec_refuse(c, at, "%s %llu is out of range (%llu to %llu)", name,
				    (unsigned long long)yyjson_get_uint(json),
				    (unsigned long long)range.min, (unsigned long long)range.max);
	*ret = yyjson_get_uint(json);
	return 0;
}

int codec_read_bool(struct codec *c, const struct json_at *at, yyjson_val *json, bool *ret)
{
	if (!yyjson_is_bool(json))
		return codec_refuse(c, at, "%s must be true or false, not %s", place_name(at),
				    codec_type_name(json));
	*ret = yyjson_is_true(json);
	return 0;
}
