/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * model/store_fallback: a plan that would make a service fall back to itself is refused, by
 * whichever of its objects it comes about; everything else may be.
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
#include "base/text.h"
#include "declared.h"

static void test_itself(void **state)
{
	struct declared d;

	declared_init(&d);
	assert_int_equal(declared_change(&d, "s", "+a 10.96.0.1 80 @p, +%p a"), -EINVAL);
	assert_true(declared_says(&d, "service default/a: service default/a would fall back to "
				      "itself, by policy p; give it a policy without that"));
	assert_null(store_find_policy(d.store, "default", "p"));
	/* The policy alone is no circle; whoever comes to use it may close one. */
	assert_int_equal(declared_change(&d, "s", "+%p a"), 0);
	assert_int_equal(declared_change(&d, "s", "+b 10.96.0.2 80 @p"), 0);
	assert_int_equal(declared_change(&d, "s", "+a 10.96.0.1 80"), 0);
	assert_int_equal(declared_change(&d, "s", "+a 10.96.0.1 80 @p"), -EINVAL);
	assert_int_equal(declared_change(&d, "s", "+%p b"), -EINVAL);
	assert_true(declared_says(&d, "policy default/p: service default/b would fall back"));
	declared_done(&d);
}

static void test_circle_of_three_over_namespaces(void **state)
{
	struct declared d;

	declared_init(&d);
	assert_int_equal(declared_change(&d, "s",
					 "+x/a 10.96.0.1 80 @p, +y/b 10.96.0.2 80 @q, "
					 "+z/c 10.96.0.3 80, +%x/p y/b, +%y/q spare z/c"),
			 0);
	assert_int_equal(declared_change(&d, "s", "+z/c 10.96.0.3 80 @r, +%z/r x/a"), -EINVAL);
	assert_true(declared_says(&d,
				  "service z/c: fallback would lead in a circle: x/a (policy p) -> "
				  "y/b (policy q) -> z/c (policy r) -> x/a"));
	/* By its default policy, which need not be named; of another source, too. */
	assert_int_equal(declared_change(&d, "t", "+%z/default x/a"), -EINVAL);
	assert_true(declared_says(&d, "policy z/default: fallback would lead in a circle"));
	/* Where one link is taken away in the same change, there is none. */
	assert_int_equal(declared_change(&d, "s", "+%z/default x/a, -y/b"), 0);
	assert_int_equal(declared_change(&d, "s", "+y/b 10.96.0.2 80 @q"), -EINVAL);
	assert_true(declared_says(&d, "service y/b: fallback would lead in a circle"));
	assert_int_equal(declared_change(&d, "s", "+y/b 10.96.0.2 80 @q, -%z/default"), 0);
	declared_done(&d);
}

static void test_a_circle_aside_from_the_first_service(void **state)
{
	struct declared d;

	declared_init(&d);
	/* a leads into the circle of b and c, and is no part of it. */
	assert_int_equal(declared_change(&d, "s",
					 "+a 10.96.0.1 80 @p, +b 10.96.0.2 80 @q, "
					 "+c 10.96.0.3 80 @r, +%p b, +%q c, +%r b"),
			 -EINVAL);
	assert_true(declared_says(&d, "circle: default/b (policy q) -> default/c (policy r) -> "
				      "default/b"));
	declared_done(&d);
}

static void test_no_circle(void **state)
{
	struct declared d;

	declared_init(&d);
	/* Two ways to one place, a chain, and a service that is nowhere. */
	assert_int_equal(declared_change(&d, "s",
					 "+a 10.96.0.1 80 @p, +b 10.96.0.2 80 @q, "
					 "+c 10.96.0.3 80 @q, +e 10.96.0.4 80, "
					 "+%p b c, +%q e nowhere"),
			 0);
	/* A snapshot without b and the policies drops the links with them. */
	assert_int_equal(declared_change(&d, "s", "whole, +e 10.96.0.4 80 @p, +%p a"), 0);
	assert_int_equal(declared_change(&d, "s", "+a 10.96.0.1 80 @q, +%q e"), -EINVAL);
	declared_done(&d);
}

/* Once around all services of a large store; and the same chain with its end open. */
static void test_long_chain(void **state)
{
	struct declared d;
	char words[64];

	declared_init(&d);
	for (unsigned int i = 0; i < 300; i++) {
		(void)snprintf(words, sizeof(words), "+s%u 10.97.%u.%u 80 @p%u, +%%p%u s%u", i,
			       i / 200, i % 200 + 1, i, i, i + 1);
		assert_int_equal(declared_change(&d, "s", words), 0);
	}
	assert_int_equal(declared_change(&d, "s", "+s300 10.98.0.1 80 @q, +%q s0"), -EINVAL);
	assert_true(declared_says(&d, "service default/s300: fallback would lead in a circle"));
	assert_int_equal(declared_change(&d, "s", "+s300 10.98.0.1 80"), 0);
	declared_done(&d);
}

/* --- against another way to find one ------------------------------------------------------ */

#define SERVICES 6

static uint64_t random_state;

static unsigned int draw(unsigned int below)
{
	random_state = random_state * 6364136223846793005ull + 1442695040888963407ull;
	return (unsigned int)(random_state >> 33) % below;
}

/* Whether anything is reached from itself: Warshall's closure. */
static bool has_circle(bool leads[SERVICES][SERVICES])
{
	for (int k = 0; k < SERVICES; k++)
		for (int i = 0; i < SERVICES; i++)
			for (int j = 0; j < SERVICES; j++)
				leads[i][j] |= leads[i][k] && leads[k][j];
	for (int i = 0; i < SERVICES; i++)
		if (leads[i][i])
			return true;
	return false;
}

static void append_one(struct text_buffer *b, unsigned int i, bool leads[SERVICES])
{
	text_append_format(b, ", +s%u 10.96.0.%u 80 @p%u, +%%p%u", i, i + 1, i, i);
	for (unsigned int k = 0; k < SERVICES; k++) {
		leads[k] = !draw(9);
		if (leads[k])
			text_append_format(b, " s%u", k);
	}
}

static void test_random_graphs(void **state)
{
	unsigned int circles = 0;

	random_state = 3;
	for (unsigned int round = 0; round < 400; round++) {
		bool leads[SERVICES][SERVICES] = {};
		struct text_buffer b = {};
		struct declared d;
		bool circle;
		int r;

		declared_init(&d);
		for (unsigned int i = draw(4); i < SERVICES; i++)
			append_one(&b, i, leads[i]);
		r = declared_change(&d, "s", b.data + 2);
		circle = has_circle(leads);
		circles += circle;
		if ((r == -EINVAL) != circle || (r && r != -EINVAL))
			fail_msg("%s came to %d", b.data, r);
		text_done(&b);
		declared_done(&d);
	}
	assert_in_range(circles, 50, 350);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_itself),
		cmocka_unit_test(test_circle_of_three_over_namespaces),
		cmocka_unit_test(test_a_circle_aside_from_the_first_service),
		cmocka_unit_test(test_no_circle),
		cmocka_unit_test(test_long_chain),
		cmocka_unit_test(test_random_graphs),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
