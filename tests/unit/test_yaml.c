/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * yaml.c: values, the places where they stood, and the nodes that a JSON pointer finds.
 */
#include "manifest/yaml.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/cleanup.h"

struct reading {
	yyjson_mut_doc *doc;
	struct error_list errors;
	struct yaml *y;
};

static void begin(struct reading *r, const char *text)
{
	*r = (struct reading){.doc = yyjson_mut_doc_new(NULL)};
	assert_int_equal(yaml_open(text, strlen(text), r->doc, &r->errors, &r->y), 0);
}

static void end(struct reading *r)
{
	assert_null(yaml_close(r->y));
	error_list_done(&r->errors);
	yyjson_mut_doc_free(r->doc);
}

static void assert_place(const struct yaml_node *root, const char *pointer, size_t line,
			 size_t column)
{
	const struct yaml_node *node = yaml_find(root, pointer);

	assert_int_equal(node->place.line, line);
	assert_int_equal(node->place.column, column);
}

static void test_values_become_json(void **state)
{
	static const struct {
		const char *text, *json;
	} cases[] = {
		{"a: 1\nb: [x, 'y', \"\\u00e9\"]\nc: {d: null, e: true}\n",
		 "{\"a\":1,\"b\":[\"x\",\"y\",\"é\"],\"c\":{\"d\":null,\"e\":true}}"},
		{"- |\n  one\n  two\n- >-\n  one\n  two\n-\n",
		 "[\"one\\ntwo\\n\",\"one two\",null]"},
		{"a: !!str 5\nb: '5'\nc: !!str\n", "{\"a\":\"5\",\"b\":\"5\",\"c\":\"\"}"},
		{"x: &x [1, 2]\ny: *x\nz: [*x, *x]\n",
		 "{\"x\":[1,2],\"y\":[1,2],\"z\":[[1,2],[1,2]]}"},
		{"a: &s one\na2: &s two\nb: *s\n", "{\"a\":\"one\",\"a2\":\"two\",\"b\":\"two\"}"},
		{"5: a\ntrue: b\n? c\n: d\n", "{\"5\":\"a\",\"true\":\"b\",\"c\":\"d\"}"},
		{"\"a\\/b\": {\"~\": 1}\n", "{\"a/b\":{\"~\":1}}"},
		{"text\n", "\"text\""},
		{"- 'it''s'\n- ''\n- 'a\n\n  b \n c'\n- {'d''': '''''''''''''', 'é': 'ü'}\n",
		 "[\"it's\",\"\",\"a\\nb c\",{\"d'\":\"''''''\",\"é\":\"ü\"}]"},
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		_cleanup_free_ char *json = NULL;
		const struct yaml_node *root;
		struct reading r;

		begin(&r, cases[i].text);
		assert_int_equal(yaml_next(r.y, &root), 1);
		json = yyjson_mut_val_write(root->value, 0, NULL);
		assert_string_equal(json, cases[i].json);
		assert_int_equal(yaml_next(r.y, &root), 0);
		assert_int_equal(r.errors.n, 0);
		end(&r);
	}
}

static void test_places_of_values_and_keys(void **state)
{
	const struct yaml_node *root, *node;
	struct reading r;

	begin(&r, "# comment\na: 1\nb:\n  - x\n  - {c: 'q', \"d\": \"é\", e: [é, f]}\n  - *a\n"
		  "g: |\n  text\n");
	r.errors.no_memory = false;
	assert_int_equal(yaml_next(r.y, &root), -EBADMSG);
	assert_int_equal(r.errors.items[0].line, 6);
	assert_int_equal(r.errors.items[0].column, 5);
	end(&r);
	begin(&r, "# comment\na: &a 1\nb:\n  - x\n  - {c: 'q', \"d\": \"é\", e: [é, f]}\n  - *a\n"
		  "g: |\n  text\n");
	assert_int_equal(yaml_next(r.y, &root), 1);
	assert_place(root, "", 2, 1);
	assert_place(root, "/b", 4, 3);
	assert_place(root, "/b/0", 4, 5);
	assert_place(root, "/b/1", 5, 5);
	assert_place(root, "/b/1/c", 5, 9);
	assert_place(root, "/b/1/d", 5, 19);
	assert_place(root, "/b/1/e/1", 5, 31);
	assert_place(root, "/b/2", 2, 7); /* an alias: where what it names stands */
	node = yaml_find(root, "/b/1/d");
	assert_int_equal(node->key_place.line, 5);
	assert_int_equal(node->key_place.column, 14);
	end(&r);
}

static void test_a_pointer_finds_the_last_part_that_exists(void **state)
{
	const struct yaml_node *root;
	struct reading r;

	begin(&r, "a: {\"x/y\": [1, {\"m~n\": 2}]}\nb: 3\n");
	assert_int_equal(yaml_next(r.y, &root), 1);
	assert_int_equal(yyjson_mut_get_uint(yaml_find(root, "/a/x~1y/1/m~0n")->value), 2);
	assert_ptr_equal(yaml_find(root, "/a/x~1y/7/m"), yaml_find(root, "/a/x~1y"));
	assert_ptr_equal(yaml_find(root, "/a/x"), yaml_find(root, "/a"));
	assert_ptr_equal(yaml_find(root, "/none/at/all"), root);
	assert_int_equal(yyjson_mut_get_uint(yaml_find(root, "/b")->value), 3);
	end(&r);
}

static void test_documents_one_after_the_other(void **state)
{
	const struct yaml_node *root;
	struct reading r;

	begin(&r, "---\na\n---\n- b\n...\n# nothing\n---\n~\n");
	assert_int_equal(yaml_next(r.y, &root), 1);
	assert_string_equal(yyjson_mut_get_str(root->value), "a");
	assert_int_equal(yaml_next(r.y, &root), 1);
	assert_true(yyjson_mut_is_arr(root->value));
	assert_int_equal(yaml_next(r.y, &root), 1);
	assert_true(yyjson_mut_is_null(root->value));
	assert_int_equal(yaml_next(r.y, &root), 0);
	end(&r);
}

/* The document is delivered all the same, so that other errors are found, too. */
static void test_a_key_given_twice_is_told_and_passed_over(void **state)
{
	_cleanup_free_ char *json = NULL;
	const struct yaml_node *root;
	struct reading r;

	begin(&r, "a: 1\nb: 2\na: 3\nc: {d: 1, d: [2]}\n");
	assert_int_equal(yaml_next(r.y, &root), 1);
	json = yyjson_mut_val_write(root->value, 0, NULL);
	assert_string_equal(json, "{\"a\":1,\"b\":2,\"c\":{\"d\":1}}");
	assert_int_equal(r.errors.n, 2);
	assert_string_equal(r.errors.items[0].message, "key \"a\" is given twice");
	assert_int_equal(r.errors.items[0].line, 3);
	assert_int_equal(r.errors.items[1].column, 11);
	end(&r);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_values_become_json),
		cmocka_unit_test(test_places_of_values_and_keys),
		cmocka_unit_test(test_a_pointer_finds_the_last_part_that_exists),
		cmocka_unit_test(test_documents_one_after_the_other),
		cmocka_unit_test(test_a_key_given_twice_is_told_and_passed_over),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
