/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * register/registrar while registries come, go and change: nothing is taken out that stays, and
 * nothing is left behind where nobody looks any more. As test_registrar.c.
 */
#include "unit/registering.h"

#define OWNED                                                                                      \
	"{\"x\":{\"ID\":\"" ID("pay") "\",\"Service\":\"pay\",\"Meta\":{\"sinew-node\":\"n1\"}}}"

/* --- registries come and go --------------------------------------------------------------------
 */

static void test_another_way_in_takes_nothing_out(void **state)
{
	struct registry_config other = configs[0];

	other.zone = (char *)"z";
	begin_with("pay");
	assert_int_equal(registrar_set(registrar, 0, &other), 0);
	want(0, "pay");
	tell(true);
	answer(REGISTER, 200, "");
	answer(LIST, 200, OWNED);
	assert_int_equal(under_way(), 0);
	assert_int_equal(opened, 0);
	assert_null(strstr(said, "gone"));
}

static void test_another_place_is_written_to_once_the_former_is_left(void **state)
{
	struct registry_config other = configs[0];

	other.address = (char *)"http://other:1";
	begin_with("pay");
	assert_int_equal(registrar_set(registrar, 0, &other), 0);
	wait_ms(1);
	assert_int_equal(registrar_find(registrar, "dc1"), 0);
	want(0, "pay");
	tell(true);
	assert_null(asked("GET http://other:1/"));
	answer(DROP("pay"), 200, "");
	wait_ms(1);
	assert_int_equal(opened, 1);
	answer("GET http://other:1/v1/agent/services", 200, "{}");
	want(0, "pay");
	tell(true);
	answer("PUT http://other:1/v1/agent/service/register", 200, "");
	assert_int_equal(under_way(), 0);
	assert_said(ID("pay") " leaving;" ID("pay") " gone;" ID("pay") " pending;" ID(
		"pay") " registered;");
}

static void test_a_removed_one_is_left_but_waited_for_by_nobody(void **state)
{
	begin_with("pay");
	assert_int_equal(registrar_set(registrar, 0, NULL), 0);
	assert_int_equal(registrar_find(registrar, "dc1"), -ENOENT);
	assert_non_null(asked(DROP("pay")));
	assert_int_equal(registrar_set(registrar, 0, &configs[2]), 0);
	assert_string_equal(registrar_name(registrar, 0), "k");
	wait_ms(1);
	assert_non_null(asked("POST http://127.0.0.1:2379/v3/kv/range"));
	answer("POST http://127.0.0.1:2379/v3/kv/range", 200, "{}");
	for (int i = 0; i < 100 && under_way(); i++) /* it is silent: its leases end */
		wait_ms(100);
	assert_int_equal(under_way(), 0);
	assert_int_equal(opened, 0);
}

static void test_who_waits_for_the_former_may_go_or_be_replaced(void **state)
{
	struct registry_config second = configs[0], third = configs[0];

	second.address = (char *)"http://second:1";
	third.address = (char *)"http://third:1";
	begin_with("pay");
	assert_int_equal(registrar_set(registrar, 0, &second), 0);
	assert_int_equal(registrar_set(registrar, 0, &third), 0);
	answer(DROP("pay"), 200, "");
	wait_ms(1);
	assert_null(asked("GET http://second"));
	assert_int_equal(opened, 1);
	answer("GET http://third:1/v1/agent/services", 200, "{}");
	want(0, "pay");
	tell(true);
	answer("PUT http://third:1/v1/agent/service/register", 200, "");
	assert_int_equal(registrar_set(registrar, 0, &second), 0);
	assert_int_equal(registrar_set(registrar, 0, NULL), 0);
	registrar_leave(registrar);
	assert_false(left);
	answer("PUT http://third:1/v1/agent/service/deregister", 200, "");
	wait_ms(1);
	assert_true(left);
	assert_int_equal(under_way(), 0);
}

#define T(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(test_another_way_in_takes_nothing_out),
		T(test_another_place_is_written_to_once_the_former_is_left),
		T(test_a_removed_one_is_left_but_waited_for_by_nobody),
		T(test_who_waits_for_the_former_may_go_or_be_replaced),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
