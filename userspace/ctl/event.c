/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * See event.h. What the stream carries is told apart by a destination: only connects have one.
 */
#include "ctl/event.h"

#include <inttypes.h>
#include <string.h>
#include <time.h>

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

	if (strcmp(type, "outcome") == 0)
		return strcmp(field_text(event, "/reason"), "connected") == 0 ? STYLE_PLAIN
									      : STYLE_WARN;
	return strcmp(type, "refused") == 0 ? STYLE_BAD : STYLE_PLAIN;
}

/* "shop/payments 10.96.0.10:80 -> 10.0.1.6:8080 refused after 1.1ms: the backend answered ..." */
static void put_connect(struct ctl *c, yyjson_val *event)
{
	char a[UNITS_TEXT];

	if (field_has(event, "/service")) {
		(void)print_text(c->out, field_text(event, "/namespace"));
		fputc('/', c->out);
		(void)print_text(c->out, field_text(event, "/service"));
		fputc(' ', c->out);
	}
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

static void put_note(struct ctl *c, yyjson_val *event)
{
	(void)print_text(c->out, field_text(event, "/type"));
	fputc(' ', c->out);
	(void)print_text(c->out, field_text(event, "/object"));
	fputs(": ", c->out);
	(void)print_text(c->out, field_text(event, "/message"));
}

void event_print(struct ctl *c, yyjson_val *event)
{
	put_time(c, field_text(event, "/time"));
	fputs("  ", c->out);
	if (field_has(event, "/destination"))
		put_connect(c, event);
	else
		put_note(c, event);
	fputc('\n', c->out);
}
