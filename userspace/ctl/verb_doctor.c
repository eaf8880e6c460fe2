/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * doctor: the daemon's checks of this host and those of the agent, one line each, with what to do
 * about it below.
 */
#include <errno.h>
#include <string.h>

#include "ctl/client.h"
#include "ctl/doctor_agent.h"
#include "ctl/field.h"
#include "ctl/output.h"
#include "ctl/print.h"
#include "ctl/report.h"
#include "ctl/verb.h"

#define NAME_WIDTH 14

struct tally {
	size_t checks, warned, failed;
};

static enum print_style style_of(const char *level)
{
	if (strcmp(level, "ok") == 0)
		return STYLE_GOOD;
	if (strcmp(level, "note") == 0)
		return STYLE_DIM;
	return strcmp(level, "warn") == 0 ? STYLE_WARN : STYLE_BAD;
}

static void print_check(struct ctl *c, yyjson_val *check, size_t name_width)
{
	const char *level = field_text(check, "/level");
	const char *hint = field_text(check, "/hint");
	size_t n;

	print_style_on(c->out, c->colour, style_of(level));
	n = print_text(c->out, level);
	print_style_off(c->out, c->colour, style_of(level));
	fprintf(c->out, "%*s", n < 6 ? (int)(6 - n) : 1, "");
	n = print_text(c->out, field_text(check, "/name"));
	fprintf(c->out, "%*s", n < name_width ? (int)(name_width - n) : 1, "");
	(void)print_text(c->out, field_text(check, "/text"));
	fputc('\n', c->out);
	if (*hint) {
		fprintf(c->out, "%*s", (int)(6 + name_width), "");
		(void)print_text(c->out, hint);
		fputc('\n', c->out);
	}
}

static void count(yyjson_val *check, struct tally *t)
{
	const char *level = field_text(check, "/level");

	t->checks += strcmp(level, "note") != 0;
	t->warned += strcmp(level, "warn") == 0;
	t->failed += strcmp(level, "fail") == 0;
}

static void print_checks(struct ctl *c, yyjson_val *checks, const struct tally *t)
{
	yyjson_val *check;
	size_t i, n, width = NAME_WIDTH;

	yyjson_arr_foreach (checks, i, n, check) {
		size_t w = strlen(field_text(check, "/name")) + 2;

		width = w > width && w < 40 ? w : width;
	}
	yyjson_arr_foreach (checks, i, n, check)
		print_check(c, check, width);
	if (t->warned + t->failed == 0)
		fprintf(c->out, "all %zu are well\n", t->checks);
	else
		fprintf(c->out, "%zu of %zu need%s attention\n", t->warned + t->failed, t->checks,
			t->warned + t->failed == 1 ? "s" : "");
}

/* The daemon's list, and the agent's checks behind it. */
static int fetch_checks(struct ctl *c, yyjson_doc **ret)
{
	struct client_path path;
	yyjson_mut_doc *all;
	yyjson_mut_val *items;
	yyjson_doc *doc = NULL;
	int r;

	client_path_init(&path, "/v1/doctor");
	r = client_get(c, &path, NULL, &doc);
	if (r < 0)
		return r;
	all = yyjson_doc_mut_copy(doc, NULL);
	yyjson_doc_free(doc);
	items = all ? yyjson_mut_obj_get(yyjson_mut_doc_get_root(all), "items") : NULL;
	if (yyjson_mut_is_arr(items))
		doctor_agent_add(c, all, items);
	doc = all ? yyjson_mut_doc_imut_copy(all, NULL) : NULL;
	yyjson_mut_doc_free(all);
	if (!doc)
		return report_error(c, -ENOMEM, "out of memory");
	*ret = doc;
	return 0;
}

int verb_doctor_run(void *ctl)
{
	struct ctl *c = ctl;
	struct tally t = {0};
	yyjson_doc *doc = NULL;
	yyjson_val *checks, *check;
	size_t i, n;
	int r;

	r = fetch_checks(c, &doc);
	if (r < 0)
		return r;
	checks = field_get(yyjson_doc_get_root(doc), "/items");
	yyjson_arr_foreach (checks, i, n, check)
		count(check, &t);
	if (output_is_data(c))
		r = output_value(c, yyjson_doc_get_root(doc));
	else
		print_checks(c, checks, &t);
	yyjson_doc_free(doc);
	if (r >= 0 && t.failed > 0)
		return -EIO; /* the lines above are the message */
	return r;
}
