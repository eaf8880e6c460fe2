/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * agent/push: what has to be told again. What went while not every registry had spoken, when sinewd
 * missed or lost it; and what did not fit into a sinewd that was full.
 */
#include "pushing.h"

/* --- what went ---------------------------------------------------------------------------------
 */

static bool removes(const char *name)
{
	const char *deletes = strstr(wire.body, "\"delete\":");
	char text[40];

	(void)snprintf(text, sizeof(text), "\"name\":\"%s\"", name);
	return deletes && strstr(deletes, text);
}

/* One registry has spoken, the other never does: sinewd is told changes. */
static void start_partly(void)
{
	push_start(push, false);
	wait_ms(5);
	assert_string_equal(wire.method, "PATCH");
	assert_null(strstr(wire.url, "?"));
	answer(200, "{}");
	wire.begun = 0;
}

static void remove_partly(const char *name)
{
	store.gone = name;
	push_kick(push, true);
	wait_ms(5);
	assert_int_equal(wire.begun, 1);
	assert_true(removes(name));
	assert_non_null(strstr(wire.url, "/v1/sources/agent?ignoreNotFound=true"));
}

static void answer_status(int how)
{
	if (how < 0)
		answer_error(how);
	else
		answer((unsigned int)how,
		       "{\"errors\":[{\"pointer\":\"/upsert/0\",\"detail\":\"no\"}]}");
}

static void test_until_all_have_spoken_a_removal_that_failed_is_told_again(void **state)
{
	const int failures[] = {-ECONNREFUSED, -ETIMEDOUT, -ECONNRESET, 500, 503, 507, 412, 404};

	start_partly();
	for (size_t i = 0; i < sizeof(failures) / sizeof(failures[0]); i++) {
		wire.begun = 0;
		store.all = "ac";
		store.changed = "c";
		push_kick(push, true);
		wait_ms(5);
		answer(200, "{}");
		wire.begun = 0;
		store.all = "a";
		remove_partly("c");
		answer_status(failures[i]);
		wait_ms(70);
		assert_int_equal(wire.begun, 2);
		assert_string_equal(wire.method, "PATCH");
		assert_non_null(strstr(wire.url, "?ignoreNotFound=true"));
		assert_true(says("a") && removes("c"));
		answer(200, "{}");
	}
}

/* All or nothing: what is refused for another's sake has not gone. */
static void test_a_removal_in_a_refused_change_is_told_again(void **state)
{
	start_partly();
	store.changed = "b";
	remove_partly("c");
	answer_status(422);
	wait_ms(5);
	assert_int_equal(wire.begun, 2);
	assert_false(says("b"));
	assert_true(says("a") && removes("c"));
}

/* sinewd answers before it has written: killed then, it has what it had. */
static void test_a_sinewd_that_lost_a_removal_is_told_again(void **state)
{
	start_partly();
	remove_partly("c");
	answer(200, "{}");
	store.changed = "a";
	push_kick(push, true);
	wait_ms(5);
	assert_false(removes("c"));
	answer(412, "{}");
	wait_ms(5);
	assert_true(says("a") && says("b") && removes("c"));
	answer(200, "{}");
}

static void test_what_came_again_is_not_removed(void **state)
{
	start_partly();
	remove_partly("b");
	answer_error(-ETIMEDOUT);
	store.all = "a";
	store.gone = "d"; /* meanwhile */
	wait_ms(70);
	assert_true(removes("b") && removes("d"));
	answer_error(-ETIMEDOUT);
	store.all = "ab";
	wait_ms(150);
	assert_int_equal(wire.begun, 3);
	assert_true(says("b") && !removes("b") && removes("d"));
	answer(200, "{}");
	push_start(push, true); /* now what nobody names goes anyway */
	wait_ms(5);
	assert_string_equal(wire.method, "PUT");
	assert_false(removes("d"));
	assert_null(strstr(wire.url, "?"));
	answer_error(-ETIMEDOUT);
	wait_ms(70);
	assert_string_equal(wire.method, "PUT");
}

static void test_a_removal_that_is_refused_does_not_keep_the_rest(void **state)
{
	start_partly();
	remove_partly("c");
	answer(422, "{\"errors\":[{\"pointer\":\"\",\"detail\":"
		    "\"service default/c: in use\"}]}");
	wait_ms(5);
	assert_int_equal(wire.begun, 2);
	assert_true(says("a") && says("b"));
	assert_false(removes("c"));
	answer(200, "{}");
	assert_int_equal(push_status(push)->refused, 1);
	wire.begun = 0;
	remove_partly("c"); /* once more by itself: another chance */
}

/* A manifest's service uses the policy that is to go, say. */
static void test_what_sinewd_does_not_let_go_does_not_keep_the_rest(void **state)
{
	char said[200] = "";

	push_start(push, true);
	wait_ms(5);
	answer(200, "{}");
	store.all = "ac";
	store.changed = "c";
	store.gone = "d";
	push_kick(push, true);
	wait_ms(5);
	answer_error(-ETIMEDOUT);
	wait_ms(70);
	assert_string_equal(wire.method, "PUT");
	answer(422, "{\"errors\":[{\"pointer\":\"\",\"detail\":\"service default/b: in use\"}]}");
	wait_ms(5);
	assert_string_equal(wire.method, "PATCH"); /* it stays, and nothing else is kept by it */
	assert_true(says("a") && says("c") && removes("d"));
	assert_false(removes("b"));
	answer(200, "{}");
	assert_true(push_status(push)->synced);
	push_visit_refused(push, on_refused, said);
	assert_string_equal(said, "default/b: in use");
	wire.begun = 0;
	store.changed = "a";
	push_kick(push, true);
	wait_ms(5);
	answer(412, "{}");
	wait_ms(5);
	assert_int_equal(wire.begun, 2);
	assert_string_equal(wire.method, "PATCH");
	assert_true(removes("d") && !removes("b"));
	answer(200, "{}");
}

/* --- a sinewd that is full ---------------------------------------------------------------------
 */

#define FULL                                                                                       \
	"{\"detail\":\"x\",\"errors\":[{\"pointer\":\"\",\"detail\":\"at most 16383\",\"limit\":{" \
	"\"of\":\"frontends\",\"count\":16385,\"most\":16383}}]}"

/* It has room for a and b, not for c and d. */
static void start_full(void)
{
	store.all = "abcd";
	push_start(push, true);
	wait_ms(5);
	answer(422, FULL);
	wait_ms(5);
	assert_string_equal(wire.method, "PUT");
	assert_true(says("a") && says("b"));
	assert_false(says("c") || says("d")); /* the latest */
	answer(200, "{}");
	assert_true(push_status(push)->synced);
	assert_int_equal(push_status(push)->refused, 2);
	wire.begun = 0;
}

static void test_what_does_not_fit_does_not_keep_the_rest(void **state)
{
	char said[200] = "";

	start_full();
	push_visit_refused(push, on_refused, said);
	assert_non_null(strstr(said, "at most 16383"));
	store.changed = "ac"; /* c does not fit by changing */
	push_kick(push, true);
	wait_ms(5);
	assert_int_equal(wire.begun, 1);
	assert_string_equal(wire.method, "PATCH");
	assert_true(says("a"));
	assert_false(says("c"));
	answer(200, "{}");
	wait_ms(60);
	assert_int_equal(wire.begun, 1);
	assert_int_equal(push_status(push)->refused, 2);
}

/* Answers everything for so long, or until a request of that method is under way. */
static bool wait_for(const char *method, uint64_t ms)
{
	uint64_t end = uv_hrtime() / 1000000 + ms;

	while (uv_hrtime() / 1000000 < end) {
		wait_ms(20);
		if (wire.under_way && !strcmp(wire.method, method))
			return true;
		if (wire.under_way)
			answer(200, "{}");
	}
	return false;
}

static void test_when_something_goes_what_did_not_fit_is_tried_again_once(void **state)
{
	uint64_t before = uv_hrtime() / 1000000;

	start_full();
	store.all = "bcd";
	store.gone = "a";
	push_kick(push, true);
	wait_ms(5);
	assert_string_equal(wire.method, "PATCH");
	answer(503, "{}"); /* it goes with the next request */
	wait_ms(70);
	assert_string_equal(wire.method, "PUT");
	assert_false(says("c"));
	answer(200, "{}");
	assert_true(wait_for("PUT", 60000)); /* not at once: the last try was just now */
	assert_in_range(uv_hrtime() / 1000000 - before, 4900, 60000);
	assert_true(says("b") && says("c") && says("d"));
	answer(422, "{\"detail\":\"x\",\"errors\":[{\"pointer\":\"\",\"detail\":\"y\","
		    "\"limit\":{\"of\":\"frontends\",\"count\":16384,\"most\":16383}}]}");
	wait_ms(5);
	assert_string_equal(wire.method, "PUT");
	assert_true(says("b") && says("c"));
	assert_false(says("d"));
	answer(200, "{}");
	assert_int_equal(push_status(push)->refused, 1);
	assert_false(wait_for("PUT", 6000)); /* nothing has gone since */
}

static void test_growing_in_a_full_sinewd_is_no_storm(void **state)
{
	start_full();
	store.changed = "a";
	push_kick(push, true);
	wait_ms(5);
	answer(422, FULL);
	for (int i = 0; i < 5; i++) {
		push_kick(push, false);
		wait_ms(60);
	}
	assert_int_equal(wire.begun, 1);
	push_kick(push, true); /* what goes away does not wait for that */
	wait_ms(5);
	assert_int_equal(wire.begun, 2);
	assert_string_equal(wire.method, "PUT");
	assert_true(says("a") && says("b"));
	answer(200, "{}");
}

static void test_where_leaving_out_does_not_help_it_is_said_and_waited(void **state)
{
	uint64_t before;

	push_start(push, true);
	wait_ms(5);
	before = uv_hrtime() / 1000000;
	/* None of those is ours. */
	answer(422, "{\"detail\":\"1025 policies\",\"errors\":[{\"pointer\":\"\",\"detail\":\"y\","
		    "\"limit\":{\"of\":\"policies\",\"count\":1025,\"most\":1023}}]}");
	assert_non_null(strstr(push_status(push)->error, "1025 policies"));
	wait_ms(100);
	assert_int_equal(wire.begun, 2);
	assert_in_range(wire.at_ms - before, 45, 1000);
	assert_true(says("a") && says("b"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(
			test_until_all_have_spoken_a_removal_that_failed_is_told_again, set_up,
			tear_down),
		cmocka_unit_test_setup_teardown(test_a_removal_in_a_refused_change_is_told_again,
						set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_a_sinewd_that_lost_a_removal_is_told_again,
						set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_what_came_again_is_not_removed, set_up,
						tear_down),
		cmocka_unit_test_setup_teardown(
			test_a_removal_that_is_refused_does_not_keep_the_rest, set_up, tear_down),
		cmocka_unit_test_setup_teardown(
			test_what_sinewd_does_not_let_go_does_not_keep_the_rest, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_what_does_not_fit_does_not_keep_the_rest,
						set_up, tear_down),
		cmocka_unit_test_setup_teardown(
			test_when_something_goes_what_did_not_fit_is_tried_again_once, set_up,
			tear_down),
		cmocka_unit_test_setup_teardown(test_growing_in_a_full_sinewd_is_no_storm, set_up,
						tear_down),
		cmocka_unit_test_setup_teardown(
			test_where_leaving_out_does_not_help_it_is_said_and_waited, set_up,
			tear_down),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
