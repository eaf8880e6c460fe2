/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * JSON as a daemon's answer: whatever it is, every noun draws it, and nothing that could move a
 * terminal's cursor comes out.
 */
#include "ctl/change.h"
#include "ctl/noun.h"
#include "ctl/output.h"
#include "fuzz/require.h"

static const char *const words[] = {"services", "endpoints", "policies",
				    "sources",  "workloads", "flows"};

static void draw(struct ctl *c, yyjson_val *items, const struct noun *n)
{
	struct table *t = table_new(n->columns, n->n_columns);
	struct table_layout layout = {.width = 120, .wide = c->o.format == FORMAT_WIDE};
	yyjson_val *item;
	size_t i, count;

	REQUIRE(t);
	yyjson_arr_foreach (items, i, count, item) {
		struct noun_item x = {.now = item, .before = item, .seconds = 0.5};

		n->row(t, &x);
		if (n->describe)
			(void)n->describe(c, &x);
	}
	REQUIRE(table_print(t, c->out, &layout) == 0);
	(void)table_free(t);
}

static void check_text(const char *text, size_t length)
{
	REQUIRE(strlen(text) == length);
	for (size_t i = 0; i < length; i++) {
		unsigned char c = (unsigned char)text[i];

		REQUIRE(c == '\n' || (c >= 0x20 && c != 0x7f));
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	yyjson_doc *doc = yyjson_read((const char *)data, size, 0);
	yyjson_val *root = yyjson_doc_get_root(doc);
	struct ctl c = {.width = 120};
	char *text = NULL;
	size_t length = 0;

	c.out = c.err = open_memstream(&text, &length);
	REQUIRE(c.out);
	for (size_t i = 0; root && i < sizeof(words) / sizeof(words[0]); i++)
		draw(&c, yyjson_is_arr(root) ? root : yyjson_obj_get(root, "items"),
		     noun_find(words[i]));
	output_yaml(c.out, root);
	for (c.o.format = FORMAT_TABLE; root && c.o.format <= FORMAT_DIFF; c.o.format++)
		if (c.o.format != FORMAT_JSON) /* its escapes are JSON's */
			(void)change_print(&c, root, true);
	REQUIRE(fclose(c.out) == 0);
	check_text(text, length);
	free(text);
	yyjson_doc_free(doc);
	return 0;
}
