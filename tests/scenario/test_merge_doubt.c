/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * registry/guard, through the merge: about which services a registry is to be asked a second time,
 * and when.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "registry/guard.h"
#include "say.h"

#define TEN                                                                                        \
	"a:80 10.0.0.1; b:80 10.0.0.2; c:80 10.0.0.3; d:80 10.0.0.4; e:80 10.0.0.5; "              \
	"f:80 10.0.0.6; g:80 10.0.0.7; h:80 10.0.0.8; i:80 10.0.0.9; j:80 10.0.0.10"

/* How many services the registry is to be asked about after so long; the first one's name. */
static size_t doubts(struct say *s, uint64_t after_ms, const char **ret_name)
{
	static struct merge_doubt d;

	s->now_ms += after_ms;
	merge_doubt(s->m, 0, s->now_ms, &d);
	*ret_name = d.name;
	return d.n;
}

static void test_it_is_asked_about_what_is_held_and_ever_more_seldom(void **state)
{
	static const uint64_t waits[] = {2000, 4000, 8000, 16000, 30000, 30000, 30000};
	const char *name;
	struct say s;

	say_init(&s);
	(void)say_snapshot(&s, 0, 0, TEN);
	assert_int_equal(doubts(&s, 9000, &name), 0);
	say_remove(&s, 0, 0, "b");
	assert_int_equal(doubts(&s, GUARD_CONFIRM_MS - 1, &name), 0);
	assert_int_equal(doubts(&s, 1, &name), 1);
	assert_string_equal(name, "b");
	merge_asked(s.m, 0, "default", "b", s.now_ms);
	for (size_t i = 0; i < ARRAY_SIZE(waits); i++) {
		assert_int_equal(doubts(&s, waits[i] - 1, &name), 0);
		assert_int_equal(doubts(&s, 1, &name), 1);
		merge_asked(s.m, 0, NULL, NULL, s.now_ms);
	}
	say_upsert(&s, 0, 0, "b:80 10.0.0.2");
	assert_int_equal(doubts(&s, 90000, &name), 0);
	say_remove(&s, 0, 0, "b"); /* from the beginning */
	assert_int_equal(doubts(&s, GUARD_CONFIRM_MS, &name), 1);
	say_done(&s);
}

static void test_it_is_asked_about_the_one_first_that_waits_longest(void **state)
{
	const char *name;
	struct say s;

	say_init(&s);
	(void)say_snapshot(&s, 0, 0, TEN);
	say_remove(&s, 9000, 0, "d");
	say_remove(&s, 100, 0, "b");
	assert_int_equal(doubts(&s, GUARD_CONFIRM_MS, &name), 2);
	assert_string_equal(name, "d");
	merge_asked(s.m, 0, "default", "d", s.now_ms);
	assert_int_equal(doubts(&s, 0, &name), 1);
	assert_string_equal(name, "b");
	say_remove(&s, 0, 0, "b"); /* the answer */
	assert_int_equal(doubts(&s, 0, &name), 0);
	say_done(&s);
}

/* Whose word would confirm nothing. */
static void test_p84_who_is_away_dark_or_blank_is_not_asked(void **state)
{
	const char *name;
	struct say s;

	say_init(&s);
	(void)say_snapshot(&s, 0, 0, TEN);
	merge_set_away(s.m, 0, true, s.now_ms);
	say_remove(&s, 9000, 0, "a");
	assert_int_equal(doubts(&s, 9000, &name), 0);
	merge_set_away(s.m, 0, false, s.now_ms);
	assert_int_equal(doubts(&s, GUARD_RETURN_MS - 1, &name), 0);
	assert_int_equal(doubts(&s, 1, &name), 1);
	(void)say_snapshot(&s, 0, 0, "a:80 10.0.0.1");
	assert_int_equal(doubts(&s, 9000, &name), 0);
	(void)say_snapshot(&s, 0, 0, "");
	assert_int_equal(doubts(&s, 9000, &name), 0);
	say_done(&s);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_it_is_asked_about_what_is_held_and_ever_more_seldom),
		cmocka_unit_test(test_it_is_asked_about_the_one_first_that_waits_longest),
		cmocka_unit_test(test_p84_who_is_away_dark_or_blank_is_not_asked),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
