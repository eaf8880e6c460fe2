/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * base/option_suggest: near enough to be a slip, else nothing.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>

#include "base/cleanup.h"
#include "program.h"

static void test_suggest(void **state)
{
	static const char *const words[] = {"services", "endpoints", "policies", "a", "ab", NULL};
	static const char *const rows[][2] = {
		{"service", "services"},
		{"serivces", "services"},
		{"sevrices", "services"},
		{"endpoint", "endpoints"},
		{"polices", "policies"},
		{"plicies", "policies"},
		{"ba", "ab"},
		{"services", "services"},
	};
	char longest[66];

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		const char *found = option_suggest(rows[i][0], words);

		if (!found || strcmp(found, rows[i][1]) != 0)
			fail_msg("%s: %s", rows[i][0], found ? found : "nothing");
	}
	assert_null(option_suggest("weather", words));
	assert_null(option_suggest("serv", words));
	assert_null(option_suggest("xyz", words));
	memset(longest, 'x', sizeof(longest) - 1);
	longest[sizeof(longest) - 1] = '\0';
	assert_null(option_suggest(longest, words));
	assert_null(option_suggest_command(&program, longest));
}

/* A candidate that is too long is passed over, and so is what shares not one letter. */
static void test_strange_candidates(void **state)
{
	char longest[80];
	const char *const words[] = {longest, "x", NULL};

	memset(longest, 'y', sizeof(longest) - 1);
	longest[sizeof(longest) - 1] = '\0';
	assert_null(option_suggest("y", words));
	assert_null(option_suggest("", words));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_suggest),
		cmocka_unit_test(test_strange_candidates),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
