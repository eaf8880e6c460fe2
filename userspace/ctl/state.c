/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * See state.h. Before: nouns have an item of the API. After: a table or a line.
 */
#include "ctl/state.h"

#include <inttypes.h>
#include <string.h>

#include "ctl/field.h"
#include "ctl/units.h"

/* " 21s left"; "" without an end. */
static const char *left(yyjson_val *o, char buf[static UNITS_TEXT + 8])
{
	char a[UNITS_TEXT];
	double seconds = field_number(o, "/leftSeconds");

	buf[0] = '\0';
	if (!field_has(o, "/leftSeconds"))
		return buf;
	if (seconds >= 1)
		(void)snprintf(buf, UNITS_TEXT + 8, " %s left",
			       seconds < 120 ? (snprintf(a, sizeof(a), "%.0fs", seconds), a)
					     : units_age((uint64_t)(seconds * 1000), a));
	else
		(void)snprintf(buf, UNITS_TEXT + 8, " <1s left");
	return buf;
}

/* " (2nd time)"; "" for the first. */
static const char *nth(uint64_t n, char buf[static UNITS_TEXT])
{
	static const char *const ends[] = {"th", "st", "nd", "rd"};
	bool is_teen = n % 100 >= 11 && n % 100 <= 13;

	buf[0] = '\0';
	if (n > 1)
		(void)snprintf(buf, UNITS_TEXT, " (%u%s time)", (unsigned int)n,
			       n % 10 < 4 && !is_teen ? ends[n % 10] : "th");
	return buf;
}

static void put_hold(yyjson_val *backend, char *buf)
{
	yyjson_val *hold = field_get(backend, "/hold");
	bool is_drain = strcmp(field_text(hold, "/kind"), "drain") == 0;
	char a[UNITS_TEXT + 8];

	(void)snprintf(buf, STATE_WORDS, "%s by hand%s%s", is_drain ? "drained" : "ejected",
		       field_has(hold, "/leftSeconds") ? "," : "", left(hold, a));
}

static void put_ejection(yyjson_val *backend, bool is_half_open, char *buf)
{
	yyjson_val *ejection = field_get(backend, "/ejection");
	char a[UNITS_TEXT + 8], b[UNITS_TEXT];

	(void)snprintf(buf, STATE_WORDS, "%s%s%s", is_half_open ? "half-open" : "ejected",
		       is_half_open ? "" : left(ejection, a),
		       nth(field_count(ejection, "/times"), b));
}

static void put_active(yyjson_val *backend, char *buf)
{
	if (field_has(backend, "/slowStartPercent"))
		(void)snprintf(buf, STATE_WORDS, "ok, slow start %" PRIu64 "%%",
			       field_count(backend, "/slowStartPercent"));
	else if (field_has(backend, "/usable") && !field_flag(backend, "/usable"))
		(void)snprintf(buf, STATE_WORDS, "ok, too far away");
	else
		(void)snprintf(buf, STATE_WORDS, "ok%s",
			       field_has(backend, "/shadowUntil") ? ", shadow ejected" : "");
}

const char *state_words(yyjson_val *backend, char buf[static STATE_WORDS])
{
	const char *state = field_text(backend, "/state");
	size_t n;

	if (strcmp(state, "active") == 0)
		put_active(backend, buf);
	else if (strcmp(state, "ejected") == 0 || strcmp(state, "half_open") == 0)
		put_ejection(backend, state[0] == 'h', buf);
	else if (strcmp(state, "held") == 0)
		put_hold(backend, buf);
	else
		(void)snprintf(buf, STATE_WORDS, "%.60s", state);
	n = strlen(buf);
	if (field_flag(backend, "/suspect"))
		(void)snprintf(buf + n, STATE_WORDS - n, ", suspect");
	return buf;
}

const char *state_why(yyjson_val *backend)
{
	const char *state = field_text(backend, "/state");

	if (strcmp(state, "held") == 0)
		return field_text(backend, "/hold/why");
	return field_text(backend, "/ejection/why");
}

enum print_style state_style(yyjson_val *backend)
{
	const char *state = field_text(backend, "/state");

	if (strcmp(state, "active") == 0)
		return field_flag(backend, "/suspect") ? STYLE_WARN : STYLE_PLAIN;
	if (strcmp(state, "ejected") == 0)
		return STYLE_BAD;
	return strcmp(state, "draining") == 0 ? STYLE_DIM : STYLE_WARN;
}
