/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * base/json: nesting is bounded before anything is built, places are told exactly.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/json.h"

static void test_depth(void **state)
{
	static const struct {
		const char *text;
		size_t depth;
		bool deeper;
	} cases[] = {
		{"", 0, false},
		{"1", 0, false},
		{"[]", 0, true},
		{"[]", 1, false},
		{"[[],[],{}]", 2, false},
		{"[[],[],{\"a\":[]}]", 2, true},
		{"\"[[[[\"", 0, false},
		{"[\"\\\"[[\"]", 1, false},
		{"[\"\\\\\",[]]", 1, true},
		{"]]]][", 0, true},
		{"]]]][", 1, false},
		{"[\"unclosed [[[", 1, false},
		{"\"\\", 0, false},
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++)
		if (json_is_deeper(cases[i].text, strlen(cases[i].text), cases[i].depth) !=
		    cases[i].deeper)
			fail_msg("%s at %zu", cases[i].text, cases[i].depth);
}

static void test_parse(void **state)
{
	char error[JSON_ERROR];
	yyjson_doc *doc = NULL;

	assert_int_equal(json_parse("{\"a\":[1]}xx", 9, 2, &doc, error), 0);
	assert_int_equal(yyjson_obj_size(yyjson_doc_get_root(doc)), 1);
	yyjson_doc_free(doc);
}

static void test_parse_says_where(void **state)
{
	static const struct {
		const char *text, *says;
	} cases[] = {
		{"", "it is empty"},
		{"{\n  \"a\": 1,\n  b: 2\n}", "line 3, column 3"},
		{"[1,\n2", "line 2"},
		{"nul", "line 1, column 4"},
		{"[[[1]]]", "nested deeper than 2"},
		{"{} {}", "line 1, column 4"},
		{"{\"a\": 01}", "line 1, column"},
		{"\"\xff\"", "line 1, column"},
		{"[1,]", "line 1, column"},
		{"{\"a\":1e999}", "line 1, column"},
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		char error[JSON_ERROR] = "";
		yyjson_doc *doc = NULL;

		assert_int_equal(json_parse(cases[i].text, strlen(cases[i].text), 2, &doc, error),
				 -EBADMSG);
		assert_null(doc);
		if (!strstr(error, cases[i].says))
			fail_msg("%s: %s", cases[i].text, error);
	}
}

/* A megabyte of brackets costs one look, no stack. */
static void test_parse_survives_deep_nesting(void **state)
{
	size_t n = 1u << 20;
	_cleanup_free_ char *text = malloc(n);
	char error[JSON_ERROR];
	yyjson_doc *doc;

	assert_non_null(text);
	memset(text, '[', n);
	assert_int_equal(json_parse(text, n, 32, &doc, error), -EBADMSG);
	assert_int_equal(json_parse(text, n, n, &doc, error), -EBADMSG);
}

static char *pointer(const struct json_at *at)
{
	struct text_buffer b = {};

	json_append_pointer(&b, at);
	return text_take(&b);
}

static void test_pointer_rfc6901(void **state)
{
	const struct json_at root = {.key = "", .length = 0};
	const struct json_at items = {.up = &root, .key = "it/e~ms", .length = 7};
	const struct json_at third = {.up = &items, .index = 2};
	const struct json_at empty = {.up = &third, .key = "", .length = 0};
	const struct json_at prefix = {.key = "/items/3", .length = 8};
	const struct json_at below = {.up = &prefix, .key = "~1", .length = 2};
	char *text;

	text = pointer(&root);
	assert_string_equal(text, "");
	free(text);
	text = pointer(&empty);
	assert_string_equal(text, "/it~1e~0ms/2/");
	free(text);
	text = pointer(&below);
	assert_string_equal(text, "/items/3/~01");
	free(text);
}

static void test_numbers_in_texts(void **state)
{
	static const struct {
		const char *json;
		uint64_t n;
	} rows[] = {
		{"7", 7},
		{"\"7\"", 7},
		{"\"18446744073709551615\"", UINT64_MAX},
		{"\"18446744073709551616\"", 0},
		{"-7", 0},
		{"\"-7\"", 0},
		{"\"7a\"", 0},
		{"\"\"", 0},
		{"7.5", 0},
		{"null", 0},
		{"[7]", 0},
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
		yyjson_doc *doc = yyjson_read(rows[i].json, strlen(rows[i].json), 0);

		assert_non_null(doc);
		assert_true(json_uint(yyjson_doc_get_root(doc)) == rows[i].n);
		yyjson_doc_free(doc);
	}
	assert_true(json_uint(NULL) == 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_depth),
		cmocka_unit_test(test_parse),
		cmocka_unit_test(test_parse_says_where),
		cmocka_unit_test(test_parse_survives_deep_nesting),
		cmocka_unit_test(test_pointer_rfc6901),
		cmocka_unit_test(test_numbers_in_texts),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
