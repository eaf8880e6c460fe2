/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * get: lists, once or again and again.
 */
#include <errno.h>
#include <signal.h>
#include <string.h>
#include <time.h>

#include "ctl/beside.h"
#include "ctl/field.h"
#include "ctl/output.h"
#include "ctl/report.h"
#include "ctl/select.h"
#include "ctl/units.h"
#include "ctl/verb.h"

#define BETWEEN_MS 500 /* two looks at a list that is shown once, with rates */

/* One look at a list. */
struct look {
	yyjson_doc *doc;
	double seconds; /* CLOCK_MONOTONIC */
};

static double now_seconds(clockid_t clock)
{
	struct timespec t;

	(void)clock_gettime(clock, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static yyjson_val *items_of(const struct look *l)
{
	return yyjson_obj_get(yyjson_doc_get_root(l->doc), "items");
}

/* The same object in the last look. Lists keep their order, so the search begins where the last one
 * ended and is short. */
static yyjson_val *find_before(const struct noun *n, yyjson_val *item, yyjson_arr_iter *at)
{
	yyjson_val *candidate;
	yyjson_arr_iter from = *at;

	while ((candidate = yyjson_arr_iter_next(at)) != NULL)
		if (strcmp(noun_name(n, candidate), noun_name(n, item)) == 0 &&
		    strcmp(noun_namespace(n, candidate), noun_namespace(n, item)) == 0 &&
		    (!n->is_same || n->is_same(candidate, item)))
			return candidate;
	*at = from;
	return NULL;
}

static int print_table(struct ctl *c, const struct noun *n, const struct look *now,
		       const struct look *before)
{
	bool rates = before->doc && n->has_rates;
	_cleanup_(table_freep) struct table *t = table_new(n->columns, n->n_columns);
	struct table_layout layout = {.width = c->o.format == FORMAT_WIDE ? 0 : c->width,
				      .wide = c->o.format == FORMAT_WIDE,
				      .colour = c->colour};
	_cleanup_(yyjson_doc_freep) yyjson_doc *beside = beside_fetch(c, n);
	yyjson_arr_iter at = {0};
	yyjson_val *item;
	size_t i, count;
	int r;

	if (!t)
		return report_error(c, -ENOMEM, "out of memory");
	if (rates)
		(void)yyjson_arr_iter_init(items_of(before), &at);
	yyjson_arr_foreach (items_of(now), i, count, item) {
		struct noun_item x = {.now = item,
				      .seconds = now->seconds - before->seconds,
				      .recent = c->o.watch,
				      .beside = yyjson_doc_get_root(beside),
				      .clock_ms = (uint64_t)(now_seconds(CLOCK_REALTIME) * 1000)};

		x.before = rates ? find_before(n, item, &at) : NULL;
		n->row(t, &x);
	}
	if (table_rows(t) == 0) {
		report_note(c, "no %s%s%s", n->name, c->o.namespace ? " in namespace " : "",
			    c->o.namespace ? c->o.namespace : "");
		return 0;
	}
	r = table_print(t, c->out, &layout);
	if (r < 0)
		return report_error(c, r, "out of memory");
	return 0;
}

/* Several endpoints go by their service's name, which is told once. */
static void print_names(struct ctl *c, const struct noun *n, yyjson_val *items)
{
	yyjson_val *item, *last = NULL;
	size_t i, count;

	yyjson_arr_foreach (items, i, count, item) {
		const char *namespace = noun_namespace(n, item);

		if (last && strcmp(noun_name(n, last), noun_name(n, item)) == 0 &&
		    strcmp(noun_namespace(n, last), namespace) == 0)
			continue;
		last = item;
		fprintf(c->out, "%s/", n->singular);
		(void)print_text(c->out, namespace);
		fputs(*namespace ? "/" : "", c->out);
		(void)print_text(c->out, noun_name(n, item));
		fputc('\n', c->out);
	}
}

static bool is_table(const struct ctl *c)
{
	return c->o.format == FORMAT_TABLE || c->o.format == FORMAT_WIDE;
}

static int print_look(struct ctl *c, const struct select *s, const struct look *now,
		      const struct look *before)
{
	if (output_is_data(c))
		return output_value(c, yyjson_doc_get_root(now->doc));
	if (c->o.format == FORMAT_NAME) {
		print_names(c, s->noun, items_of(now));
		return 0;
	}
	return print_table(c, s->noun, now, before);
}

static int look(struct ctl *c, const struct select *s, struct look *ret)
{
	int r;

	r = select_fetch(c, s, &ret->doc);
	if (r < 0)
		return r;
	ret->seconds = now_seconds(CLOCK_MONOTONIC);
	return 0;
}

static void wait_ms(uint64_t ms)
{
	struct timespec t = {.tv_sec = (time_t)(ms / 1000), .tv_nsec = (long)(ms % 1000) * 1000000};

	(void)nanosleep(&t, NULL);
}

/* The first picture needs two looks, too, so that every picture has rates. A terminal is drawn over
 * from its first line; elsewhere pictures follow each other. */
static int watch(struct ctl *c, const struct select *s)
{
	struct look before = {0}, now = {0};
	int r;

	r = look(c, s, &before);
	while (r >= 0) {
		wait_ms(c->o.interval_ms);
		r = look(c, s, &now);
		if (r < 0)
			break;
		if (c->terminal)
			fputs("\033[H\033[2J", c->out);
		r = print_look(c, s, &now, &before);
		if (!c->terminal)
			fputc('\n', c->out);
		if (fflush(c->out) != 0)
			r = -EIO;
		yyjson_doc_free(before.doc);
		before = now;
		now = (struct look){0};
	}
	yyjson_doc_free(before.doc);
	return r;
}

/* One picture. A table with rates needs a second look, if there is anything to see. */
static int show(struct ctl *c, const struct select *s)
{
	struct look before = {0}, now = {0};
	int r = look(c, s, &now);

	if (r >= 0 && is_table(c) && s->noun->has_rates && yyjson_arr_size(items_of(&now)) > 0) {
		before = now;
		now = (struct look){0};
		wait_ms(BETWEEN_MS);
		r = look(c, s, &now);
	}
	if (r >= 0 && s->n == 1 && output_is_data(c) && yyjson_arr_size(items_of(&now)) == 1)
		r = output_value(c, yyjson_arr_get_first(items_of(&now)));
	else if (r >= 0)
		r = print_look(c, s, &now, &before);
	yyjson_doc_free(before.doc);
	yyjson_doc_free(now.doc);
	return r;
}

int verb_get_run(void *ctl)
{
	struct ctl *c = ctl;
	_cleanup_free_ struct select *s = malloc(sizeof(*s));
	int r;

	if (!s)
		return report_error(c, -ENOMEM, "out of memory");
	r = select_parse(c, s);
	if (r < 0)
		return r;
	if (c->o.watch && output_is_data(c))
		return report_usage(c,
				    "--watch draws tables; for data follow \"events -f -o json\"");
	return c->o.watch ? watch(c, s) : show(c, s);
}
