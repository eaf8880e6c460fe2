/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * confirm: an operator believes a registry. sinew-agent lets go what it held; here that becomes a
 * sentence.
 */
#include <errno.h>

#include "ctl/client.h"
#include "ctl/field.h"
#include "ctl/output.h"
#include "ctl/print.h"
#include "ctl/report.h"
#include "ctl/select.h"
#include "ctl/units.h"
#include "ctl/verb.h"

/* "dc1: 3 suspect endpoints let go" */
static void print_released(struct ctl *c, const char *name, yyjson_val *said)
{
	uint64_t n = field_count(said, "/released");
	char a[UNITS_TEXT];

	(void)print_text(c->out, name);
	if (n)
		fprintf(c->out, ": %s suspect endpoint%s let go\n", units_grouped(n, a),
			n == 1 ? "" : "s");
	else
		fputs(": nothing was held\n", c->out);
}

static int confirm(struct ctl *c, const struct select *s)
{
	struct client_path path;
	char subject[SELECT_SUBJECT];
	const struct client_change change = {
		.method = "POST",
		.path = &path,
		.subject = select_subject(s->noun, &s->names[0], subject)};
	yyjson_doc *doc = NULL;
	int r;

	client_turn(c, s->noun->peer);
	client_path_init(&path, s->noun->path);
	client_path_segment(&path, s->names[0].name);
	client_path_segment(&path, "confirm");
	r = client_send(c, &change, &doc);
	if (r < 0)
		return r;
	if (output_is_data(c))
		r = output_value(c, yyjson_doc_get_root(doc));
	else
		print_released(c, s->names[0].name, yyjson_doc_get_root(doc));
	yyjson_doc_free(doc);
	return r;
}

int verb_confirm_run(void *ctl)
{
	struct ctl *c = ctl;
	_cleanup_free_ struct select *s = malloc(sizeof(*s));
	int r;

	if (!s)
		return report_error(c, -ENOMEM, "out of memory");
	r = select_parse(c, s);
	if (r < 0)
		return r;
	if (s->noun != &noun_registry || s->n != 1)
		return report_usage(c, "a registry can be confirmed: confirm registry NAME");
	return confirm(c, s);
}
