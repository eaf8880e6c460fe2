/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * agent/push: what sinewd is told, when, and what becomes of its answers. The exchange and the
 * merge are the test's own; time is the loop's.
 */
#include "pushing.h"

static void start(void)
{
	push_start(push, true);
	wait_ms(5);
	assert_string_equal(wire.method, "PUT");
	answer(200, "{}");
	assert_true(push_status(push)->synced);
	wire.begun = 0;
}

static void test_nothing_is_sent_before_a_registry_has_spoken(void **state)
{
	push_kick(push, true);
	wait_ms(60);
	assert_int_equal(wire.begun, 0);
	push_start(push, true);
	wait_ms(5);
	assert_int_equal(wire.begun, 1);
	assert_string_equal(wire.method, "PUT");
	assert_true(says("a") && says("b"));
}

static void test_until_all_have_spoken_nothing_is_removed(void **state)
{
	push_start(push, false);
	wait_ms(5);
	assert_string_equal(wire.method, "PATCH");
	assert_true(says("a"));
	answer(200, "{}");
	assert_false(push_status(push)->synced);
	push_start(push, true);
	wait_ms(5);
	assert_string_equal(wire.method, "PUT");
}

static void test_changes_are_gathered_and_urgent_ones_are_not(void **state)
{
	uint64_t before;

	start();
	before = uv_hrtime() / 1000000;
	store.changed = "a";
	uv_update_time(&loop);
	push_kick(push, false);
	wait_ms(5);
	push_kick(push, false);
	wait_ms(100);
	assert_int_equal(wire.begun, 1);
	assert_in_range(wire.at_ms - before, 30, 1000); /* the start was at most 20 ms ago */
	assert_string_equal(wire.method, "PATCH");
	assert_string_equal(wire.match, "If-Match: \"7\"");
	assert_true(says("a"));
	store.gone = "b";
	push_kick(push, true);
	wait_ms(5);
	assert_int_equal(wire.begun, 1); /* one request at a time */
	answer(200, "{}");
	wait_ms(5);
	assert_int_equal(wire.begun, 2);
	assert_non_null(strstr(wire.body, "\"delete\":[{\"kind\":\"Service\","
					  "\"namespace\":\"default\",\"name\":\"b\"}]"));
}

static void test_the_first_change_after_a_quiet_time_is_not_kept_waiting(void **state)
{
	uint64_t first;

	start();
	wait_ms(60);
	store.changed = "a";
	push_kick(push, false);
	(void)uv_run(&loop, UV_RUN_NOWAIT); /* the next turn, however long that takes here */
	assert_int_equal(wire.begun, 1);
	first = wire.at_ms;
	answer(200, "{}");
	store.changed = "b";
	push_kick(push, false);
	wait_ms(100);
	assert_int_equal(wire.begun, 2);
	assert_in_range(wire.at_ms - first, 45, 1000);
}

static void test_a_sinewd_that_lost_count_is_told_all(void **state)
{
	start();
	store.changed = "a";
	push_kick(push, true);
	wait_ms(5);
	answer(412, "{}");
	wait_ms(5);
	assert_string_equal(wire.method, "PUT");
	assert_true(says("a") && says("b"));
}

static void test_an_absent_sinewd_is_tried_again_and_told_all(void **state)
{
	uint64_t before;

	start();
	store.changed = "a";
	push_kick(push, true);
	wait_ms(5);
	before = uv_hrtime() / 1000000;
	answer_error(-ECONNREFUSED);
	assert_false(push_status(push)->synced);
	assert_non_null(strstr(push_status(push)->error, "nobody answers"));
	push_kick(push, true); /* news do not shorten the wait */
	wait_ms(100);
	assert_int_equal(wire.begun, 2);
	assert_in_range(wire.at_ms - before, 45, 1000);
	assert_string_equal(wire.method, "PUT");
	answer(200, "{}");
	assert_true(push_status(push)->synced);
	assert_string_equal(push_status(push)->error, "");
}

static void test_who_could_not_reach_sinewd_makes_it_look_at_once(void **state)
{
	push_look(push); /* nothing has been told: there is nothing to look after */
	wait_ms(5);
	assert_int_equal(wire.begun, 0);
	start();
	wait_ms(60);
	assert_int_equal(wire.begun, 0);
	push_look(push);
	wait_ms(5);
	assert_int_equal(wire.begun, 1);
	push_look(push); /* it is being asked */
	answer_error(-ECONNREFUSED);
	assert_false(push_status(push)->synced);
	push_look(push); /* nor does that shorten the wait */
	(void)uv_run(&loop, UV_RUN_NOWAIT);
	assert_int_equal(wire.begun, 1);
}

static void test_one_refused_object_does_not_keep_the_rest(void **state)
{
	char said[200] = "";

	push_start(push, true);
	wait_ms(5);
	answer(422, "{\"detail\":\"x\",\"errors\":[{\"pointer\":\"/items/1/spec/address\","
		    "\"detail\":\"not allowed\"}]}");
	wait_ms(5);
	assert_int_equal(wire.begun, 2);
	assert_true(says("a"));
	assert_false(says("b"));
	answer(200, "{}");
	assert_int_equal(push_status(push)->refused, 1);
	push_visit_refused(push, on_refused, said);
	assert_string_equal(said, "default/b: not allowed");
	store.changed = "b"; /* it is different now: another chance */
	push_kick(push, true);
	wait_ms(5);
	assert_true(says("b"));
	assert_int_equal(push_status(push)->refused, 0);
}

static void test_an_object_refused_in_words_is_left_out_too(void **state)
{
	push_start(push, true);
	wait_ms(5);
	answer(409, "{\"detail\":\"x\",\"errors\":[{\"pointer\":\"\",\"detail\":"
		    "\"service default/a: source manifest owns it\"}]}");
	wait_ms(5);
	assert_false(says("a"));
	assert_true(says("b"));
}

/* Two clusters with the same range of addresses, say: sinewd names twenty of a request. */
static void test_however_many_are_refused_the_rest_is_sent(void **state)
{
	char text[4096];

	push_start(push, true);
	for (int i = 0; i < 400; i += 20) {
		int n = snprintf(text, sizeof(text), "{\"detail\":\"x\",\"errors\":[");

		for (int k = i; k < i + 20; k++)
			n += snprintf(text + n, sizeof(text) - (size_t)n,
				      "%s{\"pointer\":\"\",\"detail\":\"service default/s%d: no\"}",
				      k > i ? "," : "", k);
		(void)snprintf(text + n, sizeof(text) - (size_t)n, "]}");
		wait_ms(1);
		answer(409, text);
	}
	wait_ms(1);
	assert_true(says("a"));
	answer(200, "{}");
	assert_true(push_status(push)->synced);
	assert_int_equal(push_status(push)->refused, 400);
}

static void test_a_refusal_that_names_nothing_is_no_endless_loop(void **state)
{
	uint64_t before;

	push_start(push, true);
	wait_ms(5);
	before = uv_hrtime() / 1000000;
	answer(422, "{\"detail\":\"a limit\"}");
	assert_non_null(strstr(push_status(push)->error, "a limit"));
	wait_ms(100);
	assert_int_equal(wire.begun, 2);
	assert_in_range(wire.at_ms - before, 45, 1000);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_nothing_is_sent_before_a_registry_has_spoken,
						set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_until_all_have_spoken_nothing_is_removed,
						set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_changes_are_gathered_and_urgent_ones_are_not,
						set_up, tear_down),
		cmocka_unit_test_setup_teardown(
			test_the_first_change_after_a_quiet_time_is_not_kept_waiting, set_up,
			tear_down),
		cmocka_unit_test_setup_teardown(test_a_sinewd_that_lost_count_is_told_all, set_up,
						tear_down),
		cmocka_unit_test_setup_teardown(test_an_absent_sinewd_is_tried_again_and_told_all,
						set_up, tear_down),
		cmocka_unit_test_setup_teardown(
			test_who_could_not_reach_sinewd_makes_it_look_at_once, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_one_refused_object_does_not_keep_the_rest,
						set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_an_object_refused_in_words_is_left_out_too,
						set_up, tear_down),
		cmocka_unit_test_setup_teardown(
			test_a_refusal_that_names_nothing_is_no_endless_loop, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_however_many_are_refused_the_rest_is_sent,
						set_up, tear_down),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
