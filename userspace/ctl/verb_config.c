/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * config show: the settings that are in force, and with --origin what decided each.
 */
#include <errno.h>
#include <string.h>

#include "ctl/client.h"
#include "ctl/field.h"
#include "ctl/output.h"
#include "ctl/report.h"
#include "ctl/table.h"
#include "ctl/verb.h"

static const struct table_column columns[] = {{"SETTING"}, {"VALUE", .shrink_to = 20}, {"FROM"}};

static void add_value(struct table *t, yyjson_val *value)
{
	_cleanup_free_ char *text = NULL;

	if (yyjson_is_str(value)) {
		table_add_text(t, yyjson_get_str(value));
		return;
	}
	text = value ? yyjson_val_write(value, 0, NULL) : NULL;
	table_add_text(t, text);
}

static int print_settings(struct ctl *c, yyjson_val *settings)
{
	_cleanup_(table_freep) struct table *t =
		table_new(columns, ARRAY_SIZE(columns) - (c->o.origin ? 0 : 1));
	struct table_layout layout = {.width = c->o.format == FORMAT_WIDE ? 0 : c->width,
				      .colour = c->colour};
	yyjson_val *setting;
	size_t i, n;
	int r;

	if (!t)
		return report_error(c, -ENOMEM, "out of memory");
	yyjson_arr_foreach (settings, i, n, setting) {
		table_add_text(t, field_text(setting, "/key"));
		add_value(t, field_get(setting, "/value"));
		if (c->o.origin)
			table_add_text(t, field_text(setting, "/origin"));
	}
	r = table_print(t, c->out, &layout);
	if (r < 0)
		return report_error(c, r, "out of memory");
	return 0;
}

int verb_config_run(void *ctl)
{
	struct ctl *c = ctl;
	struct client_path path;
	yyjson_doc *doc = NULL;
	int r;

	if (c->n_operands > 0 && strcmp(c->operands[0], "show") != 0)
		return report_usage(
			c, "config knows only \"show\": settings are changed in the "
			   "daemon's file and read again with \"systemctl reload sinewd\"");
	client_path_init(&path, "/v1/config");
	r = client_get(c, &path, NULL, &doc);
	if (r < 0)
		return r;
	if (output_is_data(c))
		r = output_value(c, yyjson_doc_get_root(doc));
	else
		r = print_settings(c, field_get(yyjson_doc_get_root(doc), "/items"));
	yyjson_doc_free(doc);
	return r;
}
