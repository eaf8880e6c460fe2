/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * scalar.c: the core schema of YAML 1.2, chapter 10.3.2, and nothing of YAML 1.1.
 */
#include "manifest/scalar.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/cleanup.h"

static int setup(void **state)
{
	*state = yyjson_mut_doc_new(NULL);
	return *state ? 0 : -1;
}

static int teardown(void **state)
{
	yyjson_mut_doc_free(*state);
	return 0;
}

static yyjson_mut_val *resolve(void **state, const char *text)
{
	yyjson_mut_val *value = scalar_resolve(*state, text, strlen(text));

	assert_non_null(value);
	return value;
}

static void test_nulls_and_truths_of_the_core_schema(void **state)
{
	static const char *const nulls[] = {"", "~", "null", "Null", "NULL"};
	static const char *const truths[] = {"true", "True", "TRUE"};
	static const char *const lies[] = {"false", "False", "FALSE"};

	for (size_t i = 0; i < ARRAY_SIZE(nulls); i++)
		assert_true(yyjson_mut_is_null(resolve(state, nulls[i])));
	for (size_t i = 0; i < ARRAY_SIZE(truths); i++) {
		assert_true(yyjson_mut_is_true(resolve(state, truths[i])));
		assert_true(yyjson_mut_is_false(resolve(state, lies[i])));
	}
}

static void test_what_yaml_1_1_took_for_something_is_text(void **state)
{
	static const char *const texts[] = {
		"yes",        "no",    "on",    "off",   "y",  "n",   "nULL", "tRUE",
		"12:30:45",   "1_000", "0b101", "0777x", "0x", "0o8", "0o",   "+",
		"-",          ".",     "1e",    "1e+",   "e5", "--1", "+0x1", "1.2.3",
		"10.0.0.1/8", ".inf",  ".nan",  "- 1",   " 1", "1 ",  "0xg",  "fd00::1"};

	for (size_t i = 0; i < ARRAY_SIZE(texts); i++) {
		yyjson_mut_val *value = resolve(state, texts[i]);

		assert_true(yyjson_mut_is_str(value));
		assert_string_equal(yyjson_mut_get_str(value), texts[i]);
	}
}

static void test_integers(void **state)
{
	static const struct {
		const char *text;
		uint64_t value;
	} cases[] = {{"0", 0},
		     {"80", 80},
		     {"+80", 80},
		     {"007", 7},
		     {"0x1F90", 8080},
		     {"0o17", 15},
		     {"18446744073709551615", UINT64_MAX}};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		yyjson_mut_val *value = resolve(state, cases[i].text);

		assert_true(yyjson_mut_is_uint(value));
		assert_true(yyjson_mut_get_uint(value) == cases[i].value);
	}
	assert_int_equal(yyjson_mut_get_sint(resolve(state, "-1")), -1);
	assert_true(yyjson_mut_get_sint(resolve(state, "-9223372036854775807")) == -INT64_MAX);
}

static void test_reals_and_numbers_too_large(void **state)
{
	static const char *const reals[] = {
		"1.5", ".5", "5.", "1e3", "-0.0", "+1E-3", "18446744073709551616"};

	for (size_t i = 0; i < ARRAY_SIZE(reals); i++)
		assert_true(yyjson_mut_is_real(resolve(state, reals[i])));
	/* No infinity: JSON could not say it. */
	assert_true(yyjson_mut_is_str(resolve(state, "1e400")));
	assert_true(yyjson_mut_is_str(resolve(state, "0o7777777777777777777777777777")));
}

static void test_long_and_binary_texts_stay_whole(void **state)
{
	char digits[200];
	yyjson_mut_val *value;

	memset(digits, '1', sizeof(digits));
	value = scalar_resolve(*state, digits, sizeof(digits));
	assert_true(yyjson_mut_is_str(value));
	assert_int_equal(yyjson_mut_get_len(value), sizeof(digits));
	value = scalar_resolve(*state, "1\0002", 3);
	assert_true(yyjson_mut_is_str(value));
	assert_int_equal(yyjson_mut_get_len(value), 3);
	assert_true(yyjson_mut_is_null(scalar_resolve(*state, NULL, 0)));
}

static void test_single_quotes(void **state)
{
	static const struct {
		const char *text, *want;
	} cases[] = {{"", ""},
		     {"it''s", "it's"},
		     {"''''''''''''", "''''''"},
		     {" a  b ", " a  b "},
		     {"a\nb", "a b"},
		     {"a \t\n\t b", "a b"},
		     {"a\n\nb", "a\nb"},
		     {"a\n \n\t\nb", "a\n\nb"},
		     {"a\r\nb\r\n\r\nc", "a b\nc"},
		     {"\na\n", " a "},
		     {" \n", " "},
		     {"''\n''", "' '"},
		     {"\\n \xc3\xa9", "\\n \xc3\xa9"}};
	char text[64];

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		size_t n = scalar_unquote(cases[i].text, strlen(cases[i].text), text);

		assert_int_equal(n, strlen(cases[i].want));
		assert_memory_equal(text, cases[i].want, n);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_nulls_and_truths_of_the_core_schema),
		cmocka_unit_test(test_what_yaml_1_1_took_for_something_is_text),
		cmocka_unit_test(test_integers),
		cmocka_unit_test(test_reals_and_numbers_too_large),
		cmocka_unit_test(test_single_quotes),
		cmocka_unit_test(test_long_and_binary_texts_stay_whole),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
