/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * See synthetic.h. Goes the way of a client's snapshot: JSON, codec, plan, commit.
 */
#include "control/synthetic.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "model/codec.h"

#define PER_CHANGE 2000 /* services put in with one change */

static int text_put(struct store *store, const char *text)
{
	yyjson_doc *json = yyjson_read(text, strlen(text), 0);
	struct object *objects = calloc(PER_CHANGE, sizeof(*objects));
	struct change change = {.source = "synthetic", .upserts = objects};
	struct problems problems = {};
	struct plan plan = {};
	size_t i, n;
	yyjson_val *item;
	int r = json && objects ? 0 : -ENOMEM;

	yyjson_arr_foreach (yyjson_doc_get_root(json), i, n, item) {
		if (r >= 0)
			r = codec_decode_object(item, "", "synthetic", &problems,
						&objects[change.n_upserts]);
		change.n_upserts += r >= 0;
	}
	if (r >= 0)
		r = store_plan(store, &change, &problems, &plan);
	if (r >= 0)
		store_commit(store, &plan);
	for (i = 0; i < problems.n; i++)
		(void)fprintf(stderr, "%s: %s\n", problems.items[i].pointer,
			      problems.items[i].message);
	plan_done(&plan);
	problems_done(&problems);
	for (i = 0; i < change.n_upserts; i++)
		object_done(&objects[i]);
	free(objects);
	yyjson_doc_free(json);
	return r;
}

static void service_write(FILE *out, unsigned long i)
{
	(void)fprintf(
		out,
		"%s{\"apiVersion\":\"sinew/v1\",\"kind\":\"Service\",\"metadata\":{\"name\":"
		"\"service-%05lu\",\"namespace\":\"shop-%lu\",\"labels\":{\"team\":\"t%lu\"}},"
		"\"spec\":{\"ports\":[{\"name\":\"http\",\"port\":80,\"protocol\":\"TCP\"}],"
		"\"endpoints\":[",
		i % PER_CHANGE ? "," : "", i, i % 10, i % 3);
	for (unsigned long e = 0; e < i % 4; e++)
		(void)fprintf(out,
			      "%s{\"address\":\"10.%lu.%lu.%lu\",\"port\":8080,\"weight\":%lu,"
			      "\"zone\":\"%c\"}",
			      e ? "," : "", i >> 8 & 255, i & 255, e + 1, e == 2 ? 0 : 100ul,
			      (char)('a' + e));
	(void)fprintf(out, "]}}");
}

int synthetic_put(struct store *store, unsigned long services)
{
	int r = 0;

	for (unsigned long i = 0; i < services && r >= 0;) {
		_cleanup_free_ char *text = NULL;
		size_t length;
		FILE *out = open_memstream(&text, &length);

		if (!out)
			return -ENOMEM;
		(void)fputs("[", out);
		do
			service_write(out, i++);
		while (i < services && i % PER_CHANGE);
		(void)fputs("]", out);
		if (fclose(out) != 0)
			return -EIO;
		r = text_put(store, text);
	}
	return r;
}
