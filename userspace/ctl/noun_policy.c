/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Policies: a row, and every key with the value in force and where it came from. The keys are those
 * that the daemon sends, so that one of another version is shown whole.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "ctl/field.h"
#include "ctl/noun.h"
#include "ctl/report.h"
#include "ctl/units.h"

#define VALUE_TEXT 128 /* of a joined list; longer ones are cut */
#define PATH_TEXT 160
#define DEPTH_MAX 8

static const struct table_column columns[] = {
	{"NAMESPACE", .shrink_to = 8},
	{"NAME", .shrink_to = 12},
	{"LOAD BALANCING"},
	{"EJECTS AFTER", .shrink_to = 16, .optional = true},
	{"FAILOVER", .shrink_to = 12, .optional = true},
	{"EJECTED FOR", .wide = true},
	{"LIMITS", .wide = true},
	{"FALLBACK", .shrink_to = 12, .wide = true},
	{"SOURCE", .shrink_to = 8},
	{"VERSION", .wide = true},
};

/* --- values -------------------------------------------------------------------------------------
 */

__attribute__((format(printf, 2, 3))) static void append(char buf[static VALUE_TEXT],
							 const char *format, ...)
{
	size_t n = strlen(buf);
	va_list ap;

	va_start(ap, format);
	(void)vsnprintf(buf + n, VALUE_TEXT - n, format, ap);
	va_end(ap);
}

static const char *join(yyjson_val *list, char buf[static VALUE_TEXT])
{
	yyjson_val *item;
	size_t i, n;

	buf[0] = '\0';
	yyjson_arr_foreach (list, i, n, item)
		append(buf, "%s%s", i ? "," : "", yyjson_is_str(item) ? yyjson_get_str(item) : "?");
	return buf;
}

static const char *format(yyjson_val *value, char buf[static VALUE_TEXT])
{
	buf[0] = '\0';
	if (yyjson_is_str(value))
		append(buf, "%s", yyjson_get_str(value));
	else if (yyjson_is_bool(value))
		append(buf, "%s", yyjson_is_true(value) ? "true" : "false");
	else if (yyjson_is_num(value))
		append(buf, "%.12g", yyjson_get_num(value));
	else if (yyjson_arr_size(value) > 0)
		(void)join(value, buf);
	else if (yyjson_is_arr(value))
		append(buf, "none");
	else
		append(buf, "?");
	return buf;
}

/* A daemon that does not say what is in force is taken by what was written. */
static yyjson_val *in_force(const struct noun_item *item)
{
	yyjson_val *effective = field_get(item->now, "/status/effective");

	return effective ? effective : field_get(item->now, "/spec");
}

/* --- a row --------------------------------------------------------------------------------------
 */

static bool is_zero(const char *text)
{
	return strspn(text, "0") > 0 &&
	       (text[strspn(text, "0")] < '0' || text[strspn(text, "0")] > '9');
}

/* "5 in a row, 50% of 20 in 10s, 80% over 1s"; nothing when nothing ejects. */
static const char *ejects_after(yyjson_val *v, char buf[static VALUE_TEXT])
{
	const char *share = field_text(v, "/outlierDetection/failureRatio");
	const char *slow = field_text(v, "/outlierDetection/slowConnect/threshold");
	uint64_t row = field_count(v, "/outlierDetection/consecutiveFailures");

	buf[0] = '\0';
	if (row)
		append(buf, ", %" PRIu64 " in a row", row);
	if (*share && !is_zero(share))
		append(buf, ", %s of %" PRIu64 " in %s", share,
		       field_count(v, "/outlierDetection/minVolume"),
		       field_text(v, "/outlierDetection/window"));
	if (*slow && !is_zero(slow))
		append(buf, ", %s over %s", field_text(v, "/outlierDetection/slowConnect/ratio"),
		       slow);
	if (*buf && field_flag(v, "/outlierDetection/shadow"))
		append(buf, ", only told");
	return *buf ? buf + 2 : buf;
}

static const char *ejected_for(yyjson_val *v, char buf[static VALUE_TEXT])
{
	buf[0] = '\0';
	if (field_has(v, "/outlierDetection/baseEjectionTime"))
		append(buf, "%s to %s, %" PRIu64 "%%",
		       field_text(v, "/outlierDetection/baseEjectionTime"),
		       field_text(v, "/outlierDetection/maxEjectionTime"),
		       field_count(v, "/outlierDetection/maxEjectionPercent"));
	return buf;
}

static const char *failover(yyjson_val *v, char buf[static VALUE_TEXT])
{
	uint64_t attempts = field_count(v, "/failover/attempts");
	yyjson_val *on = field_get(v, "/failover/on");
	char list[VALUE_TEXT];

	buf[0] = '\0';
	if (field_has(v, "/failover/attempts") && (!attempts || !yyjson_arr_size(on)))
		append(buf, "off");
	else if (attempts)
		append(buf, "%" PRIu64 " on %s", attempts, join(on, list));
	return buf;
}

static const char *limits(yyjson_val *v, char buf[static VALUE_TEXT])
{
	static const char *const names[] = {"service", "backend", "pending"};
	char pointer[64];

	buf[0] = '\0';
	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		uint64_t n;

		(void)snprintf(pointer, sizeof(pointer), "/connectionLimits/%s", names[i]);
		n = field_count(v, pointer);
		if (n)
			append(buf, "%s%s %" PRIu64, *buf ? ", " : "", names[i], n);
	}
	return buf;
}

static void row(struct table *t, const struct noun_item *item)
{
	yyjson_val *v = in_force(item);
	char buf[VALUE_TEXT];

	table_add_text(t, field_text(item->now, "/metadata/namespace"));
	table_add_text(t, field_text(item->now, "/metadata/name"));
	table_add_text(t, field_text(v, "/loadBalancer/algorithm"));
	table_add_text(t, ejects_after(v, buf));
	table_add_text(t, failover(v, buf));
	table_add_text(t, ejected_for(v, buf));
	table_add_text(t, limits(v, buf));
	table_add_text(t, join(field_get(v, "/fallback"), buf));
	table_add_text(t, field_text(item->now, "/metadata/source"));
	table_add_text(t, field_text(item->now, "/metadata/resourceVersion"));
}

/* --- at length ----------------------------------------------------------------------------------
 */

struct walk {
	struct table *table;
	char path[PATH_TEXT];
	unsigned int depth;
};

/* Mappings within mappings, "outlierDetection.slowConnect.ratio"; `written` is the same place of
 * what a person wrote, NULL where there is none. */
static void add_keys(struct walk *w, yyjson_val *object, yyjson_val *written)
{
	size_t length = strlen(w->path), i, n;
	yyjson_val *key, *value;
	char buf[VALUE_TEXT];

	if (!yyjson_is_obj(object))
		return; /* an answer without it: the library's loop would step beyond a NULL */
	yyjson_obj_foreach (object, i, n, key, value) {
		yyjson_val *mine = written ? yyjson_obj_get(written, yyjson_get_str(key)) : NULL;

		(void)snprintf(w->path + length, PATH_TEXT - length, "%s%s", length ? "." : "",
			       yyjson_get_str(key));
		if (yyjson_is_obj(value) && w->depth < DEPTH_MAX) {
			w->depth++;
			add_keys(w, value, mine);
			w->depth--;
		} else {
			table_add_text(w->table, w->path);
			table_add_text(w->table, format(value, buf));
			table_add_text(w->table, mine ? "policy" : "default");
			table_style(w->table, mine ? STYLE_BOLD : STYLE_DIM);
		}
		w->path[length] = '\0';
	}
}

static int print_keys(struct ctl *c, const struct noun_item *item)
{
	static const struct table_column titles[] = {{"KEY"}, {"VALUE", .shrink_to = 16}, {"FROM"}};
	struct table_layout layout = {.indent = "  ", .width = c->width, .colour = c->colour};
	_cleanup_(table_freep) struct table *t = table_new(titles, ARRAY_SIZE(titles));
	struct walk w = {.table = t};
	int r;

	if (!t)
		return report_error(c, -ENOMEM, "out of memory");
	add_keys(&w, in_force(item), field_get(item->now, "/spec"));
	fputs("In force\n", c->out);
	r = table_print(t, c->out, &layout);
	return r < 0 ? report_error(c, r, "out of memory") : 0;
}

static void print_missing(struct ctl *c, yyjson_val *item)
{
	yyjson_val *list = field_get(item, "/status/fallback"), *one;
	size_t i, n;

	yyjson_arr_foreach (list, i, n, one) {
		if (field_flag(one, "/exists"))
			continue;
		fprintf(c->out, "%-12s", "Missing");
		print_style_on(c->out, c->colour, STYLE_WARN);
		fputs("fallback ", c->out);
		(void)print_text(c->out, field_text(one, "/namespace"));
		fputc('/', c->out);
		(void)print_text(c->out, field_text(one, "/name"));
		fputs(" is not declared; it counts as soon as it is", c->out);
		print_style_off(c->out, c->colour, STYLE_WARN);
		fputc('\n', c->out);
	}
}

static int describe(struct ctl *c, const struct noun_item *item)
{
	uint64_t users = field_count(item->now, "/status/services");
	char a[UNITS_TEXT], b[VALUE_TEXT];

	noun_print_fact(c, "Name", field_text(item->now, "/metadata/name"));
	noun_print_fact(c, "Namespace", field_text(item->now, "/metadata/namespace"));
	noun_print_labels(c, item->now);
	noun_print_fact(c, "Source", field_text(item->now, "/metadata/source"));
	noun_print_fact(c, "Version", field_text(item->now, "/metadata/resourceVersion"));
	noun_print_fact(c, "Balancing", field_text(in_force(item), "/loadBalancer/algorithm"));
	(void)snprintf(b, sizeof(b), "%s service%s", units_grouped(users, a),
		       users == 1 ? "" : "s");
	if (field_has(item->now, "/status/services"))
		noun_print_fact(c, "Used by", users ? b : "no service");
	print_missing(c, item->now);
	return print_keys(c, item);
}

const struct noun noun_policy = {
	.name = "policies",
	.singular = "policy",
	.aliases = "pol trafficpolicy trafficpolicies tp",
	.path = "/v1/policies",
	.namespace_at = "/metadata/namespace",
	.name_at = "/metadata/name",
	.has_one = true,
	.can_delete = true,
	.columns = columns,
	.n_columns = ARRAY_SIZE(columns),
	.row = row,
	.describe = describe,
};
