/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Members of a JSON answer by pointer ("/status/traffic/attempts"), forgiving: what is absent or of
 * another type reads as empty, so that a table can be drawn of anything a daemon of another version
 * sends.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <yyjson.h>

static inline yyjson_val *field_get(yyjson_val *v, const char *pointer)
{
	return v ? yyjson_ptr_get(v, pointer) : NULL;
}

/* "" when absent. */
static inline const char *field_text(yyjson_val *v, const char *pointer)
{
	const char *text = yyjson_get_str(field_get(v, pointer));

	return text ? text : "";
}

static inline bool field_has(yyjson_val *v, const char *pointer)
{
	yyjson_val *found = field_get(v, pointer);

	return found && !yyjson_is_null(found);
}

static inline double field_number(yyjson_val *v, const char *pointer)
{
	return yyjson_get_num(field_get(v, pointer));
}

/* Whole and not negative; 0 otherwise. */
static inline uint64_t field_count(yyjson_val *v, const char *pointer)
{
	return yyjson_get_uint(field_get(v, pointer));
}

static inline bool field_flag(yyjson_val *v, const char *pointer)
{
	return yyjson_get_bool(field_get(v, pointer));
}

static inline size_t field_length(yyjson_val *v, const char *pointer)
{
	return yyjson_arr_size(field_get(v, pointer));
}
