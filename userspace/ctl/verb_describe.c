/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * describe: everything about the objects that were named (or about all of a kind).
 */
#include <errno.h>

#include "ctl/output.h"
#include "ctl/report.h"
#include "ctl/select.h"
#include "ctl/verb.h"

static int describe(struct ctl *c, const struct noun *n, yyjson_val *items)
{
	yyjson_val *item;
	size_t i, count;
	int r = 0;

	yyjson_arr_foreach (items, i, count, item) {
		if (i > 0)
			fputc('\n', c->out);
		if (n->describe)
			r = n->describe(c, item);
		else
			output_yaml(c->out, item);
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
