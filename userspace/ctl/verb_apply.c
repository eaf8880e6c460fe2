/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * apply: manifests to one change of one source. Nothing leaves here unless every file is right.
 */
#include <errno.h>
#include <string.h>

#include "ctl/change.h"
#include "ctl/client.h"
#include "ctl/field.h"
#include "ctl/input.h"
#include "ctl/print.h"
#include "ctl/report.h"
#include "ctl/source.h"
#include "ctl/verb.h"

/* The objects as JSON, separated by commas. */
static int write_objects(FILE *f, const struct input *in)
{
	size_t written = 0;

	for (size_t i = 0; i < in->n; i++) {
		for (size_t k = 0; k < in->manifests[i].n; k++) {
			_cleanup_free_ char *text =
				yyjson_mut_val_write(in->manifests[i].items[k], 0, NULL);

			if (!text)
				return -ENOMEM;
			fprintf(f, "%s%s", written++ ? "," : "", text);
		}
	}
	return 0;
}

static int make_body(const struct input *in, bool whole, char **ret, size_t *ret_length)
{
	_cleanup_free_ char *text = NULL;
	size_t length;
	FILE *f = open_memstream(&text, &length);
	int r;

	if (!f)
		return -ENOMEM;
	fputs(whole ? "{\"apiVersion\":\"sinew/v1\",\"kind\":\"List\",\"items\":["
		    : "{\"upsert\":[",
	      f);
	r = write_objects(f, in);
	fputs("]}", f);
	if (fclose(f) != 0)
		r = -ENOMEM;
	if (r < 0)
		return r;
	*ret = TAKE_PTR(text);
	*ret_length = length;
	return 0;
}

int verb_apply_run(void *ctl)
{
	struct ctl *c = ctl;
	struct input in = {0};
	_cleanup_free_ char *body = NULL;
	struct source_change change = {.method = c->o.prune ? "PUT" : "PATCH",
				       .input = &in,
				       .done = "applied",
				       .list = c->o.prune ? "/items/" : "/upsert/"};
	int r;

	if (c->o.files.n == 0)
		return report_usage(c, "apply needs -f FILE (or -f - for standard input)");
	r = input_read(c, "applied", &in);
	if (r < 0)
		return r;
	if (in.n_objects == 0 && !c->o.prune)
		r = report_error(c, -EINVAL, "the manifests hold no objects; nothing was applied");
	if (r >= 0) {
		r = make_body(&in, c->o.prune, &body, &change.length);
		if (r < 0)
			r = report_error(c, r, "out of memory");
	}
	change.body = body;
	if (r >= 0)
		r = source_send(c, &change);
	input_done(&in);
	return r;
}
