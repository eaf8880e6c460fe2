/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * model/traffic: sums, and quantiles out of power-of-two buckets.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdlib.h>

#include "base/cleanup.h"
#include "model/traffic.h"

static void test_quantile(void **state)
{
	struct traffic t = {};

	assert_int_equal(traffic_quantile(&t, 0.5), 0);
	t.latency[0] = 10; /* below 2^9 ns */
	assert_int_equal(traffic_quantile(&t, 0), 0);
	assert_int_equal(traffic_quantile(&t, 0.5), 256);
	assert_int_equal(traffic_quantile(&t, 1), 512);
	t.latency[0] = 0;
	t.latency[4] = 4; /* [2^12, 2^13) */
	assert_int_equal(traffic_quantile(&t, 0.25), 4096 + 1024);
	assert_int_equal(traffic_quantile(&t, 1), 8192);
	t.latency[10] = 4; /* [2^18, 2^19) */
	assert_int_equal(traffic_quantile(&t, 0.5), 8192);
	assert_int_equal(traffic_quantile(&t, 0.75), 262144 + 131072);
	assert_int_equal(traffic_quantile(&t, -1), traffic_quantile(&t, 0));
	assert_int_equal(traffic_quantile(&t, 7), 524288);
}

/* It never falls, and lies where the sample does. */
static void test_quantile_rises(void **state)
{
	uint64_t seed = 5;

	for (unsigned int round = 0; round < 500; round++) {
		struct traffic t = {};
		uint64_t last = 0;
		size_t highest = 0;

		for (unsigned int i = 0; i < 20; i++) {
			seed = seed * 6364136223846793005ull + 1442695040888963407ull;
			t.latency[seed >> 59] += seed >> 40 & 1023;
			highest =
				(seed >> 40 & 1023) && seed >> 59 > highest ? seed >> 59 : highest;
		}
		for (double q = 0; q <= 1; q += 0.05) {
			uint64_t now = traffic_quantile(&t, q);

			assert_true(now >= last);
			last = now;
		}
		assert_true(traffic_quantile(&t, 1) == 2ull << (highest + SN_LATENCY_SHIFT));
	}
}

static void test_add(void **state)
{
	struct traffic sum = {.attempts = 1, .active = 1}, t = {.attempts = 5, .connect_ns = 7};

	t.active = 2;
	t.outcome[SN_R_CONNECTED] = 3;
	t.refused_here[1] = 4;
	t.latency[SN_LATENCY_BUCKETS - 1] = 6;
	t.ejections = 2;
	t.failed_over = 8;
	traffic_add(&sum, &t);
	traffic_add(&sum, &t);
	assert_int_equal(sum.attempts, 11);
	assert_int_equal(sum.active, 5);
	assert_int_equal(sum.connect_ns, 14);
	assert_int_equal(sum.outcome[SN_R_CONNECTED], 6);
	assert_int_equal(sum.refused_here[1], 8);
	assert_int_equal(sum.latency[SN_LATENCY_BUCKETS - 1], 12);
	assert_int_equal(sum.ejections, 4);
	assert_int_equal(sum.failed_over, 16);
}

static void test_usable_is_neither_ejected_nor_half_open_nor_held(void **state)
{
	const struct backend_traffic active = {.state = SN_BACKEND_ACTIVE};
	struct backend_traffic b = active;

	assert_true(backend_is_usable(&b, 100));
	b.state = SN_BACKEND_DRAINING;
	assert_false(backend_is_usable(&b, 100));
	b = active;
	b.level = SN_LEVELS;
	assert_false(backend_is_usable(&b, 100)); /* too far away */
	b = active;
	b.ejected_until_ns = 200;
	assert_false(backend_is_usable(&b, 100));
	assert_false(backend_is_usable(&b, 300)); /* until its probe succeeds */
	b = active;
	b.held = SN_HOLD_EJECT;
	b.held_until_ns = 200;
	assert_false(backend_is_usable(&b, 199));
	assert_true(backend_is_usable(&b, 200)); /* a hold that is over */
	b.held_until_ns = SN_FOREVER;
	assert_true(backend_is_held(&b, SN_FOREVER - 1));
}

#define ROW(id, label, blame, help) {SN_R_##id, #blame},

/* Only what is blamed on the backend counts as its failure. */
static void test_failed_is_the_backends(void **state)
{
	static const struct {
		unsigned int reason;
		const char *blame;
	} rows[] = {SN_BACKEND_REASONS(ROW)};
	unsigned int blamed = 0;

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct traffic t = {};

		t.outcome[rows[i].reason] = 9;
		assert_int_equal(traffic_failed(&t), rows[i].blame[0] == 'b' ? 9 : 0);
		blamed += rows[i].blame[0] == 'b';
	}
	assert_in_range(blamed, 2, ARRAY_SIZE(rows) - 2);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_quantile),
		cmocka_unit_test(test_quantile_rises),
		cmocka_unit_test(test_add),
		cmocka_unit_test(test_usable_is_neither_ejected_nor_half_open_nor_held),
		cmocka_unit_test(test_failed_is_the_backends),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
