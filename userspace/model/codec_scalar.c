/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Values with a unit or of a set of words, as codec_read.h promises them: durations, percentages,
 * choices. Before: yyjson parsed it. After: codec_policy.c knows what it means.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/text.h"
#include "model/codec_read.h"
#include "model/limits.h"

#define SHOWN 64 /* bytes of somebody's text that a message repeats */
#define WORDS_TEXT 128

/* --- durations ---------------------------------------------------------------------------- */

/* Large enough for a range's both ends with their units. */
struct range_text {
	char min[TEXT_DURATION], max[TEXT_DURATION];
};

static int refuse_duration(struct codec *c, const struct json_at *at, yyjson_val *json)
{
	if (yyjson_is_num(json))
		return codec_refuse(
			c, at,
			"%s must be a duration with its unit, such as 250ms, 30s or 5m, "
			"not the number %g",
			at->key, yyjson_get_num(json));
	if (!yyjson_is_str(json))
		return codec_refuse(c, at, "%s must be a duration such as 250ms, 30s or 5m, not %s",
				    at->key, codec_type_name(json));
	return codec_refuse(c, at, "%s \"%.*s\" is no duration such as 250ms, 30s or 5m", at->key,
			    SHOWN, yyjson_get_str(json));
}

int codec_read_duration(struct codec *c, const struct json_at *at, yyjson_val *json,
			struct codec_range range, uint64_t *ret)
{
	const char *text = yyjson_get_str(json);
	struct range_text shown;
	uint64_t ms = 0;
	int r = 0;

	if (text && strlen(text) == yyjson_get_len(json))
		r = text_parse_duration(text, &ms);
	else if (!yyjson_is_uint(json) || yyjson_get_uint(json))
		r = -EINVAL;
	if (r == -EINVAL)
		return refuse_duration(c, at, json);
	if (r < 0 || ms < range.min || ms > range.max)
		return codec_refuse(c, at, "%s %.*s is out of range (%s to %s)", at->key, SHOWN,
				    text ? text : "0", text_format_duration(range.min, shown.min),
				    text_format_duration(range.max, shown.max));
	*ret = ms;
	return 0;
}

/* --- percentages -------------------------------------------------------------------------- */

/* "50%" to 50; more than four digits are more than any range. -EINVAL. */
static int parse_percent(const char *text, size_t length, uint64_t *ret)
{
	size_t n = strspn(text, "0123456789");
	uint64_t value = 0;

	if (!n || n + 1 != length || text[n] != '%')
		return -EINVAL;
	for (size_t i = 0; i < n && value <= 9999; i++)
		value = value * 10 + (uint64_t)(text[i] - '0');
	*ret = value;
	return 0;
}

static int refuse_percent(struct codec *c, const struct json_at *at, yyjson_val *json)
{
	if (yyjson_is_real(json))
		return codec_refuse(c, at,
				    "%s %g is no whole percentage; \"50%%\" or 50 means half",
				    at->key, yyjson_get_real(json));
	if (!yyjson_is_str(json))
		return codec_refuse(c, at, "%s must be a percentage such as \"50%%\" or 50, not %s",
				    at->key, codec_type_name(json));
	return codec_refuse(c, at, "%s \"%.*s\" is no whole percentage such as \"50%%\" or 50",
			    at->key, SHOWN, yyjson_get_str(json));
}

int codec_read_percent(struct codec *c, const struct json_at *at, yyjson_val *json,
		       struct codec_range range, uint64_t *ret)
{
	uint64_t value = 0;
	bool negative = yyjson_is_sint(json) && yyjson_get_sint(json) < 0;

	if (yyjson_is_str(json)) {
		if (parse_percent(yyjson_get_str(json), yyjson_get_len(json), &value) < 0)
			return refuse_percent(c, at, json);
	} else if (yyjson_is_int(json)) {
		value = yyjson_get_uint(json);
	} else {
		return refuse_percent(c, at, json);
	}
	if (negative)
		return codec_refuse(c, at, "%s %lld%% is out of range (%llu%% to %llu%%)", at->key,
				    (long long)yyjson_get_sint(json), (unsigned long long)range.min,
				    (unsigned long long)range.max);
	if (value < range.min || value > range.max)
		return codec_refuse(c, at, "%s %llu%% is out of range (%llu%% to %llu%%)", at->key,
				    (unsigned long long)value, (unsigned long long)range.min,
				    (unsigned long long)range.max);
	*ret = value;
	return 0;
}

/* --- words -------------------------------------------------------------------------------- */

static size_t count_words(const char *const *words)
{
	size_t n = 0;

	while (words[n])
		n++;
	return n;
}

/* "p2c, random or roundRobin". */
static const char *format_words(const char *const *words, char buf[static WORDS_TEXT])
{
	size_t n = count_words(words), at = 0;

	buf[0] = '\0';
	for (size_t i = 0; i < n && at < WORDS_TEXT; i++)
		at += (size_t)snprintf(buf + at, WORDS_TEXT - at, "%s%s",
				       !i          ? ""
				       : i + 1 < n ? ", "
						   : " or ",
				       words[i]);
	return buf;
}

static int refuse_word(struct codec *c, const struct json_at *at, const char *text,
		       const struct codec_words *words)
{
	const char *name = at->key ? at->key : at->up->key;
	const char *meant = words->elsewhere ? words->elsewhere(text) : NULL;
	char all[WORDS_TEXT];

	if (meant)
		return codec_refuse(c, at, "%s \"%s\" is called %s here", name, text, meant);
	meant = codec_find_meant(text, words->words, count_words(words->words));
	if (meant)
		return codec_refuse(c, at, "%s \"%s\" is not known; did you mean \"%s\"?", name,
				    text, meant);
	return codec_refuse(c, at, "%s \"%s\" is not known; %s is expected", name, text,
			    format_words(words->words, all));
}

int codec_read_word(struct codec *c, const struct json_at *at, yyjson_val *json,
		    const struct codec_words *words, uint64_t *ret)
{
	const char *text;
	int r = codec_read_text(c, at, json, LIMIT_NAME, &text);

	if (r < 0)
		return r;
	for (uint64_t i = 0; words->words[i]; i++)
		if (!strcmp(text, words->words[i])) {
			*ret = i;
			return 0;
		}
	return refuse_word(c, at, text, words);
}
