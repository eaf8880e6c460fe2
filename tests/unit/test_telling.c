/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What a report may look like, and what it may not.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <string.h>

#include "base/cleanup.h"
#include "model/telling.h"

static int parse(const char *text, struct telling *ret)
{
	return telling_parse(text, strlen(text), ret);
}

static void test_a_report_is_a_word_and_a_cookie(void **state)
{
	struct telling t = {};

	assert_int_equal(parse("failure 4711", &t), 0);
	assert_true(t.failed);
	assert_int_equal(t.cookie, 4711);
	assert_int_equal(parse("success 1\n", &t), 0);
	assert_false(t.failed);
	assert_int_equal(t.cookie, 1);
	assert_int_equal(parse("failure 18446744073709551615", &t), 0);
	assert_true(t.cookie == UINT64_MAX);
}

static void test_anything_else_is_none(void **state)
{
	static const char *const texts[] = {
		"",
		"\n",
		"failure",
		"failure ",
		"failure \n",
		"failure 0",
		"failure 07",
		"failure -1",
		"failure +1",
		"failure  1",
		" failure 1",
		"failure 1 ",
		"failure 1\n\n",
		"failure 1x",
		"Failure 1",
		"failed 1",
		"success\t1",
		"failure 0x1f",
		"failure 18446744073709551616",
		"failure 99999999999999999999999999999",
		"failure 1\nfailure 2",
	};
	struct telling t = {.cookie = 9};

	for (size_t i = 0; i < ARRAY_SIZE(texts); i++)
		assert_int_equal(parse(texts[i], &t), -EINVAL);
	assert_int_equal(telling_parse("failure 1\0", 10, &t), -EINVAL);
	assert_int_equal(telling_parse("failure \0001", 10, &t), -EINVAL);
	assert_int_equal(t.cookie, 9);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_a_report_is_a_word_and_a_cookie),
		cmocka_unit_test(test_anything_else_is_none),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
