/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * register/registrar, queue and record: what registries are asked, in which order, and what becomes
 * of their answers.
 */
#include "registering.h"

#define OWNED(service)                                                                             \
	"{\"x\":{\"ID\":\"" ID(service) "\",\"Service\":\"" service                                \
					"\",\"Meta\":{\"sinew-node\":\"n1\"}}}"

static void answer_error(const char *what, int error)
{
	struct fetch *x = asked(what);
	const struct fetch_result result = {
		.error = error, .error_text = "nobody answers", .body = ""};

	assert_non_null(x);
	x->under_way = false;
	x->on_done(x->arg, &result);
}

/* --- Consul ------------------------------------------------------------------------------------
 */

static void test_it_is_registered_and_removed(void **state)
{
	wait_ms(1);
	assert_string_equal(wire.asked[0].what,
			    LIST "Meta%5B%22sinew-node%22%5D%20%3D%3D%20%22n1%22");
	answer(LIST, 200, "{}");
	want(0, "pay");
	tell(true);
	assert_non_null(strstr(asked(REGISTER)->body, "\"ID\":\"" ID("pay") "\""));
	assert_said(ID("pay") " pending;");
	answer(REGISTER, 200, "");
	assert_said(ID("pay") " registered;");
	tell(true);
	assert_said(ID("pay") " leaving;");
	answer(DROP("pay"), 200, "");
	assert_said(ID("pay") " gone;");
	assert_int_equal(under_way(), 0);
}

static void test_it_is_kept_three_times_in_a_lease(void **state)
{
	uint64_t began = uv_hrtime() / 1000000;

	ttl_ms = 300;
	begin_with("pay");
	wait_ms(40);
	assert_null(asked(KEEP("pay")));
	wait_ms(80);
	answer(KEEP("pay"), 200, "");
	assert_in_range(wire.begun_at[wire.n - 1] - began, 95, 1000);
	wait_ms(120);
	answer(KEEP("pay"), 200, "");
	ttl_ms = 15000;
	assert_said("");
}

static void test_one_that_the_registry_lost_is_registered_anew(void **state)
{
	ttl_ms = 30;
	begin_with("pay");
	wait_ms(20);
	answer(KEEP("pay"), 404, "Unknown check ID");
	ttl_ms = 15000;
	assert_said(ID("pay") " pending;");
	answer(REGISTER, 200, "");
	assert_said(ID("pay") " registered;");
}

static void test_one_that_comes_back_while_it_is_removed_is_registered_after_that(void **state)
{
	begin_with("pay");
	tell(true);
	assert_non_null(asked(DROP("pay")));
	want(0, "pay");
	tell(true);
	assert_null(asked(REGISTER)); /* one thing at a time */
	answer(DROP("pay"), 200, "");
	answer(REGISTER, 200, "");
	assert_int_equal(under_way(), 0);
}

static void
test_one_that_comes_back_after_a_removal_nobody_answered_is_registered_anew(void **state)
{
	begin_with("pay");
	tell(true);
	want(0, "pay");
	tell(true);
	answer_error(DROP("pay"), -ETIMEDOUT); /* perhaps it is gone */
	for (int i = 0; i < 20 && !asked(REGISTER); i++)
		wait_ms(50);
	answer(REGISTER, 200, "");
	assert_int_equal(under_way(), 0);
}

static void test_one_that_goes_while_it_is_registered_is_removed_after_that(void **state)
{
	wait_ms(1);
	answer(LIST, 200, "{}");
	want(0, "pay");
	tell(true);
	tell(true);
	answer_error(REGISTER, -ETIMEDOUT); /* perhaps it is there */
	wait_ms(250);
	answer(DROP("pay"), 404, "Unknown service ID");
	assert_int_equal(under_way(), 0);
	assert_non_null(strstr(said, ID("pay") " gone;"));
}

static void test_what_changed_is_told_and_a_refused_change_costs_nothing(void **state)
{
	ttl_ms = 300;
	begin_with("pay");
	tag = (char *)"v2";
	want(0, "pay");
	tell(true);
	assert_non_null(strstr(asked(REGISTER)->body, "\"v2\""));
	answer(REGISTER, 400, "bad tag");
	assert_said(ID("pay") " pending;" ID("pay") " failing;");
	wait_ms(120);
	answer(KEEP("pay"), 200, ""); /* it lives on as it was */
	tag = NULL;
	want(0, "pay");
	tell(true);
	ttl_ms = 15000;
	assert_int_equal(under_way(), 0); /* as it is there */
}

static void test_removals_come_first(void **state)
{
	begin_with("pay");
	forget_asked();
	for (char c = 'a'; c <= 'k'; c++)
		want(0, (char[]){c, 0});
	tell(true);
	assert_int_equal(under_way(), 8); /* so many at once */
	assert_true(asked(DROP("pay")) == &wire.asked[0]);
	while (under_way())
		answer("PUT", 200, "");
}

static void test_a_registry_that_is_down_is_asked_by_one_and_nothing_is_forgotten(void **state)
{
	begin_with("pay");
	want(0, "a");
	want(0, "b");
	tell(true);
	answer_error(DROP("pay"), -ECONNREFUSED);
	answer_error(REGISTER, -ECONNREFUSED);
	answer_error(REGISTER, -ECONNREFUSED);
	assert_int_equal(under_way(), 0);
	assert_non_null(strstr(said, "dc1 down;"));
	*said = '\0';
	for (int i = 0; i < 5; i++) {
		wait_ms(60);
		assert_true(under_way() <= 1);
		while (asked("PUT"))
			answer_error("PUT", -ECONNREFUSED);
	}
	for (int i = 0; i < 40 && !asked("PUT"); i++)
		wait_ms(100);
	answer("PUT", 200, "");
	assert_non_null(strstr(said, "dc1 up;"));
	for (int i = 0; i < 40; i++) {
		wait_ms(100);
		while (asked("PUT"))
			answer("PUT", 200, "");
	}
	assert_non_null(strstr(said, ID("pay") " gone;"));
	assert_non_null(strstr(said, ID("a") " registered;"));
	assert_non_null(strstr(said, ID("b") " registered;"));
}

static void test_one_that_breaks_the_server_does_not_stop_the_others(void **state)
{
	begin_with("a");
	want(0, "b");
	tell(true);
	for (int i = 0; i < 10; i++) { /* "a" is removed, the server says 500 to that */
		while (asked(DROP("a")))
			answer(DROP("a"), 500, "oops");
		while (asked(REGISTER))
			answer(REGISTER, 200, "");
		wait_ms(50);
	}
	assert_non_null(strstr(said, ID("b") " registered;"));
	assert_null(strstr(said, ID("a") " gone;"));
}

/* --- what was there before us ------------------------------------------------------------------
 */

static void test_what_an_agent_before_us_left_stays_until_all_is_known(void **state)
{
	wait_ms(1);
	answer(LIST, 200, OWNED("pay"));
	assert_said(ID("pay") " found;");
	answer(KEEP("pay"), 200, "");
	tell(false); /* sinewd has not told everything */
	assert_int_equal(under_way(), 0);
	want(0, "pay");
	tell(true);
	assert_said(ID("pay") " pending;");
	answer(REGISTER, 200, "");
	assert_said(ID("pay") " registered;");
	assert_int_equal(under_way(), 0);
}

static void test_what_nobody_wants_any_more_is_removed_once_all_is_known(void **state)
{
	wait_ms(1);
	answer(LIST, 200, OWNED("pay"));
	answer(KEEP("pay"), 200, "");
	tell(true);
	answer(DROP("pay"), 200, "");
	assert_non_null(strstr(said, ID("pay") " gone;"));
	assert_int_equal(under_way(), 0);
}

static void test_a_list_that_comes_late_removes_what_is_left_over(void **state)
{
	wait_ms(1);
	answer_error(LIST, -ECONNREFUSED);
	want(0, "a");
	tell(true);
	wait_ms(250);
	answer(REGISTER, 200, "");
	wait_ms(5);
	answer(LIST, 200, OWNED("pay"));
	answer(DROP("pay"), 200, "");
	assert_int_equal(under_way(), 0);
}

static void test_a_list_that_always_fails_costs_no_lease_and_is_asked_ever_more_seldom(void **state)
{
	size_t lists = 0, keeps = 0;

	ttl_ms = 60;
	want(0, "a");
	tell(true);
	for (int i = 0; i < 150; i++) { /* all else is well */
		for (; asked(KEEP("a")); keeps++)
			answer(KEEP("a"), 200, "");
		while (asked("PUT"))
			answer("PUT", 200, "");
		for (; asked(LIST); lists++)
			answer(LIST, 500, "it is too much");
		forget_asked();
		wait_ms(15);
	}
	ttl_ms = 15000;
	assert_true(keeps > 10);
	assert_in_range(lists, 3, 8);
}

static void test_one_that_may_not_list_registers_all_the_same(void **state)
{
	wait_ms(1);
	answer(LIST, 403, "Permission denied");
	want(0, "a");
	tell(true);
	answer(REGISTER, 200, "");
	assert_int_equal(under_way(), 0); /* it is tried again, but seldom */
	assert_string_equal(registrar_failure(registrar, 0), "");
	assert_non_null(strstr(registrar_list_failure(registrar, 0), "service:read"));
}

/* --- the end -----------------------------------------------------------------------------------
 */

static void test_leaving_takes_everything_out(void **state)
{
	begin_with("a");
	registrar_leave(registrar);
	assert_false(left);
	answer_error(DROP("a"), -ECONNRESET);
	assert_false(left);
	wait_ms(350);
	answer(DROP("a"), 200, "");
	assert_true(left);
	want(0, "a");
	tell(true); /* too late */
	assert_int_equal(under_way(), 0);
}

static void test_leaving_without_anything_is_done_at_once(void **state)
{
	registrar_leave(registrar);
	assert_true(left);
}

static void test_who_can_be_written(void **state)
{
	assert_int_equal(registrar_find(registrar, "dc1"), 0);
	assert_int_equal(registrar_find(registrar, "k"), 2);
	assert_int_equal(registrar_find(registrar, "k8s"), -EROFS);
	assert_int_equal(registrar_find(registrar, "bad"), -EROFS);
	assert_int_equal(registrar_find(registrar, "x"), -ENOENT);
	assert_non_null(strstr(registrar_failure(registrar, 4), "credentials"));
}

#define T(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)
#define T_ALL(f) cmocka_unit_test_setup_teardown(f, set_up_all, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(test_it_is_registered_and_removed),
		T(test_it_is_kept_three_times_in_a_lease),
		T(test_one_that_the_registry_lost_is_registered_anew),
		T(test_one_that_comes_back_while_it_is_removed_is_registered_after_that),
		T(test_one_that_comes_back_after_a_removal_nobody_answered_is_registered_anew),
		T(test_one_that_goes_while_it_is_registered_is_removed_after_that),
		T(test_what_changed_is_told_and_a_refused_change_costs_nothing),
		T(test_removals_come_first),
		T(test_a_registry_that_is_down_is_asked_by_one_and_nothing_is_forgotten),
		T(test_one_that_breaks_the_server_does_not_stop_the_others),
		T(test_what_an_agent_before_us_left_stays_until_all_is_known),
		T(test_what_nobody_wants_any_more_is_removed_once_all_is_known),
		T(test_a_list_that_comes_late_removes_what_is_left_over),
		T(test_a_list_that_always_fails_costs_no_lease_and_is_asked_ever_more_seldom),
		T(test_one_that_may_not_list_registers_all_the_same),
		T(test_leaving_takes_everything_out),
		T(test_leaving_without_anything_is_done_at_once),
		T_ALL(test_who_can_be_written),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
