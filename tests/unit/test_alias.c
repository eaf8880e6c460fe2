/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * model/alias: a draw gives each backend its weight's share, exactly.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdbool.h>
#include <stdlib.h>

#include "base/cleanup.h"
#include "model/alias.h"

#define MOST 4096

struct table {
	struct alias_member members[MOST];
	struct sn_slot slots[MOST];
	uint64_t work[MOST];
	uint64_t units[MOST]; /* of each member, in 2^-32 of a slot */
};

static uint64_t random_state;

static uint32_t draw(uint32_t below)
{
	random_state = random_state * 6364136223846793005ull + 1442695040888963407ull;
	return (uint32_t)(random_state >> 33) % below;
}

/* Backend 1000 + i is member i. */
static void sum_units(struct table *t, size_t n)
{
	for (size_t i = 0; i < n; i++)
		t->units[i] = 0;
	for (size_t i = 0; i < n; i++) {
		const struct sn_slot *s = &t->slots[i];

		assert_in_range(s->backend, 1000, 1000 + n - 1);
		assert_in_range(s->alias, 1000, 1000 + n - 1);
		assert_int_equal(s->service, 77);
		t->units[s->backend - 1000] += (uint64_t)s->cut + 1;
		t->units[s->alias - 1000] += UINT32_MAX - s->cut;
	}
}

/*
 * A slot's cut is rounded down by less than one unit, so a member's share, in units, is off by less
 * than the number of slots that it is in.
 */
static void check_table(struct table *t, size_t n, bool is_uniform)
{
	uint64_t total = 0, all = 0;
	unsigned int slots_of;

	assert_int_equal(alias_build(t->members, n, 77, t->slots, t->work), is_uniform);
	sum_units(t, n);
	for (size_t i = 0; i < n; i++)
		total += t->members[i].weight;
	for (size_t i = 0; i < n; i++) {
		unsigned __int128 exact = (unsigned __int128)t->members[i].weight * n << 32;
		__int128 off = (__int128)((unsigned __int128)t->units[i] * total) - (__int128)exact;

		slots_of = 0;
		for (size_t k = 0; k < n; k++)
			slots_of +=
				t->slots[k].backend == 1000 + i || t->slots[k].alias == 1000 + i;
		if (off < 0)
			off = -off;
		if (off > (__int128)total * slots_of)
			fail_msg("member %zu of %zu has %llu units", i, n,
				 (unsigned long long)t->units[i]);
		all += t->units[i];
	}
	assert_true(all == (uint64_t)n << 32);
}

static void set_weights(struct table *t, const uint32_t *weights, size_t n)
{
	for (size_t i = 0; i < n; i++)
		t->members[i] = (struct alias_member){1000 + (uint32_t)i, weights[i]};
}

static void test_known(void **state)
{
	_cleanup_free_ struct table *t = calloc(1, sizeof(*t));

	assert_non_null(t);
	set_weights(t, (uint32_t[]){200, 100}, 2);
	check_table(t, 2, false);
	set_weights(t, (uint32_t[]){1, 65535}, 2);
	check_table(t, 2, false);
	set_weights(t, (uint32_t[]){65535, 1, 1, 1, 1, 1, 1}, 7);
	check_table(t, 7, false);
	set_weights(t, (uint32_t[]){3, 1, 3, 1}, 4);
	check_table(t, 4, false);
}

static void test_uniform_keeps_its_own_draw(void **state)
{
	_cleanup_free_ struct table *t = calloc(1, sizeof(*t));

	assert_non_null(t);
	for (size_t n = 1; n < 40; n++) {
		for (size_t i = 0; i < n; i++)
			t->members[i] = (struct alias_member){1000 + (uint32_t)i, 17};
		check_table(t, n, true);
		for (size_t i = 0; i < n; i++) {
			assert_int_equal(t->slots[i].cut, UINT32_MAX);
			assert_int_equal(t->slots[i].backend, 1000 + i);
		}
	}
}

static void test_random_weights_are_exact(void **state)
{
	_cleanup_free_ struct table *t = calloc(1, sizeof(*t));

	assert_non_null(t);
	random_state = 3;
	for (unsigned int round = 0; round < 3000; round++) {
		size_t n = 2 + draw(30);
		uint32_t most = round % 3 ? 65535 : 3;

		for (size_t i = 0; i < n; i++)
			t->members[i] = (struct alias_member){1000 + (uint32_t)i, 1 + draw(most)};
		t->members[0].weight = t->members[1].weight + 1; /* not uniform */
		check_table(t, n, false);
	}
}

/* The largest service: nothing overflows. */
static void test_largest_set(void **state)
{
	_cleanup_free_ struct table *t = calloc(1, sizeof(*t));

	assert_non_null(t);
	for (size_t i = 0; i < MOST; i++)
		t->members[i] = (struct alias_member){1000 + (uint32_t)i, i % 2 ? 65535 : 65534};
	check_table(t, MOST, false);
	for (size_t i = 0; i < MOST; i++)
		t->members[i].weight = i ? 1 : 65535;
	check_table(t, MOST, false);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_known),
		cmocka_unit_test(test_uniform_keeps_its_own_draw),
		cmocka_unit_test(test_random_weights_are_exact),
		cmocka_unit_test(test_largest_set),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
