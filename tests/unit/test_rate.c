/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * base/rate: a burst, then so many a second; each key for itself; and never more than the table.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/rate.h"

#define SECOND 1000000000ull

static int take_all(struct rate *r, uint64_t key, uint64_t now)
{
	int n = 0;

	while (n < 100000 && rate_take(r, key, now))
		n++;
	return n;
}

static void test_a_burst_then_so_many_a_second(void **state)
{
	static struct rate r;

	r = (struct rate){.per_second = 1000, .burst = 500};
	assert_int_equal(take_all(&r, 7, SECOND), 500);
	assert_int_equal(take_all(&r, 7, SECOND + 999999), 0);
	assert_int_equal(take_all(&r, 7, SECOND + 1000000), 1);
	assert_int_equal(take_all(&r, 7, SECOND + 101 * 1000000ull), 100);
	assert_int_equal(take_all(&r, 7, 3600 * SECOND), 500);
}

/* Looked at often, it fills no faster and no slower. */
static void test_no_fraction_is_lost(void **state)
{
	static struct rate r;
	int n = 0;

	r = (struct rate){.per_second = 1000, .burst = 10};
	assert_int_equal(take_all(&r, 7, SECOND), 10);
	for (uint64_t ns = 0; ns <= SECOND; ns += 333)
		n += rate_take(&r, 7, SECOND + ns);
	assert_in_range(n, 999, 1000);
}

static void test_each_key_has_its_own(void **state)
{
	static struct rate r;

	r = (struct rate){.per_second = 10, .burst = 10};
	assert_int_equal(take_all(&r, 1, SECOND), 10);
	assert_int_equal(take_all(&r, 2, SECOND), 10);
	assert_int_equal(take_all(&r, 1, SECOND), 0);
}

/* Far more keys than places: the one in use keeps its bucket. */
static void test_the_one_that_was_used_longest_ago_gives_way(void **state)
{
	static struct rate r;

	r = (struct rate){.per_second = 1, .burst = 5};
	assert_int_equal(take_all(&r, 1, SECOND), 5);
	for (uint64_t key = 2; key < 100000; key++) {
		assert_true(rate_take(&r, key, SECOND + key));
		if (key % 4 == 0)
			assert_false(rate_take(&r, 1, SECOND + key));
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_a_burst_then_so_many_a_second),
		cmocka_unit_test(test_no_fraction_is_lost),
		cmocka_unit_test(test_each_key_has_its_own),
		cmocka_unit_test(test_the_one_that_was_used_longest_ago_gives_way),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
