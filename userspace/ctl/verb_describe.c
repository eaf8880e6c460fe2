/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * describe: everything about the objects that were named (or about all of a kind).
 */
#include <errno.h>
#include <string.h>
#include <time.h>

#include "ctl/beside.h"
#include "ctl/client.h"
#include "ctl/event.h"
#include "ctl/output.h"
#include "ctl/print.h"
#include "ctl/report.h"
#include "ctl/select.h"
#include "ctl/verb.h"

#define EVENTS "5" /* the last ones about an object */

/* Returns how many there were. */
static size_t print_lines(struct ctl *c, const char *text, size_t length)
{
	size_t shown = 0;

	for (const char *end; length > 0 && (end = memchr(text, '\n', length)); text = end + 1) {
		yyjson_doc *doc = yyjson_read(text, (size_t)(end - text), 0);

		length -= (size_t)(end + 1 - text);
		if (!yyjson_is_obj(yyjson_doc_get_root(doc))) {
			yyjson_doc_free(doc);
			continue;
		}
		fputs(shown++ == 0 ? "Last events\n  " : "  ", c->out);
		event_print(c, yyjson_doc_get_root(doc), false);
		yyjson_doc_free(doc);
	}
	return shown;
}

/* Returns how many were shown, or < 0: told. A daemon that remembers none, or of another version:
 * nothing is shown, and it is no failure. */
static int print_some(struct ctl *c, const struct noun *n, yyjson_val *item, const char *connects)
{
	struct client_path path;
	struct client_change get = {.method = "GET", .path = &path};
	struct http_response response = {0};
	size_t shown = 0;
	int r;

	client_path_init(&path, "/v1/events");
	client_path_query(&path, "recent", EVENTS);
	client_path_query(&path, "connects", connects);
	client_path_query(&path, "namespace", noun_namespace(n, item));
	client_path_query(&path, "service", noun_name(n, item));
	r = client_exchange(c, &get, &response);
	if (r < 0)
		return r;
	if (response.status == 200)
		shown = print_lines(c, response.body, response.length);
	http_response_done(&response);
	return (int)shown;
}

/* Single connects only if there is nothing else to tell: each is counted above. */
static int print_events(struct ctl *c, const struct noun *n, yyjson_val *item)
{
	int r;

	r = print_some(c, n, item, "false");
	if (r == 0)
		r = print_some(c, n, item, NULL);
	return r < 0 ? r : 0;
}

static int describe(struct ctl *c, const struct noun *n, yyjson_val *items)
{
	_cleanup_(yyjson_doc_freep) yyjson_doc *beside = beside_fetch(c, n);
	yyjson_val *item;
	size_t i, count;
	int r = 0;

	yyjson_arr_foreach (items, i, count, item) {
		struct noun_item shown = {.now = item,
					  .clock_ms = (uint64_t)time(NULL) * 1000,
					  .beside = yyjson_doc_get_root(beside)};

		if (i > 0)
			fputc('\n', c->out);
		if (n->describe)
			r = n->describe(c, &shown);
		else
			output_yaml(c->out, item);
		if (r >= 0 && n->has_events)
			r = print_events(c, n, item);
		if (r < 0)
			return r;
	}
	if (count == 0)
		report_note(c, "no %s", n->name);
	return 0;
}

int verb_describe_run(void *ctl)
{
	struct ctl *c = ctl;
	_cleanup_free_ struct select *s = malloc(sizeof(*s));
	yyjson_doc *doc = NULL;
	yyjson_val *items;
	int r;

	if (!s)
		return report_error(c, -ENOMEM, "out of memory");
	r = select_parse(c, s);
	if (r < 0)
		return r;
	r = select_fetch(c, s, &doc);
	if (r < 0)
		return r;
	items = yyjson_obj_get(yyjson_doc_get_root(doc), "items");
	if (!output_is_data(c))
		r = describe(c, s->noun, items);
	else if (s->n == 1 && yyjson_arr_size(items) == 1)
		r = output_value(c, yyjson_arr_get_first(items));
	else
		r = output_value(c, yyjson_doc_get_root(doc));
	yyjson_doc_free(doc);
	return r;
}
