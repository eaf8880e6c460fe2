/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Registries, as the agent that follows them tells of them: a row, and the long description.
 */
#include <errno.h>
#include <string.h>

#include "base/text.h"
#include "ctl/field.h"
#include "ctl/noun.h"
#include "ctl/units.h"

static const struct table_column columns[] = {
	{"NAME", .shrink_to = 12},
	{"TYPE"},
	{"STATE"},
	{"SERVICES", .right = true},
	{"POLICIES", .right = true, .wide = true},
	{"ENDPOINTS", .right = true},
	{"SUSPECT", .right = true},
	{"CHANGED"},
	{"CONTACT"},
	{"LATENCY", .right = true},
	{"LEFT OUT", .right = true, .wide = true},
	{"OVER LIMIT", .right = true, .wide = true},
	{"ERROR", .shrink_to = 16},
};

static enum print_style style_of(const char *state)
{
	if (strcmp(state, "ok") == 0)
		return STYLE_PLAIN;
	return strcmp(state, "connecting") == 0 ? STYLE_WARN : STYLE_BAD;
}

static void row(struct table *t, const struct noun_item *item)
{
	const char *state = field_text(item->now, "/state");
	char a[UNITS_TEXT];

	table_add_text(t, field_text(item->now, "/name"));
	table_add_text(t, field_text(item->now, "/type"));
	table_add_text(t, state);
	table_style(t, style_of(state));
	table_add_text(t, units_grouped(field_count(item->now, "/services"), a));
	table_add_text(t, units_grouped(field_count(item->now, "/policies"), a));
	table_add_text(t, units_grouped(field_count(item->now, "/endpoints"), a));
	table_add_text(t, units_grouped(field_count(item->now, "/suspect"), a));
	if (field_count(item->now, "/suspect"))
		table_style(t, STYLE_WARN);
	table_add_text(t, noun_ago(field_text(item->now, "/lastChange"), item->clock_ms, a));
	table_add_text(t, noun_ago(field_text(item->now, "/lastContact"), item->clock_ms, a));
	table_add_text(t, units_seconds(field_number(item->now, "/latencySeconds"), a));
	table_add_text(t, units_grouped(field_count(item->now, "/skipped"), a));
	table_add_text(t, units_grouped(field_count(item->now, "/refused"), a));
	table_add_text(t, field_text(item->now, "/lastError/text"));
	table_style(t, field_has(item->now, "/lastError") ? STYLE_BAD : STYLE_PLAIN);
}

static const char *plural(uint64_t n)
{
	return n == 1 ? "" : "s";
}

static void print_suspects(struct ctl *c, yyjson_val *item)
{
	uint64_t n = field_count(item, "/suspect");
	char a[UNITS_TEXT];

	if (!n)
		return;
	fprintf(c->out, "%-12s", "Suspect");
	print_style_on(c->out, c->colour, STYLE_WARN);
	fprintf(c->out, "%s endpoint%s that it no longer names", units_grouped(n, a), plural(n));
	print_style_off(c->out, c->colour, STYLE_WARN);
	fputs("; if it is right: sinewctl confirm registry ", c->out);
	(void)print_text(c->out, field_text(item, "/name"));
	fputc('\n', c->out);
}

/* What was left out, and what did not fit. */
static void print_missing(struct ctl *c, yyjson_val *item)
{
	uint64_t skipped = field_count(item, "/skipped"), refused = field_count(item, "/refused");
	char a[UNITS_TEXT];

	if (skipped) {
		fprintf(c->out, "%-12s%s object%s that cannot be used; the last: ", "Left out",
			units_grouped(skipped, a), plural(skipped));
		(void)print_text(c->out, field_text(item, "/lastSkipped"));
		fputc('\n', c->out);
	}
	if (refused)
		fprintf(c->out, "%-12s%s object%s that did not fit\n", "Over limit",
			units_grouped(refused, a), plural(refused));
}

/* "3 of node n1", or why not. */
static void print_pods(struct ctl *c, yyjson_val *item)
{
	struct text_buffer b = {};

	if (!field_has(item, "/pods"))
		return;
	text_append_format(&b, "%llu of node %s",
			   (unsigned long long)field_count(item, "/pods/known"),
			   field_text(item, "/pods/node"));
	if (field_has(item, "/pods/lastError"))
		text_append_format(&b, "; %s: %s", field_text(item, "/pods/lastError/reason"),
				   field_text(item, "/pods/lastError/text"));
	noun_print_fact(c, "Pods", b.data ? b.data : "");
	noun_print_fact(c, "", field_text(item, "/pods/lastError/hint"));
	text_done(&b);
}

/* "forbidden: 403 on list endpointslices", and below what to do. */
static void print_failure(struct ctl *c, yyjson_val *item)
{
	if (!field_has(item, "/lastError"))
		return;
	fprintf(c->out, "%-12s", "Error");
	print_style_on(c->out, c->colour, STYLE_BAD);
	(void)print_text(c->out, field_text(item, "/lastError/reason"));
	print_style_off(c->out, c->colour, STYLE_BAD);
	fputs(": ", c->out);
	(void)print_text(c->out, field_text(item, "/lastError/text"));
	fputc('\n', c->out);
	noun_print_fact(c, "", field_text(item, "/lastError/hint"));
}

void noun_registry_kept(struct text_buffer *b, yyjson_val *registry, uint64_t clock_ms)
{
	uint64_t services = field_count(registry, "/services");
	uint64_t suspect = field_count(registry, "/suspect");
	uint64_t endpoints = field_count(registry, "/endpoints") + suspect;
	char a[UNITS_TEXT];

	text_append_format(b, "%s service%s, ", units_grouped(services, a), plural(services));
	text_append_format(b, "%s endpoint%s, ", units_grouped(endpoints, a), plural(endpoints));
	if (field_has(registry, "/lastContact"))
		text_append_format(b, "heard %s",
				   noun_ago(field_text(registry, "/lastContact"), clock_ms, a));
	else
		text_append(b, "never heard");
}

static int describe(struct ctl *c, const struct noun_item *shown)
{
	yyjson_val *item = shown->now;
	const char *state = field_text(item, "/state");
	char a[UNITS_TEXT];

	noun_print_fact(c, "Name", field_text(item, "/name"));
	noun_print_fact(c, "Type", field_text(item, "/type"));
	fprintf(c->out, "%-12s", "State");
	print_style_on(c->out, c->colour, style_of(state));
	(void)print_text(c->out, state);
	print_style_off(c->out, c->colour, style_of(state));
	fputc('\n', c->out);
	noun_print_fact(c, "Services", units_grouped(field_count(item, "/services"), a));
	noun_print_fact(c, "Policies", units_grouped(field_count(item, "/policies"), a));
	noun_print_fact(c, "Endpoints", units_grouped(field_count(item, "/endpoints"), a));
	print_pods(c, item);
	print_suspects(c, item);
	print_missing(c, item);
	noun_print_fact(c, "Changed",
			noun_ago(field_text(item, "/lastChange"), shown->clock_ms, a));
	noun_print_fact(c, "Contact",
			noun_ago(field_text(item, "/lastContact"), shown->clock_ms, a));
	noun_print_fact(c, "Latency", units_seconds(field_number(item, "/latencySeconds"), a));
	print_failure(c, item);
	noun_print_counts(c, "Errors", field_get(item, "/errors"));
	return 0;
}

const struct noun noun_registry = {
	.name = "registries",
	.singular = "registry",
	.aliases = "",
	.path = "/v1/registries",
	.name_at = "/name",
	.peer = PEER_AGENT,
	.columns = columns,
	.n_columns = ARRAY_SIZE(columns),
	.row = row,
	.describe = describe,
};
