/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * See event.h. What the stream carries is told apart by a destination: only connects have one.
 */
#include "ctl/event.h"

#include <inttypes.h>
#include <string.h>
#include <time.h>

#include "base/cleanup.h"
#include "ctl/field.h"
#include "ctl/print.h"
#include "ctl/units.h"

/* The time of day where the reader is. */
static void put_time(struct ctl *c, const char *text)
{
	uint64_t ms;
	time_t seconds;
	struct tm tm;
	char buf[16];
	int r;

	r = units_parse_time(text, &ms);
	seconds = r < 0 ? 0 : (time_t)(ms / 1000);
	if (r < 0 || !localtime_r(&seconds, &tm) ||
	    strftime(buf, sizeof(buf), "%H:%M:%S", &tm) == 0)
		fprintf(c->out, "%-12s", "-");
	else
		fprintf(c->out, "%s.%03u", buf, (unsigned int)(ms % 1000));
}

static enum print_style style_of(yyjson_val *event)
{
	const char *type = field_text(event, "/type");

	if (strcmp(type, "ejected") == 0 || strcmp(type, "panic") == 0)
		return strcmp(field_text(event, "/phase"), "end") == 0 ? STYLE_GOOD : STYLE_BAD;
	if (strcmp(type, "restored") == 0)
		return STYLE_GOOD;
	if (strcmp(type, "failed_over") == 0 || strcmp(type, "shadow") == 0)
		return STYLE_WARN;
	if (strcmp(type, "outcome") == 0)
		return strcmp(field_text(event, "/reason"), "connected") == 0 ? STYLE_PLAIN
									      : STYLE_WARN;
	return strcmp(type, "refused") == 0 ? STYLE_BAD : STYLE_PLAIN;
}

static void put_service(struct ctl *c, yyjson_val *event)
{
	if (!field_has(event, "/service"))
		return;
	(void)print_text(c->out, field_text(event, "/namespace"));
	fputc('/', c->out);
	(void)print_text(c->out, field_text(event, "/service"));
	fputc(' ', c->out);
}

/* "shop/payments 10.96.0.10:80 -> 10.0.1.6:8080 refused after 1.1ms: the backend answered ..." */
static void put_connect(struct ctl *c, yyjson_val *event)
{
	char a[UNITS_TEXT];

	(void)print_text(c->out, field_text(event, "/destination"));
	fputc('/', c->out);
	(void)print_text(c->out, field_text(event, "/protocol"));
	if (field_has(event, "/backend")) {
		fputs(" -> ", c->out);
		(void)print_text(c->out, field_text(event, "/backend"));
	}
	fputc(' ', c->out);
	print_style_on(c->out, c->colour, style_of(event));
	(void)print_text(c->out, field_text(event, "/reason"));
	print_style_off(c->out, c->colour, style_of(event));
	if (field_number(event, "/latencySeconds") > 0)
		fprintf(c->out, " after %s",
			units_seconds(field_number(event, "/latencySeconds"), a));
	fprintf(c->out, " (cgroup %" PRIu64 ")", field_count(event, "/workload"));
}

/* The daemon's own sentence: "10.0.1.6:8080 ejected for 60s: ..." */
static void put_story(struct ctl *c, yyjson_val *event)
{
	print_style_on(c->out, c->colour, style_of(event));
	(void)print_text(c->out, field_text(event, "/message"));
	print_style_off(c->out, c->colour, style_of(event));
	if (field_count(event, "/workload") > 0)
		fprintf(c->out, " (cgroup %" PRIu64 ")", field_count(event, "/workload"));
}

static bool is_story(yyjson_val *event)
{
	static const char *const types[] = {"ejected", "restored", "shadow", "failed_over",
					    "panic"};

	for (size_t i = 0; i < ARRAY_SIZE(types); i++)
		if (strcmp(field_text(event, "/type"), types[i]) == 0)
			return true;
	return false;
}

static void put_note(struct ctl *c, yyjson_val *event)
{
	(void)print_text(c->out, field_text(event, "/type"));
	fputc(' ', c->out);
	(void)print_text(c->out, field_text(event, "/object"));
	fputs(": ", c->out);
	(void)print_text(c->out, field_text(event, "/message"));
}

void event_print(struct ctl *c, yyjson_val *event, bool names_service)
{
	bool story = is_story(event), connect = field_has(event, "/destination");

	put_time(c, field_text(event, "/time"));
	fputs("  ", c->out);
	if (names_service && (story || connect))
		put_service(c, event);
	if (story)
		put_story(c, event);
	else if (connect)
		put_connect(c, event);
	else
		put_note(c, event);
	fputc('\n', c->out);
}
