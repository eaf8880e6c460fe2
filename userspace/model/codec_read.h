/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * How the codec reads a member: of the right type, within its range, known by its name, once. What
 * is wrong becomes a problem with its place, and reading goes on. Only the codec's files include
 * this.
 */
#pragma once

#include <yyjson.h>

#include "base/json.h"
#include "model/problem.h"

#define CODEC_KEYS_MAX 12

/* What a decoder carries along. */
struct codec {
	const char *source;
	struct problems *problems;
};

/* The keys that an object may have, and its name in messages. */
struct codec_shape {
	const char *name; /* "Service.spec" */
	const char *keys[CODEC_KEYS_MAX];
	size_t n;
	/* What a key that people know from elsewhere is called here; NULL: it is not known. */
	const char *(*elsewhere)(const char *key);
};

/* Adds a problem at the place. Returns -EINVAL, for return. */
__attribute__((format(printf, 3, 4))) int codec_refuse(struct codec *c, const struct json_at *at,
						       const char *format, ...);
/* As codec_refuse, about the last key of the place. */
__attribute__((format(printf, 3, 4))) int
codec_refuse_key(struct codec *c, const struct json_at *at, const char *format, ...);

struct json_at codec_at_key(const struct json_at *up, const char *key);
struct json_at codec_at_index(const struct json_at *up, size_t index);

/* The one of n known words that `word` was meant to be: but for case, "_" and "-", or by edit
 * distance. NULL: none. */
const char *codec_find_meant(const char *word, const char *const *known, size_t n);

/* "text", "a list" ...: what was found, for messages. */
const char *codec_type_name(yyjson_val *json);

/*
 * The members by the order of shape->keys into values (NULL: absent). 0, or -EINVAL when there was
 * anything unknown, double, or `json` is no object; values are usable all the same.
 */
int codec_read_members(struct codec *c, const struct json_at *at, yyjson_val *json,
		       const struct codec_shape *shape, yyjson_val **values);

/* The words that a value may be. */
struct codec_words {
	const char *const *words; /* ends with NULL */
	/* As of struct codec_shape. */
	const char *(*elsewhere)(const char *word);
};

/* A text without NUL bytes, of at most `max` bytes. The result belongs to the document. */
int codec_read_text(struct codec *c, const struct json_at *at, yyjson_val *json, size_t max,
		    const char **ret);
/* An RFC 1123 label: lower-case letters, digits and inner '-', at most LIMIT_NAME bytes. */
int codec_read_name(struct codec *c, const struct json_at *at, yyjson_val *json, const char **ret);
/* A host's name: such labels with "." between them, at most LIMIT_NODE bytes. */
int codec_read_host(struct codec *c, const struct json_at *at, yyjson_val *json, const char **ret);
/* A source's name, such as "consul/dc1", of at most LIMIT_SOURCE bytes. */
int codec_read_source(struct codec *c, const struct json_at *at, yyjson_val *json,
		      const char **ret);
int codec_read_bool(struct codec *c, const struct json_at *at, yyjson_val *json, bool *ret);
/* A whole number within [min, max]. The last key of the place names it. */
struct codec_range {
	uint64_t min, max;
};
int codec_read_number(struct codec *c, const struct json_at *at, yyjson_val *json,
		      struct codec_range range, uint64_t *ret);
/* "250ms", "1h30m" to ms, within [min, max]; the number 0 is one, too. */
int codec_read_duration(struct codec *c, const struct json_at *at, yyjson_val *json,
			struct codec_range range, uint64_t *ret);
/* "50%" or 50, within [min, max]. */
int codec_read_percent(struct codec *c, const struct json_at *at, yyjson_val *json,
		       struct codec_range range, uint64_t *ret);
/* One of `words`, which end with NULL; its index. */
int codec_read_word(struct codec *c, const struct json_at *at, yyjson_val *json,
		    const struct codec_words *words, uint64_t *ret);
