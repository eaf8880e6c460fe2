/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Endpoints: the backends of services, one row for each port, and the table inside the description
 * of a service.
 */
#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "ctl/field.h"
#include "ctl/noun.h"
#include "ctl/report.h"
#include "ctl/state.h"
#include "ctl/units.h"

/* Short enough for the longest state, "ejected by hand, 59m59s left", beside it in 120 columns. */
#define FAILED_TITLE "REFUSED/TIMEOUT/UNREACH/RESET"
#define ADDRESS_TEXT_MAX 80

static const struct table_column columns[] = {
	{"NAMESPACE", .shrink_to = 8},
	{"SERVICE", .shrink_to = 12},
	{"ADDRESS", .shrink_to = 15},
	{"PROTO", .optional = true},
	{"WEIGHT", .right = true},
	{"STATE", .shrink_to = 16},
	{"ACTIVE", .right = true},
	{"RATE", .right = true},
	{"FAILED", .right = true},
	{"P50", .right = true, .optional = true},
	{"P99", .right = true, .optional = true},
	{"ZONE", .shrink_to = 6, .optional = true},
	{"CONNECTS", .right = true, .wide = true},
	{"IN A ROW", .right = true, .wide = true}, /* failures, the last ones */
	{"EJECTIONS", .right = true, .wide = true},
	{"FAILED OVER", .right = true, .wide = true},
	{"LEVEL", .right = true, .wide = true},
	{"PORT", .wide = true},
	{"SOURCE", .wide = true},
	{"INSTANCE", .wide = true},
	{"INDEX", .right = true, .wide = true},
};

/* "10.0.1.5:8080", "[fd00::1]:8080"; without the port when there is none. */
static const char *join(const char *address, uint64_t port, char buf[static ADDRESS_TEXT_MAX])
{
	bool six = strchr(address, ':') != NULL;

	if (port == 0)
		(void)snprintf(buf, ADDRESS_TEXT_MAX, "%s", address);
	else
		(void)snprintf(buf, ADDRESS_TEXT_MAX, six ? "[%.56s]:%" PRIu64 : "%.56s:%" PRIu64,
			       address, port);
	return buf;
}

static uint64_t failures(yyjson_val *item)
{
	yyjson_val *failed = field_get(item, "/failed");
	yyjson_val *key, *value;
	size_t i, n;
	uint64_t sum = 0;

	if (!yyjson_is_obj(failed))
		return 0;
	yyjson_obj_foreach (failed, i, n, key, value)
		sum += yyjson_get_uint(value);
	return sum;
}

static uint64_t since(uint64_t now, uint64_t before)
{
	return now > before ? now - before : 0;
}

static void add_traffic(struct table *t, const struct noun_item *item)
{
	uint64_t n = field_count(item->now, "/attempts"), failed = failures(item->now);
	uint64_t grown = item->before ? since(n, field_count(item->before, "/attempts")) : 0;
	char a[UNITS_TEXT];

	table_add_text(t, units_short(field_number(item->now, "/active"), a));
	if (item->before && item->seconds > 0)
		table_add(t, "%s/s", units_short((double)grown / item->seconds, a));
	else
		table_add_text(t, "");
	if (item->recent)
		failed = item->before ? since(failed, failures(item->before)) : 0;
	table_add_text(t, units_percent((double)failed, (double)(item->recent ? grown : n), a));
	if (failed > 0)
		table_style(t, STYLE_WARN);
	table_add_text(t, units_seconds(field_number(item->now, "/p50Seconds"), a));
	table_add_text(t, units_seconds(field_number(item->now, "/p99Seconds"), a));
}

static void row(struct table *t, const struct noun_item *item)
{
	char address[ADDRESS_TEXT_MAX], number[UNITS_TEXT], state[STATE_WORDS];

	table_add_text(t, field_text(item->now, "/namespace"));
	table_add_text(t, field_text(item->now, "/service"));
	table_add_text(t, join(field_text(item->now, "/address"), field_count(item->now, "/port"),
			       address));
	table_add_text(t, field_text(item->now, "/protocol"));
	table_add(t, "%" PRIu64, field_count(item->now, "/weight"));
	table_add_text(t, state_words(item->now, state));
	table_style(t, state_style(item->now));
	add_traffic(t, item);
	table_add_text(t, field_text(item->now, "/zone"));
	table_add_text(t, units_short((double)field_count(item->now, "/attempts"), number));
	table_add(t, "%" PRIu64, field_count(item->now, "/consecutiveFailures"));
	table_add(t, "%" PRIu64, field_count(item->now, "/ejections"));
	table_add_text(t, units_short(field_number(item->now, "/failedOver"), number));
	table_add(t, "%" PRIu64, field_count(item->now, "/level"));
	table_add_text(t, field_text(item->now, "/portName"));
	table_add_text(t, field_text(item->now, "/source"));
	table_add_text(t, field_text(item->now, "/instance"));
	table_add(t, "%" PRIu64, field_count(item->now, "/index"));
}

static const struct table_column inner[] = {
	{"ADDRESS", .shrink_to = 15}, {"WEIGHT", .right = true},   {"STATE", .shrink_to = 27},
	{"ACTIVE", .right = true},    {"CONNECTS", .right = true}, {FAILED_TITLE, .shrink_to = 9},
	{"P50", .right = true},       {"P99", .right = true},
};

/* Columns that are there when an endpoint has that. */
static const struct {
	struct table_column column;
	const char *at;
} some[] = {{{"ZONE", .shrink_to = 6}, "/zone"}, {{"SOURCE", .shrink_to = 8}, "/source"}};

static void add_failed(struct table *t, yyjson_val *item)
{
	char a[4][UNITS_TEXT];

	table_add(t, "%s/%s/%s/%s", units_grouped(field_count(item, "/failed/refused"), a[0]),
		  units_grouped(field_count(item, "/failed/timeout"), a[1]),
		  units_grouped(field_count(item, "/failed/unreachable"), a[2]),
		  units_grouped(field_count(item, "/failed/reset"), a[3]));
	if (failures(item) > 0)
		table_style(t, STYLE_WARN);
}

static bool has_any(yyjson_val *endpoints, const char *at)
{
	yyjson_val *item;
	size_t i, n;

	yyjson_arr_foreach (endpoints, i, n, item)
		if (field_has(item, at))
			return true;
	return false;
}

static void inner_row(struct table *t, yyjson_val *item, const bool shown[static ARRAY_SIZE(some)])
{
	yyjson_val *ports = field_get(item, "/ports");
	char address[ADDRESS_TEXT_MAX], a[UNITS_TEXT], state[STATE_WORDS];

	/* One port is part of the address; more would be a table in a table: "get endpoints". */
	table_add_text(t, join(field_text(item, "/address"),
			       yyjson_arr_size(ports) == 1
				       ? field_count(yyjson_arr_get_first(ports), "/port")
				       : 0,
			       address));
	table_add(t, "%" PRIu64, field_count(item, "/weight"));
	table_add_text(t, state_words(item, state));
	table_style(t, state_style(item));
	table_add_text(t, units_grouped(field_count(item, "/active"), a));
	table_add_text(t, units_grouped(field_count(item, "/attempts"), a));
	add_failed(t, item);
	table_add_text(t, units_seconds(field_number(item, "/p50Seconds"), a));
	table_add_text(t, units_seconds(field_number(item, "/p99Seconds"), a));
	for (size_t i = 0; i < ARRAY_SIZE(some); i++)
		if (shown[i])
			table_add_text(t, field_text(item, some[i].at));
}

int noun_endpoint_print(struct ctl *c, yyjson_val *endpoints)
{
	struct table_column all[ARRAY_SIZE(inner) + ARRAY_SIZE(some)];
	struct table_layout layout = {.indent = "  ", .width = c->width, .colour = c->colour};
	_cleanup_(table_freep) struct table *t = NULL;
	size_t i, n, n_columns = ARRAY_SIZE(inner);
	bool shown[ARRAY_SIZE(some)];
	yyjson_val *item;
	int r;

	memcpy(all, inner, sizeof(inner));
	for (i = 0; i < ARRAY_SIZE(some); i++) {
		shown[i] = has_any(endpoints, some[i].at);
		if (shown[i])
			all[n_columns++] = some[i].column;
	}
	t = table_new(all, n_columns);
	if (!t)
		return report_error(c, -ENOMEM, "out of memory");
	yyjson_arr_foreach (endpoints, i, n, item)
		inner_row(t, item, shown);
	r = table_print(t, c->out, &layout);
	if (r < 0)
		return report_error(c, r, "out of memory");
	return 0;
}

static int describe(struct ctl *c, const struct noun_item *shown)
{
	yyjson_val *item = shown->now;
	char address[ADDRESS_TEXT_MAX], a[UNITS_TEXT], b[UNITS_TEXT], p50[UNITS_TEXT],
		p99[UNITS_TEXT], state[STATE_WORDS];

	fputs("Endpoint    ", c->out);
	(void)print_text(c->out,
			 join(field_text(item, "/address"), field_count(item, "/port"), address));
	fputc('/', c->out);
	(void)print_text(c->out, field_text(item, "/protocol"));
	fputs("\nService     ", c->out);
	(void)print_text(c->out, field_text(item, "/namespace"));
	fputc('/', c->out);
	(void)print_text(c->out, field_text(item, "/service"));
	fputc('\n', c->out);
	noun_print_fact(c, "Port", field_text(item, "/portName"));
	noun_print_fact(c, "Source", field_text(item, "/source"));
	noun_print_fact(c, "Instance", field_text(item, "/instance"));
	noun_print_fact(c, "State", state_words(item, state));
	if (field_flag(item, "/suspect"))
		noun_print_fact(c, "Suspect",
				"its registry no longer names it, which is not believed yet: "
				"picked when nobody else can be had");
	noun_print_fact(c, "Why", state_why(item));
	noun_print_fact(c, "By", field_text(item, "/hold/by"));
	noun_print_fact(c, "Until",
			field_has(item, "/hold") ? field_text(item, "/hold/until")
						 : field_text(item, "/ejection/until"));
	noun_print_fact(c, "Weight", units_grouped(field_count(item, "/weight"), a));
	noun_print_fact(c, "Zone", field_text(item, "/zone"));
	fprintf(c->out, "%-12s%s connects, %s active, p50 %s, p99 %s\n", "Traffic",
		units_grouped(field_count(item, "/attempts"), a),
		units_grouped(field_count(item, "/active"), b),
		units_seconds(field_number(item, "/p50Seconds"), p50),
		units_seconds(field_number(item, "/p99Seconds"), p99));
	noun_print_counts(c, "Outcomes", field_get(item, "/outcomes"));
	if (field_count(item, "/ejections") > 0)
		fprintf(c->out, "%-12s%s times\n", "Ejected",
			units_grouped(field_count(item, "/ejections"), a));
	if (field_count(item, "/failedOver") > 0)
		fprintf(c->out, "%-12s%s connects went on to another backend\n", "Failed over",
			units_grouped(field_count(item, "/failedOver"), a));
	if (field_number(item, "/connectSeconds") > 0)
		fprintf(c->out, "%-12s%s, smoothed\n", "Connect",
			units_seconds(field_number(item, "/connectSeconds"), a));
	fprintf(c->out, "%-12s%s\n", "In a row",
		field_count(item, "/consecutiveFailures")
			? units_grouped(field_count(item, "/consecutiveFailures"), a)
			: "no failure");
	return 0;
}

/* Several endpoints go by their service's name. */
static bool is_same(yyjson_val *a, yyjson_val *b)
{
	return strcmp(field_text(a, "/address"), field_text(b, "/address")) == 0 &&
	       field_count(a, "/port") == field_count(b, "/port") &&
	       strcmp(field_text(a, "/protocol"), field_text(b, "/protocol")) == 0;
}

const struct noun noun_endpoint = {
	.name = "endpoints",
	.singular = "endpoint",
	.aliases = "ep eps backend backends",
	.path = "/v1/backends",
	.namespace_at = "/namespace",
	.name_at = "/service",
	.has_rates = true,
	.is_same = is_same,
	.columns = columns,
	.n_columns = ARRAY_SIZE(columns),
	.row = row,
	.describe = describe,
};
