/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Listeners: which socket listens where, and whose it is.
 */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "ctl/field.h"
#include "ctl/noun.h"

static const struct table_column columns[] = {
	{"ADDRESS", .shrink_to = 15},
	{"PORT", .right = true},
	{"UNIT", .shrink_to = 16},
	{"CONTAINER", .optional = true},
	{"POD", .wide = true},
	{"CGROUP", .shrink_to = 16},
	{"SINCE"},
	{"SEEN", .wide = true},
	{"NETNS", .right = true, .wide = true},
	{"COOKIE", .right = true, .wide = true},
};

#define SHORT_ID 12 /* of a container, as its engine shows it */

/* By their names, if somebody told them to sinewd; else by uid and id. */
static void add_pod(struct table *t, yyjson_val *item)
{
	if (field_has(item, "/podName"))
		table_add(t, "%s/%s", field_text(item, "/podNamespace"),
			  field_text(item, "/podName"));
	else
		table_add_text(t, field_text(item, "/pod"));
}

static void add_container(struct table *t, yyjson_val *item)
{
	if (field_has(item, "/containerName"))
		table_add_text(t, field_text(item, "/containerName"));
	else
		table_add(t, "%.*s", SHORT_ID, field_text(item, "/container"));
}

static void row(struct table *t, const struct noun_item *item)
{
	char a[64];

	table_add_text(t, field_text(item->now, "/address"));
	table_add(t, "%" PRIu64, field_count(item->now, "/port"));
	table_add_text(t, field_text(item->now, "/unit"));
	add_container(t, item->now);
	add_pod(t, item->now);
	table_add_text(t, field_text(item->now, "/cgroup"));
	table_add_text(t, noun_ago(field_text(item->now, "/since"), item->clock_ms, a));
	table_add_text(t, field_text(item->now, "/seen"));
	table_add(t, "%" PRIu64, field_count(item->now, "/netns"));
	table_add(t, "%" PRIu64, field_count(item->now, "/cookie"));
}

const struct noun noun_listener = {
	.name = "listeners",
	.singular = "listener",
	.aliases = "listen",
	.path = "/v1/listeners",
	.name_at = "/address",
	.columns = columns,
	.n_columns = ARRAY_SIZE(columns),
	.row = row,
};
