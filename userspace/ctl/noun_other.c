/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The small nouns: sources, workloads and flows. Each is a row and a table entry.
 */
#include <inttypes.h>
#include <stdio.h>

#include "ctl/field.h"
#include "ctl/noun.h"
#include "ctl/units.h"
#include "model/limits.h"

/* --- sources ------------------------------------------------------------------------------------
 */

static const struct table_column source_columns[] = {
	{"NAME", .shrink_to = 12},
	{"SERVICES", .right = true},
	{"POLICIES", .right = true},
	{"GENERATION", .right = true},
	{"CHANGED"},
};

static void source_row(struct table *t, const struct noun_item *item)
{
	char a[UNITS_TEXT];

	table_add_text(t, field_text(item->now, "/name"));
	table_add_text(t, units_grouped(field_count(item->now, "/services"), a));
	table_add_text(t, units_grouped(field_count(item->now, "/policies"), a));
	table_add(t, "%" PRIu64, field_count(item->now, "/generation"));
	table_add_text(t, noun_ago(field_text(item->now, "/changedAt"), item->clock_ms, a));
}

static int source_describe(struct ctl *c, const struct noun_item *item)
{
	char a[UNITS_TEXT];

	noun_print_fact(c, "Name", field_text(item->now, "/name"));
	noun_print_fact(c, "Services", units_grouped(field_count(item->now, "/services"), a));
	noun_print_fact(c, "Policies", units_grouped(field_count(item->now, "/policies"), a));
	noun_print_fact(c, "Generation", units_grouped(field_count(item->now, "/generation"), a));
	noun_print_fact(c, "Changed",
			noun_ago(field_text(item->now, "/changedAt"), item->clock_ms, a));
	return 0;
}

const struct noun noun_source = {
	.name = "sources",
	.singular = "source",
	.aliases = "src",
	.path = "/v1/sources",
	.name_at = "/name",
	.has_one = true,
	.can_delete = true,
	.columns = source_columns,
	.n_columns = ARRAY_SIZE(source_columns),
	.row = source_row,
	.describe = source_describe,
};

/* --- workloads ----------------------------------------------------------------------------------
 */

static const struct table_column workload_columns[] = {
	{"CGROUP", .shrink_to = 20},
	{"ID", .right = true},
	{"TREATMENT"},
};

static void workload_row(struct table *t, const struct noun_item *item)
{
	table_add_text(t, field_text(item->now, "/cgroup"));
	table_add(t, "%" PRIu64, field_count(item->now, "/id"));
	table_add_text(t, "bypass");
}

static int workload_describe(struct ctl *c, const struct noun_item *item)
{
	char a[UNITS_TEXT];

	(void)snprintf(a, sizeof(a), "%" PRIu64, field_count(item->now, "/id"));
	noun_print_fact(c, "Cgroup", field_text(item->now, "/cgroup"));
	noun_print_fact(c, "Id",
			field_count(item->now, "/id") ? a : "none: there is no such cgroup now");
	noun_print_fact(c, "Treatment", "bypass: its connects are left as they are");
	return 0;
}

const struct noun noun_workload = {
	.name = "workloads",
	.singular = "workload",
	.aliases = "wl",
	.path = "/v1/workloads",
	.name_at = "/cgroup",
	.columns = workload_columns,
	.n_columns = ARRAY_SIZE(workload_columns),
	.row = workload_row,
	.describe = workload_describe,
};

/* --- flows --------------------------------------------------------------------------------------
 */

static const struct table_column flow_columns[] = {
	{"NAMESPACE", .shrink_to = 8},
	{"SERVICE", .shrink_to = 12},
	{"PROTO"},
	{"DESTINATION", .shrink_to = 15},
	{"BACKEND", .shrink_to = 15},
	{"WIRE", .shrink_to = 15},
	{"STATE"},
	{"AGE", .right = true},
	{"CALLER", .shrink_to = 12},
	{"COOKIE", .right = true, .wide = true},
};

#define CALLER_TEXT (LIMIT_NAME + LIMIT_NODE + 2)

/* The pod, else the unit, the cgroup, its number: what is known of who connected. */
static const char *caller(yyjson_val *item, char buf[static CALLER_TEXT])
{
	if (field_has(item, "/podName")) {
		(void)snprintf(buf, CALLER_TEXT, "%s/%s", field_text(item, "/podNamespace"),
			       field_text(item, "/podName"));
		return buf;
	}
	if (field_has(item, "/unit"))
		return field_text(item, "/unit");
	if (field_has(item, "/cgroup"))
		return field_text(item, "/cgroup");
	(void)snprintf(buf, CALLER_TEXT, "%" PRIu64, field_count(item, "/workload"));
	return buf;
}

static void flow_row(struct table *t, const struct noun_item *item)
{
	char a[UNITS_TEXT], who[CALLER_TEXT];

	table_add_text(t, field_text(item->now, "/namespace"));
	table_add_text(t, field_text(item->now, "/service"));
	table_add_text(t, field_text(item->now, "/protocol"));
	table_add_text(t, field_text(item->now, "/destination"));
	table_add_text(t, field_text(item->now, "/backend"));
	table_add_text(t, field_has(item->now, "/wire") ? field_text(item->now, "/wire") : "-");
	table_add_text(t, field_text(item->now, "/state"));
	table_add_text(t, units_seconds(field_number(item->now, "/ageSeconds"), a));
	table_add_text(t, caller(item->now, who));
	table_add(t, "%" PRIu64, field_count(item->now, "/cookie"));
}

const struct noun noun_flow = {
	.name = "flows",
	.singular = "flow",
	.aliases = "fl",
	.path = "/v1/flows",
	.namespace_at = "/namespace",
	.name_at = "/service",
	.columns = flow_columns,
	.n_columns = ARRAY_SIZE(flow_columns),
	.row = flow_row,
};
