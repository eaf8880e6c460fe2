/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * registry/consul_pace: the rules of blocking queries, and that nobody can make us spin.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "registry/consul_pace.h"

static void test_p80_index_rules(void **state)
{
	struct consul_pace p = {};

	consul_pace_answer(&p, 0, true); /* would not block */
	assert_int_equal(p.index, 1);
	consul_pace_answer(&p, 500, true);
	assert_int_equal(p.index, 500);
	consul_pace_answer(&p, 500, false);
	assert_int_equal(p.index, 500);
	consul_pace_answer(&p, 20, true); /* backwards */
	assert_int_equal(p.index, 0);
	consul_pace_answer(&p, 20, false);
	assert_int_equal(p.index, 20);
	consul_pace_reset(&p);
	assert_int_equal(p.index, 0);
}

static void test_two_at_once_and_then_one_by_one(void **state)
{
	struct consul_pace p = {};
	uint64_t now = 1000;

	assert_int_equal(consul_pace_take(&p, now), 0);
	assert_int_equal(consul_pace_take(&p, now), 0);
	assert_int_equal(consul_pace_take(&p, now), CONSUL_PACE_MS);
	now += 10 * CONSUL_PACE_MS;
	assert_int_equal(consul_pace_take(&p, now), 0);
	assert_int_equal(consul_pace_take(&p, now), 0);
	assert_true(consul_pace_take(&p, now) > 0);
}

/* How many queries of a server that answers at once there are in ten seconds. */
static unsigned int ask_for_ten_seconds(bool is_news)
{
	struct consul_pace p = {};
	unsigned int n = 0;

	for (uint64_t now = 1; now < 10001; n++) {
		now += consul_pace_take(&p, now);
		consul_pace_answer(&p, 7, is_news);
	}
	return n;
}

static void test_p80_a_return_without_change_never_spins(void **state)
{
	assert_in_range(ask_for_ten_seconds(true), 90, 110);
	assert_in_range(ask_for_ten_seconds(false), 5, 18);
}

static void test_news_after_a_long_quiet_time_is_followed_at_once(void **state)
{
	struct consul_pace p = {};
	uint64_t now = 0;

	for (int i = 0; i < 20; i++) {
		now += 60000;
		assert_int_equal(consul_pace_take(&p, now), 0);
		consul_pace_answer(&p, 7, false);
	}
	consul_pace_answer(&p, 8, true);
	now += 1000;
	assert_int_equal(consul_pace_take(&p, now), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_p80_index_rules),
		cmocka_unit_test(test_two_at_once_and_then_one_by_one),
		cmocka_unit_test(test_p80_a_return_without_change_never_spins),
		cmocka_unit_test(test_news_after_a_long_quiet_time_is_followed_at_once),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
