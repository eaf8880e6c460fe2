/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * See model.h.
 */
#include "harness/model.h"

/* cmocka.h wants these before it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

yyjson_doc *model_json(const char *text)
{
	char *copy = strdup(text);
	yyjson_read_err error;
	yyjson_doc *doc;

	assert_non_null(copy);
	for (char *p = copy; *p; p++)
		*p = *p == '\'' ? '"' : *p;
	doc = yyjson_read_opts(copy, strlen(copy), 0, NULL, &error);
	if (!doc)
		fail_msg("%s at %zu in: %s", error.msg, error.pos, copy);
	free(copy);
	return doc;
}

int model_decode(const char *text, const char *source, struct problems *problems,
		 struct object *ret)
{
	yyjson_doc *doc = model_json(text);
	int r = codec_decode_object(yyjson_doc_get_root(doc), "", source, problems, ret);

	yyjson_doc_free(doc);
	return r;
}

struct object model_object(const char *text, const char *source)
{
	struct problems problems = {};
	struct object o = {};
	int r = model_decode(text, source, &problems, &o);

	for (size_t i = 0; i < problems.n; i++)
		print_message("%s: %s\n", problems.items[i].pointer, problems.items[i].message);
	assert_int_equal(r, 0);
	assert_int_equal(problems.n, 0);
	problems_done(&problems);
	return o;
}

bool model_has_problem(const struct problems *problems, const char *pointer, const char *part)
{
	for (size_t i = 0; i < problems->n; i++)
		if (!strcmp(problems->items[i].pointer, pointer) &&
		    strstr(problems->items[i].message, part))
			return true;
	print_message("no problem \"%s\" at \"%s\" among %zu:\n", part, pointer, problems->n);
	for (size_t i = 0; i < problems->n; i++)
		print_message("  %s: %s\n", problems->items[i].pointer, problems->items[i].message);
	return false;
}
