/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * error.c: a bounded list of errors, sorted by place, equal places in the order they came in.
 */
#include "manifest/error.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

#include "base/cleanup.h"
#include "model/limits.h"

static void test_errors_are_sorted_by_place(void **state)
{
	static const struct place places[] = {{3, 1}, {1, 9}, {3, 1}, {1, 2}, {2, 5}, {1, 9}};
	static const char *const want[] = {"3", "1", "5", "4", "0", "2"};
	struct error_list list = {};

	for (size_t i = 0; i < ARRAY_SIZE(places); i++)
		error_add(&list, places[i], "%zu", i);
	error_sort(&list);
	assert_int_equal(list.n, ARRAY_SIZE(places));
	for (size_t i = 0; i < ARRAY_SIZE(want); i++)
		assert_string_equal(list.items[i].message, want[i]);
	error_list_done(&list);
	assert_null(list.items);
}

static void test_what_is_over_the_limit_is_counted(void **state)
{
	struct error_list list = {};

	for (size_t i = 0; i < 3 * LIMIT_PROBLEMS; i++)
		error_add(&list, (struct place){1, 1}, "%s", "x");
	assert_int_equal(list.n, LIMIT_PROBLEMS);
	assert_int_equal(list.more, 2 * LIMIT_PROBLEMS);
	assert_false(list.no_memory);
	error_list_done(&list);
}

static void test_errors_behind_the_text_are_told_at_its_end(void **state)
{
	static const char text[] = "\xc3\xa9: [\n\nabc\n";
	static const struct place places[] = {{0, 0}, {1, 5}, {1, 9}, {2, 3},
					      {3, 2}, {4, 1}, {9, 9}};
	static const struct place want[] = {{1, 1}, {1, 5}, {1, 5}, {2, 1}, {3, 2}, {3, 4}, {3, 4}};
	struct error_list list = {};

	for (size_t i = 0; i < ARRAY_SIZE(places); i++)
		error_add(&list, places[i], "x");
	error_clamp(&list, text, sizeof(text) - 1);
	for (size_t i = 0; i < ARRAY_SIZE(want); i++) {
		assert_int_equal(list.items[i].line, want[i].line);
		assert_int_equal(list.items[i].column, want[i].column);
	}
	error_list_done(&list);
	error_add(&list, (struct place){2, 7}, "x");
	error_clamp(&list, "", 0);
	assert_int_equal(list.items[0].line, 1);
	assert_int_equal(list.items[0].column, 1);
	error_list_done(&list);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_errors_are_sorted_by_place),
		cmocka_unit_test(test_errors_behind_the_text_are_told_at_its_end),
		cmocka_unit_test(test_what_is_over_the_limit_is_counted),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
