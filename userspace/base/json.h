/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What yyjson leaves to its callers: a bound on nesting before anything is built, and RFC 6901
 * pointers that are only written out when somebody has to be told one.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>
#include <yyjson.h>

#include "base/text.h"

#define JSON_ERROR 160

/* True when arrays and objects of the text nest deeper than `depth`. */
bool json_is_deeper(const char *text, size_t length, size_t depth);

/*
 * Parses UTF-8 JSON, nesting at most `depth`. 0 and a document for yyjson_doc_free; -EBADMSG with a
 * sentence in ret_error that names the place; -ENOMEM.
 */
int json_parse(const char *text, size_t length, size_t depth, yyjson_doc **ret,
	       char ret_error[static JSON_ERROR]);

/* A number that is not negative, or a text of one, as protobuf and Java write 64-bit ones. False:
 * neither. NULL is fine. */
bool json_read_uint(yyjson_val *v, uint64_t *ret);
uint64_t json_uint(yyjson_val *v); /* 0: neither */

/* Where a decoder is: a chain on its stack, the first one without `up`. */
struct json_at {
	const struct json_at *up;
	const char
		*key;  /* member's key; of the first: what pointers begin with ("" or "/items/3") */
	size_t length; /* of key */
	size_t index;  /* array's element, when key is NULL */
};

/* The pointer, '~' and '/' in keys escaped. */
void json_append_pointer(struct text_buffer *b, const struct json_at *at);
