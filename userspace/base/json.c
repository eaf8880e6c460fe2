/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * See json.h. Before: bytes that somebody sent. After: the codec. Gives JSON no meaning.
 */
#include "base/json.h"

#include <errno.h>
#include <stdio.h>

/* Most bytes of a large body are of no interest here: one look at a table passes them over. */
bool json_is_deeper(const char *text, size_t length, size_t max)
{
	static const bool counts[256] = {['"'] = true, ['\\'] = true, ['['] = true,
					 ['{'] = true, [']'] = true,  ['}'] = true};
	size_t depth = 0;
	bool quoted = false;

	for (size_t i = 0; i < length; i++) {
		char c = text[i];

		if (!counts[(unsigned char)c])
			continue;
		if (quoted && c == '\\')
			i++;
		else if (c == '"')
			quoted = !quoted;
		else if (!quoted && (c == '[' || c == '{') && ++depth > max)
			return true;
		else if (!quoted && (c == ']' || c == '}') && depth)
			depth--;
	}
	return false;
}

static void locate(const char *text, size_t position, size_t *ret_line, size_t *ret_column)
{
	size_t line = 1, start = 0;

	for (size_t i = 0; i < position; i++)
		if (text[i] == '\n') {
			line++;
			start = i + 1;
		}
	*ret_line = line;
	*ret_column = position - start + 1;
}

int json_parse(const char *text, size_t length, size_t depth, yyjson_doc **ret,
	       char ret_error[static JSON_ERROR])
{
	yyjson_read_err error = {};
	size_t line, column;
	yyjson_doc *doc;

	if (!length) {
		(void)snprintf(ret_error, JSON_ERROR, "it is empty; JSON is expected");
		return -EBADMSG;
	}
	if (json_is_deeper(text, length, depth)) {
		(void)snprintf(ret_error, JSON_ERROR, "the JSON is nested deeper than %zu", depth);
		return -EBADMSG;
	}
	/* Without YYJSON_READ_INSITU the text is only read. */
	doc = yyjson_read_opts((char *)text, length, YYJSON_READ_NOFLAG, NULL, &error);
	if (doc) {
		*ret = doc;
		return 0;
	}
	if (error.code == YYJSON_READ_ERROR_MEMORY_ALLOCATION)
		return -ENOMEM;
	locate(text, error.pos < length ? error.pos : length, &line, &column);
	(void)snprintf(ret_error, JSON_ERROR, "no JSON: %s at line %zu, column %zu", error.msg,
		       line, column);
	return -EBADMSG;
}

static void append_escaped(struct text_buffer *b, const char *key, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		if (key[i] == '~')
			text_append(b, "~0");
		else if (key[i] == '/')
			text_append(b, "~1");
		else
			text_append_bytes(b, key + i, 1);
	}
}

void json_append_pointer(struct text_buffer *b, const struct json_at *at)
{
	if (at->up)
		json_append_pointer(b, at->up);
	else
		text_append_bytes(b, at->key, at->length);
	if (!at->up)
		return;
	text_append(b, "/");
	if (at->key)
		append_escaped(b, at->key, at->length);
	else
		text_append_format(b, "%zu", at->index);
}

bool json_read_uint(yyjson_val *v, uint64_t *ret)
{
	const char *s = yyjson_get_str(v);
	uint64_t n = yyjson_get_uint(v);

	if (s && (!*s || strlen(s) != yyjson_get_len(v)))
		return false;
	for (; s && *s >= '0' && *s <= '9'; s++)
		if (__builtin_mul_overflow(n, 10, &n) ||
		    __builtin_add_overflow(n, (uint64_t)(*s - '0'), &n))
			return false;
	if (s ? *s : !yyjson_is_uint(v))
		return false;
	*ret = n;
	return true;
}

uint64_t json_uint(yyjson_val *v)
{
	uint64_t n = 0;

	(void)json_read_uint(v, &n);
	return n;
}
