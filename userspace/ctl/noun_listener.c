/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Listeners: which socket listens where, and whose it is.
 */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "ctl/beside.h"
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

/* By its name, if the agent knows it; else by its uid. */
static void add_pod(struct table *t, const struct noun_item *item)
{
	const char *uid = field_text(item->now, "/pod");
	const struct beside_key keys[2] = {{"/uid", uid}, {"/uid", uid}};
	yyjson_val *pod = *uid ? beside_find(item->beside, keys) : NULL;

	if (pod)
		table_add(t, "%s/%s", field_text(pod, "/namespace"), field_text(pod, "/name"));
	else
		table_add_text(t, uid);
}

static void row(struct table *t, const struct noun_item *item)
{
	char a[64];

	table_add_text(t, field_text(item->now, "/address"));
	table_add(t, "%" PRIu64, field_count(item->now, "/port"));
	table_add_text(t, field_text(item->now, "/unit"));
	table_add(t, "%.*s", SHORT_ID, field_text(item->now, "/container"));
	add_pod(t, item);
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
	.beside = "/v1/pods",
	.columns = columns,
	.n_columns = ARRAY_SIZE(columns),
	.row = row,
};
