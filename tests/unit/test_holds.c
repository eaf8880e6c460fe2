/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The file of what is held by hand: what was written is read, what makes no sense is left out.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "daemon/holds.h"

static struct hold make(const char *address, enum sn_hold held)
{
	struct hold h = {.port = 8080,
			 .held = held,
			 .since_ms = 1700000000000u,
			 .until_ms = held == SN_HOLD_EJECT ? 1700000600000u : 0,
			 .namespace = "shop",
			 .name = "payments",
			 .reason = "it \"leaks\"\\ memory: \xc3\xa9",
			 .by = "uid 0 pid 4711"};

	assert_int_equal(address_parse(address, &h.addr), 0);
	return h;
}

static void test_what_was_written_is_read(void **state)
{
	struct hold items[] = {make("10.0.0.5", SN_HOLD_EJECT), make("fd00::5", SN_HOLD_DRAIN)};
	const struct hold_list list = {items, 2};
	struct hold_list again = {};
	size_t length = 0;
	_cleanup_free_ char *text = holds_encode(&list, &length);

	assert_non_null(text);
	assert_int_equal(holds_decode(text, length, &again), 0);
	assert_int_equal(again.n, 2);
	for (size_t i = 0; i < 2; i++) {
		assert_true(address_is_equal(&again.items[i].addr, &items[i].addr));
		assert_int_equal(again.items[i].port, 8080);
		assert_int_equal(again.items[i].held, items[i].held);
		assert_int_equal(again.items[i].since_ms, items[i].since_ms);
		assert_int_equal(again.items[i].until_ms, items[i].until_ms);
		assert_string_equal(again.items[i].namespace, "shop");
		assert_string_equal(again.items[i].name, "payments");
		assert_string_equal(again.items[i].reason, items[i].reason);
		assert_string_equal(again.items[i].by, items[i].by);
	}
	free(again.items);
}

static size_t count(const char *text)
{
	struct hold_list list = {};

	assert_int_equal(holds_decode(text, strlen(text), &list), 0);
	free(list.items);
	return list.n;
}

#define ONE(address, port, held, reason)                                                           \
	"{\"holds\":[{\"namespace\":\"a\",\"service\":\"b\",\"address\":\"" address                \
	"\",\"port\":" port ",\"held\":\"" held                                                    \
	"\",\"sinceMs\":1,\"untilMs\":0,\"reason\":\"" reason "\",\"by\":\"\"}]}"
#define FIFTY "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"
#define LONG FIFTY FIFTY FIFTY FIFTY /* a quarter of what fits */

static void test_what_makes_no_sense_is_left_out(void **state)
{
	assert_int_equal(count(ONE("10.0.0.1", "80", "eject", "")), 1);
	assert_int_equal(count(ONE("10.0.0.1", "80", "none", "")), 0);
	assert_int_equal(count(ONE("10.0.0.1", "80", "banish", "")), 0);
	assert_int_equal(count(ONE("10.0.0.1", "70000", "eject", "")), 0);
	assert_int_equal(count(ONE("10.0.0", "80", "eject", "")), 0);
	assert_int_equal(count(ONE("10.0.0.1", "80", "drain", LONG LONG LONG LONG)), 1);
	assert_int_equal(count(ONE("10.0.0.1", "80", "drain", LONG LONG LONG LONG "y")), 0);
	assert_int_equal(count("{\"holds\":[1,null,[],{},\"x\"]}"), 0);
}

static void test_what_is_no_list_is_refused(void **state)
{
	static const char *const texts[] = {"", "{", "[]", "{}", "{\"holds\":{}}", "7"};
	struct hold_list list = {};

	for (size_t i = 0; i < ARRAY_SIZE(texts); i++)
		assert_int_equal(holds_decode(texts[i], strlen(texts[i]), &list), -EINVAL);
	assert_null(list.items);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_what_was_written_is_read),
		cmocka_unit_test(test_what_makes_no_sense_is_left_out),
		cmocka_unit_test(test_what_is_no_list_is_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
