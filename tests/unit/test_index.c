/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * kernel/index: numbers against a reference; nothing is given out before its rest is over.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "kernel/index.h"

#define S INDEX_GRACE_NS

static void test_lowest_first_and_never_zero(void **state)
{
	struct index_pool p;
	uint32_t n;

	assert_int_equal(index_pool_init(&p, 5), 0);
	for (uint32_t i = 1; i < 5; i++) {
		assert_int_equal(index_take(&p, 1, 0, &n), 0);
		assert_int_equal(n, i);
		assert_int_equal(index_highest(&p), i);
	}
	assert_int_equal(index_available(&p), 0);
	n = 99;
	assert_int_equal(index_take(&p, 1, 0, &n), -ENOSPC);
	assert_int_equal(n, 99);
	index_pool_done(&p);
}

static void test_rest(void **state)
{
	struct index_pool p;
	uint32_t n;

	assert_int_equal(index_pool_init(&p, 3), 0);
	assert_int_equal(index_take(&p, 2, 0, &n), 0);
	index_give(&p, 1, 2, 5 * S);
	assert_int_equal(p.used, 0);
	assert_int_equal(p.retired, 2);
	assert_int_equal(index_take(&p, 1, 5 * S, &n), -EBUSY);
	assert_int_equal(index_take(&p, 1, 6 * S - 1, &n), -EBUSY);
	assert_int_equal(index_take(&p, 1, 6 * S, &n), 0);
	assert_int_equal(n, 1);
	assert_int_equal(p.retired, 0);
	index_pool_done(&p);
}

static void test_untaken_are_free_at_once(void **state)
{
	struct index_pool p;
	uint32_t n;

	assert_int_equal(index_pool_init(&p, 10), 0);
	assert_int_equal(index_take(&p, 9, 0, &n), 0);
	index_untake(&p, n, 9);
	assert_int_equal(index_take(&p, 9, 0, &n), 0);
	index_pool_done(&p);
}

static void test_runs(void **state)
{
	struct index_pool p;
	uint32_t n, holes[] = {3, 70, 130};

	assert_int_equal(index_pool_init(&p, 200), 0);
	for (size_t i = 0; i < 3; i++)
		assert_int_equal(index_claim(&p, holes[i], 1), 0);
	assert_int_equal(index_take(&p, 69, 0, &n), 0); /* 131..199 */
	assert_int_equal(n, 131);
	assert_int_equal(index_take(&p, 66, 0, &n), 0); /* 4..69 */
	assert_int_equal(n, 4);
	assert_int_equal(index_take(&p, 60, 0, &n), -ENOSPC);
	assert_int_equal(index_take(&p, 59, 0, &n), 0);
	assert_int_equal(n, 71);
	assert_int_equal(index_take(&p, 2, 0, &n), 0);
	assert_int_equal(n, 1);
	assert_int_equal(index_available(&p), 0);
	index_pool_done(&p);
}

static void test_claim(void **state)
{
	struct index_pool p;
	uint32_t n;

	assert_int_equal(index_pool_init(&p, 100), 0);
	assert_int_equal(index_claim(&p, 0, 1), -ERANGE);
	assert_int_equal(index_claim(&p, 100, 1), -ERANGE);
	assert_int_equal(index_claim(&p, 99, 2), -ERANGE);
	assert_int_equal(index_claim(&p, 50, UINT32_MAX), -ERANGE);
	assert_int_equal(index_claim(&p, 10, 5), 0);
	assert_int_equal(index_claim(&p, 14, 1), -EEXIST);
	assert_int_equal(index_claim(&p, 8, 3), -EEXIST);
	assert_int_equal(p.used, 5);
	assert_int_equal(index_claim(&p, 99, 1), 0);
	assert_int_equal(index_highest(&p), 99);
	assert_int_equal(index_take(&p, 9, 0, &n), 0);
	assert_true(n == 1 || n >= 15);
	index_pool_done(&p);
}

/* More ranges than the ring began with; the oldest come first. */
static void test_rest_ring_grows(void **state)
{
	struct index_pool p;
	uint32_t n, first, count;

	assert_int_equal(index_pool_init(&p, 1000), 0);
	for (uint32_t i = 1; i < 1000; i++)
		assert_int_equal(index_take(&p, 1, 0, &n), 0);
	for (uint32_t i = 1; i < 40; i++)
		index_give(&p, i, 1, i);
	for (uint32_t i = 1; i < 20; i++)
		assert_true(index_rested(&p, S + i, &first, &count) && first == i && count == 1);
	for (uint32_t i = 40; i < 1000; i++)
		index_give(&p, i, 1, i);
	assert_false(index_rested(&p, S + 19, &first, &count));
	for (uint32_t i = 20; i < 1000; i++)
		assert_true(index_rested(&p, S + 1000, &first, &count) && first == i);
	assert_false(index_rested(&p, 100 * S, &first, &count));
	/* They were handed out to be freed, and rest until somebody does. */
	assert_int_equal(p.retired, 999);
	index_rest_again(&p, 5, 1, 200 * S);
	index_free(&p, 6, 1);
	assert_int_equal(index_take(&p, 1, 200 * S, &n), 0);
	assert_int_equal(n, 6);
	assert_int_equal(index_take(&p, 1, 200 * S, &n), -EBUSY);
	assert_int_equal(index_take(&p, 1, 201 * S, &n), 0);
	assert_int_equal(n, 5);
	index_pool_done(&p);
}

/* --- against a reference ------------------------------------------------------------------ */

#define MAX 150
#define RANGES 64

struct range {
	uint32_t first, count;
};

struct reference {
	struct index_pool p;
	uint64_t free_at[MAX]; /* UINT64_MAX: given out */
	struct range held[RANGES];
	size_t n_held;
	uint64_t now;
};

static uint32_t draw(uint32_t below)
{
	static uint64_t random_state = 9;

	random_state = random_state * 6364136223846793005ull + 1442695040888963407ull;
	return (uint32_t)(random_state >> 33) % below;
}

static bool has_run(const struct reference *r, uint32_t count)
{
	uint32_t length = 0;

	for (uint32_t i = 1; i < MAX && length < count; i++)
		length = r->free_at[i] <= r->now ? length + 1 : 0;
	return length >= count;
}

static void take(struct reference *r)
{
	uint32_t count = draw(8) ? 1 + draw(12) : 1 + draw(MAX), first = 0;
	int error;

	if (r->n_held == RANGES)
		return;
	error = index_take(&r->p, count, r->now, &first);
	if (error < 0) {
		assert_false(has_run(r, count));
		return;
	}
	assert_in_range(first, 1, MAX - count);
	for (uint32_t i = first; i < first + count; i++) {
		assert_true(r->free_at[i] <= r->now);
		r->free_at[i] = UINT64_MAX;
	}
	r->held[r->n_held++] = (struct range){first, count};
}

static void give(struct reference *r)
{
	size_t which = r->n_held ? draw((uint32_t)r->n_held) : 0;
	struct range range = r->held[which];
	bool shown = draw(5);

	if (!r->n_held)
		return;
	r->held[which] = r->held[--r->n_held];
	if (shown)
		index_give(&r->p, range.first, range.count, r->now);
	else
		index_untake(&r->p, range.first, range.count);
	for (uint32_t i = range.first; i < range.first + range.count; i++)
		r->free_at[i] = shown ? r->now + S : r->now;
}

static void test_random_against_reference(void **state)
{
	struct reference r = {.now = 100 * S};

	assert_int_equal(index_pool_init(&r.p, MAX), 0);
	for (unsigned int round = 0; round < 50000; round++) {
		uint32_t used = 0;

		r.now += draw(5) ? draw(1000) : (uint64_t)draw(3) * S / 2;
		if (draw(2))
			take(&r);
		else
			give(&r);
		for (size_t i = 0; i < r.n_held; i++)
			used += r.held[i].count;
		assert_int_equal(r.p.used, used);
	}
	/* Everything comes back. */
	while (r.n_held)
		give(&r);
	r.now += S;
	index_free_rested(&r.p, r.now);
	assert_int_equal(index_available(&r.p), MAX - 1);
	assert_int_equal(index_highest(&r.p), 0);
	index_pool_done(&r.p);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_lowest_first_and_never_zero),
		cmocka_unit_test(test_rest),
		cmocka_unit_test(test_untaken_are_free_at_once),
		cmocka_unit_test(test_runs),
		cmocka_unit_test(test_claim),
		cmocka_unit_test(test_rest_ring_grows),
		cmocka_unit_test(test_random_against_reference),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
