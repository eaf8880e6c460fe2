/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Services: a row, and the long description.
 */
#include <errno.h>
#include <string.h>

#include "ctl/field.h"
#include "ctl/noun.h"
#include "ctl/report.h"
#include "ctl/units.h"

#define LIST_TEXT 128 /* of a joined list in one cell; longer ones end in "..." */

static const struct table_column columns[] = {
	{"NAMESPACE", .shrink_to = 8},
	{"NAME", .shrink_to = 12},
	{"ADDRESS", .shrink_to = 15},
	{"PORTS", .shrink_to = 10, .optional = true},
	{"BACKENDS", .right = true},
	{"USABLE", .right = true},
	{"RATE", .right = true},
	{"FAILED", .right = true},
	{"P50", .right = true, .optional = true},
	{"P99", .right = true, .optional = true},
	{"CONNECTS", .right = true, .wide = true},
	{"ACTIVE", .right = true, .wide = true},
	{"POLICY", .wide = true},
	{"SOURCE", .shrink_to = 8, .optional = true},
	{"", .shrink_to = 12, .optional = true},
};

/* Appends ",text"; silently full at the end, which the caller's "..." shows. */
static void join(char *buf, size_t size, const char *text)
{
	size_t n = strlen(buf);

	(void)snprintf(buf + n, size - n, "%s%s", n ? "," : "", text);
}

/* Those in force: given in the manifest, or allocated. */
static const char *addresses(yyjson_val *item, char buf[static LIST_TEXT])
{
	yyjson_val *list = field_get(item, "/status/addresses");
	yyjson_val *value;
	size_t i, n;

	buf[0] = '\0';
	yyjson_arr_foreach (list, i, n, value)
		join(buf, LIST_TEXT, yyjson_is_str(value) ? yyjson_get_str(value) : "?");
	if (n == 0)
		(void)snprintf(buf, LIST_TEXT, "%s", field_text(item, "/spec/address"));
	return buf;
}

static const char *ports(yyjson_val *item, char buf[static LIST_TEXT])
{
	yyjson_val *list = field_get(item, "/spec/ports");
	yyjson_val *port;
	size_t i, n;

	buf[0] = '\0';
	yyjson_arr_foreach (list, i, n, port) {
		const char *protocol = field_text(port, "/protocol");
		uint64_t number = field_count(port, "/port");
		char text[32];

		if (!*protocol)
			protocol = "TCP";
		if (number == 0)
			(void)snprintf(text, sizeof(text), "*/%.8s", protocol);
		else
			(void)snprintf(text, sizeof(text), "%llu/%.8s", (unsigned long long)number,
				       protocol);
		join(buf, LIST_TEXT, text);
	}
	return buf;
}

/* Connects that the backends are to blame for, and those that found no backend. */
static uint64_t failures(yyjson_val *item)
{
	static const char *const blamed[] = {
		"/status/traffic/outcomes/refused", "/status/traffic/outcomes/timeout",
		"/status/traffic/outcomes/unreachable", "/status/traffic/outcomes/reset",
		"/status/traffic/refused/no_backend"};
	uint64_t sum = 0;

	for (size_t i = 0; i < ARRAY_SIZE(blamed); i++)
		sum += field_count(item, blamed[i]);
	return sum;
}

/* Connects asked for: those with a backend and those that found none. */
static uint64_t asked(yyjson_val *item)
{
	return field_count(item, "/status/traffic/attempts") +
	       field_count(item, "/status/traffic/refused/no_backend");
}

static uint64_t since(uint64_t now, uint64_t before)
{
	return now > before ? now - before : 0;
}

static void add_traffic(struct table *t, const struct noun_item *item)
{
	uint64_t n = asked(item->now), failed = failures(item->now);
	uint64_t grown = item->before ? since(n, asked(item->before)) : 0;
	char a[UNITS_TEXT];

	if (item->before && item->seconds > 0)
		table_add(t, "%s/s", units_short((double)grown / item->seconds, a));
	else
		table_add_text(t, "");
	if (item->recent)
		failed = item->before ? since(failed, failures(item->before)) : 0;
	table_add_text(t, units_percent((double)failed, (double)(item->recent ? grown : n), a));
	if (failed > 0)
		table_style(t, STYLE_WARN);
	table_add_text(t, units_seconds(field_number(item->now, "/status/traffic/p50Seconds"), a));
	table_add_text(t, units_seconds(field_number(item->now, "/status/traffic/p99Seconds"), a));
	table_add_text(t, units_short((double)n, a));
	table_add_text(t, units_short(field_number(item->now, "/status/traffic/active"), a));
}

/* "1 ejected, 2 held, 1 suspect": what there is of it. */
static void put_aside(yyjson_val *item, char buf[static LIST_TEXT])
{
	static const struct {
		const char *at, *text;
	} rows[] = {{"/status/ejected", "ejected"},
		    {"/status/held", "held"},
		    {"/status/suspect", "suspect"}};

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		unsigned int count = (unsigned int)field_count(item, rows[i].at);
		size_t n = strlen(buf);

		if (count)
			(void)snprintf(buf + n, LIST_TEXT - n, "%s%u %s", n ? ", " : "", count,
				       rows[i].text);
	}
}

/* What there is to say besides numbers, the gravest first. */
static const char *remark(yyjson_val *item, char buf[static LIST_TEXT])
{
	char a[UNITS_TEXT];

	if (field_count(item, "/status/usable") == 0)
		return "no usable backend";
	buf[0] = '\0';
	if (field_has(item, "/status/panic"))
		(void)snprintf(
			buf, LIST_TEXT, "panic for %s",
			units_age((uint64_t)(field_number(item, "/status/panic/seconds") * 1000),
				  a));
	else
		put_aside(item, buf);
	return buf;
}

static enum print_style remark_style(yyjson_val *item)
{
	bool is_bad = field_count(item, "/status/usable") == 0 || field_has(item, "/status/panic");

	return is_bad ? STYLE_BAD : STYLE_WARN;
}

static void row(struct table *t, const struct noun_item *item)
{
	uint64_t usable = field_count(item->now, "/status/usable");
	size_t backends = field_length(item->now, "/spec/endpoints");
	const char *policy = field_text(item->now, "/spec/policy");
	char list[LIST_TEXT];

	table_add_text(t, field_text(item->now, "/metadata/namespace"));
	table_add_text(t, field_text(item->now, "/metadata/name"));
	table_add_text(t, addresses(item->now, list));
	table_add_text(t, ports(item->now, list));
	table_add(t, "%zu", backends);
	table_add(t, "%llu", (unsigned long long)usable);
	if (usable < backends)
		table_style(t, usable == 0 ? STYLE_BAD : STYLE_WARN);
	add_traffic(t, item);
	table_add_text(t, *policy ? policy : "default");
	table_add_text(t, field_text(item->now, "/metadata/source"));
	table_add_text(t, remark(item->now, list));
	table_style(t, remark_style(item->now));
}

static void print_ports(struct ctl *c, yyjson_val *item)
{
	yyjson_val *list = field_get(item, "/spec/ports");
	yyjson_val *port;
	size_t i, n;

	yyjson_arr_foreach (list, i, n, port) {
		const char *protocol = field_text(port, "/protocol");
		const char *name = field_text(port, "/name");
		uint64_t number = field_count(port, "/port");

		fprintf(c->out, "%-12s", i == 0 ? "Ports" : "");
		if (number > 0)
			fprintf(c->out, "%llu/", (unsigned long long)number);
		else
			fputs("every port/", c->out);
		(void)print_text(c->out, *protocol ? protocol : "TCP");
		if (*name) {
			fputs("  ", c->out);
			(void)print_text(c->out, name);
		}
		fputc('\n', c->out);
	}
}

static void print_traffic(struct ctl *c, yyjson_val *item)
{
	char a[UNITS_TEXT], b[UNITS_TEXT], p50[UNITS_TEXT], p99[UNITS_TEXT];

	fprintf(c->out, "%-12s%s connects, %s active, p50 %s, p99 %s\n", "Traffic",
		units_grouped(field_count(item, "/status/traffic/attempts"), a),
		units_grouped(field_count(item, "/status/traffic/active"), b),
		units_seconds(field_number(item, "/status/traffic/p50Seconds"), p50),
		units_seconds(field_number(item, "/status/traffic/p99Seconds"), p99));
	noun_print_counts(c, "Outcomes", field_get(item, "/status/traffic/outcomes"));
	noun_print_counts(c, "Besides", field_get(item, "/status/traffic/refused"));
	if (field_count(item, "/status/traffic/failedOver") > 0)
		fprintf(c->out, "%-12s%s connects went on to another backend\n", "Failed over",
			units_grouped(field_count(item, "/status/traffic/failedOver"), a));
}

static void print_panic(struct ctl *c, yyjson_val *item)
{
	char a[UNITS_TEXT];

	if (!field_has(item, "/status/panic"))
		return;
	fprintf(c->out, "%-12s", "Panic");
	print_style_on(c->out, c->colour, STYLE_BAD);
	fprintf(c->out, "for %s: too few backends are usable, so ejection is ignored",
		units_age((uint64_t)(field_number(item, "/status/panic/seconds") * 1000), a));
	print_style_off(c->out, c->colour, STYLE_BAD);
	fputc('\n', c->out);
}

/* "connections 12 of 100, not answered yet 3 of 10, fullest backend 5 of 50" */
static void print_limits(struct ctl *c, yyjson_val *item)
{
	static const struct {
		const char *at, *text;
	} rows[] = {{"/status/limits/service", "connections"},
		    {"/status/limits/pending", "not answered yet"},
		    {"/status/limits/backend", "fullest backend"}};
	char a[UNITS_TEXT], b[UNITS_TEXT];
	size_t shown = 0;

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		yyjson_val *limit = field_get(item, rows[i].at);
		uint64_t used = field_count(limit, "/used"), most = field_count(limit, "/limit");
		enum print_style style = used >= most ? STYLE_BAD : STYLE_PLAIN;

		if (!most)
			continue;
		fputs(shown++ ? ", " : "Limits      ", c->out);
		print_style_on(c->out, c->colour, style);
		fprintf(c->out, "%s %s of %s", rows[i].text, units_grouped(used, a),
			units_grouped(most, b));
		print_style_off(c->out, c->colour, style);
	}
	if (shown)
		fputc('\n', c->out);
}

/* ", 1 ejected, 2 held by hand, 1 suspect" */
static void print_aside(struct ctl *c, yyjson_val *item)
{
	static const struct {
		const char *at, *text;
	} rows[] = {{"/status/ejected", "ejected"},
		    {"/status/held", "held by hand"},
		    {"/status/suspect", "suspect"}};

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		uint64_t n = field_count(item, rows[i].at);

		if (!n)
			continue;
		print_style_on(c->out, c->colour, STYLE_WARN);
		fprintf(c->out, ", %llu %s", (unsigned long long)n, rows[i].text);
		print_style_off(c->out, c->colour, STYLE_WARN);
	}
}

static int describe(struct ctl *c, const struct noun_item *shown)
{
	yyjson_val *item = shown->now;
	const char *policy = field_text(item, "/spec/policy");
	char list[LIST_TEXT], a[UNITS_TEXT];
	uint64_t none = field_count(item, "/status/traffic/refused/no_backend");
	size_t endpoints = field_length(item, "/spec/endpoints");
	uint64_t usable = field_count(item, "/status/usable");

	noun_print_fact(c, "Name", field_text(item, "/metadata/name"));
	noun_print_fact(c, "Namespace", field_text(item, "/metadata/namespace"));
	noun_print_labels(c, item);
	noun_print_fact(c, "Source", field_text(item, "/metadata/source"));
	noun_print_fact(c, "Version", field_text(item, "/metadata/resourceVersion"));
	noun_print_fact(c, "Address", addresses(item, list));
	if (field_flag(item, "/status/allocated"))
		noun_print_fact(c, "", "allocated from the pool");
	print_ports(c, item);
	noun_print_fact(c, "Policy", *policy ? policy : "default");
	print_traffic(c, item);
	print_panic(c, item);
	print_limits(c, item);
	fprintf(c->out, "%-12s%zu, %llu usable", "Backends", endpoints, (unsigned long long)usable);
	print_aside(c, item);
	if (usable == 0) {
		fputs(": ", c->out);
		print_style_on(c->out, c->colour, STYLE_BAD);
		fputs("connects get EHOSTUNREACH", c->out);
		print_style_off(c->out, c->colour, STYLE_BAD);
	}
	fputc('\n', c->out);
	if (none > 0)
		fprintf(c->out, "%-12s%s connects found none usable\n", "", units_grouped(none, a));
	if (field_length(item, "/status/endpoints") == 0)
		return 0;
	return noun_endpoint_print(c, field_get(item, "/status/endpoints"));
}

const struct noun noun_service = {
	.name = "services",
	.singular = "service",
	.aliases = "svc svcs",
	.path = "/v1/services",
	.namespace_at = "/metadata/namespace",
	.name_at = "/metadata/name",
	.has_one = true,
	.can_delete = true,
	.has_rates = true,
	.columns = columns,
	.n_columns = ARRAY_SIZE(columns),
	.row = row,
	.describe = describe,
	.has_events = true,
};
