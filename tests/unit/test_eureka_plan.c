/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * registry/eureka_plan: when everything is asked for, on a clock of the test's own.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "registry/eureka_plan.h"

#define SECOND 1000u
#define POLL (30 * SECOND)

static void test_everything_once_then_what_changed(void **state)
{
	struct eureka_plan p = {.interval_ms = POLL};
	uint64_t now = 1000000;

	assert_true(eureka_plan_is_full(&p, now));
	assert_int_equal(eureka_plan_full(&p, now), POLL);
	for (int i = 0; i < 1000; i++) {
		now += POLL;
		assert_false(eureka_plan_is_full(&p, now));
		assert_int_equal(eureka_plan_delta(&p, now, true), POLL);
	}
}

/* A server keeps changes for 180 s, and its answer may be 30 s old. */
static void test_p81_after_three_minutes_without_a_delta_everything_is_asked_for(void **state)
{
	struct eureka_plan p = {.interval_ms = POLL};
	uint64_t now = 5;

	(void)eureka_plan_full(&p, now);
	(void)eureka_plan_delta(&p, now += POLL, true);
	assert_false(eureka_plan_is_full(&p, now + 150 * SECOND));
	assert_true(eureka_plan_is_full(&p, now + 150 * SECOND + 1));
	now += 3600 * SECOND;
	assert_true(eureka_plan_is_full(&p, now));
	assert_int_equal(eureka_plan_full(&p, now), POLL);
	assert_false(eureka_plan_is_full(&p, now + POLL));
}

static void test_p81_a_hash_that_differs_is_followed_by_one_full_answer(void **state)
{
	struct eureka_plan p = {.interval_ms = POLL};
	uint64_t now = 5;

	(void)eureka_plan_full(&p, now);
	assert_int_equal(eureka_plan_delta(&p, now += POLL, false), 0);
	assert_true(eureka_plan_is_full(&p, now));
	assert_int_equal(eureka_plan_full(&p, now), POLL);
	assert_int_equal(eureka_plan_delta(&p, now += POLL, true), POLL);
	assert_int_equal(eureka_plan_delta(&p, now += POLL, false), 0); /* anew, at once */
}

/* Full answers of a server whose hash code is always wrong, within an hour. */
static void test_p81_a_hash_that_always_differs_costs_ever_less(void **state)
{
	struct eureka_plan p = {.interval_ms = POLL};
	uint64_t now = 5, end = now + 3600 * SECOND, last = now, longest = 0;
	unsigned int fulls = 0, deltas = 0;

	(void)eureka_plan_full(&p, now);
	now += POLL;
	while (now < end) {
		if (eureka_plan_is_full(&p, now)) {
			now += eureka_plan_full(&p, now);
			fulls++;
			longest = now - last > longest ? now - last : longest;
			last = now;
		} else {
			now += eureka_plan_delta(&p, now, false);
			deltas++;
		}
	}
	assert_in_range(fulls, 10, 15);
	assert_in_range(deltas, 100, 120);
	assert_in_range(longest, 300 * SECOND, 300 * SECOND + 2 * POLL);
}

static void test_denied_deltas_are_tried_again_at_times(void **state)
{
	struct eureka_plan p = {.interval_ms = POLL};
	uint64_t now = 5;
	unsigned int fulls = 0;

	(void)eureka_plan_full(&p, now);
	now += POLL;
	assert_int_equal(eureka_plan_refused(&p), 0);
	while (eureka_plan_is_full(&p, now)) {
		now += eureka_plan_full(&p, now);
		fulls++;
	}
	assert_in_range(fulls, 10, 40);
}

/* After a second look found more than the answers have. */
static void test_a_doubt_is_followed_by_one_full_answer(void **state)
{
	struct eureka_plan p = {.interval_ms = POLL};
	uint64_t now = 5;

	(void)eureka_plan_full(&p, now);
	assert_int_equal(eureka_plan_delta(&p, now += POLL, true), POLL);
	eureka_plan_doubt(&p);
	assert_true(eureka_plan_is_full(&p, now += POLL));
	assert_int_equal(eureka_plan_full(&p, now), POLL);
	assert_false(eureka_plan_is_full(&p, now + POLL));
	eureka_plan_doubt(&p); /* and again: not with each poll */
	assert_false(eureka_plan_is_full(&p, now + POLL));
	assert_true(eureka_plan_is_full(&p, now + 2 * POLL));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_a_doubt_is_followed_by_one_full_answer),
		cmocka_unit_test(test_everything_once_then_what_changed),
		cmocka_unit_test(
			test_p81_after_three_minutes_without_a_delta_everything_is_asked_for),
		cmocka_unit_test(test_p81_a_hash_that_differs_is_followed_by_one_full_answer),
		cmocka_unit_test(test_p81_a_hash_that_always_differs_costs_ever_less),
		cmocka_unit_test(test_denied_deltas_are_tried_again_at_times),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
