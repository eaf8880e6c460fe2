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

static void row(struct table *t, const struct noun_item *item)
{
	char a[64];

	table_add_text(t, field_text(item->now, "/address"));
	table_add(t, "%" PRIu64, field_count(item->now, "/port"));
	table_add_text(t, field_text(item->now, "/unit"));
	table_add(t, "%.*s", SHORT_ID, field_text(item->now, "/container"));
	table_add_text(t, field_text(item->now, "/pod"));
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
