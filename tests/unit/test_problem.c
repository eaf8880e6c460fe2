/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * model/problem: a bounded list that always tells that something was wrong.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>

#include "model/limits.h"
#include "model/problem.h"

static void test_problems(void **state)
{
	struct problems p = {};

	assert_false(problems_any(&p));
	problem_add(&p, "/spec/ports/0/port", "port %d is out of range", 70000);
	problem_add_key(&p, "/spec/prots", "unknown key");
	assert_true(problems_any(&p));
	assert_int_equal(p.n, 2);
	assert_string_equal(p.items[0].pointer, "/spec/ports/0/port");
	assert_string_equal(p.items[0].message, "port 70000 is out of range");
	assert_false(p.items[0].at_key);
	assert_true(p.items[1].at_key);
	problems_done(&p);
	assert_false(problems_any(&p));
	problems_done(&p);
}

static void test_what_is_too_much_is_told_in_numbers_too(void **state)
{
	const struct problem_limit limit = {"backends", 12, 10};
	struct problems p = {};

	problem_add(&p, "", "another");
	problem_add_limit(&p, "/items", &limit, "%d backends", 12);
	assert_null(p.items[0].limit.of);
	assert_string_equal(p.items[1].message, "12 backends");
	assert_string_equal(p.items[1].limit.of, "backends");
	assert_int_equal(p.items[1].limit.count, 12);
	assert_int_equal(p.items[1].limit.most, 10);
	while (p.n < LIMIT_PROBLEMS)
		problem_add(&p, "", "more");
	problem_add_limit(&p, "", &limit, "too late");
	assert_null(p.items[LIMIT_PROBLEMS - 1].limit.of);
	problems_done(&p);
}

static void test_limit_problems(void **state)
{
	struct problems p = {};

	for (int i = 0; i < LIMIT_PROBLEMS + 3; i++)
		problem_add_key(&p, "", "%d", i);
	assert_int_equal(p.n, LIMIT_PROBLEMS);
	assert_int_equal(p.more, 3);
	assert_string_equal(p.items[LIMIT_PROBLEMS - 1].message, "19");
	problems_done(&p);
	assert_int_equal(p.more, 0);
}

static void test_without_memory_it_is_a_problem_still(void **state)
{
	struct problems p = {.no_memory = true};

	assert_true(problems_any(&p));
	problems_done(&p);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_problems),
		cmocka_unit_test(test_what_is_too_much_is_told_in_numbers_too),
		cmocka_unit_test(test_limit_problems),
		cmocka_unit_test(test_without_memory_it_is_a_problem_still),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
