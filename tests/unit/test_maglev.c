/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Maglev tables: shares by weight, little disruption, and nothing that depends on where a member
 * stands or which index it has.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <arpa/inet.h>
#include <cmocka.h>
#include <math.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "model/maglev.h"

#define MOST 4096
#define SERVICE 7

static struct maglev_member members[MOST];
static struct sn_slot first[65537], second[65537];

/* 10.1.x.y:8080 with index 100 + i. */
static void make(size_t n)
{
	for (size_t i = 0; i < n; i++)
		members[i] = (struct maglev_member){
			.addr.word_be = {0, 0, htonl(0xffff), htonl(0x0a010000 + (uint32_t)i)},
			.port_be = htons(8080),
			.weight = 100,
			.backend = 100 + (uint32_t)i};
}

static int build(size_t n, struct sn_slot *slots, size_t size)
{
	return maglev_build(members, n, SERVICE,
			    &(struct maglev_table){.slots = slots, .size = size});
}

/* Places of each member, checking that each place is somebody's, whole. */
static void count(const struct sn_slot *slots, size_t size, uint32_t *counts)
{
	memset(counts, 0, MOST * sizeof(*counts));
	for (size_t i = 0; i < size; i++) {
		assert_int_equal(slots[i].service, SERVICE);
		assert_int_equal(slots[i].alias, slots[i].backend);
		assert_int_equal(slots[i].cut, UINT32_MAX);
		assert_in_range(slots[i].backend, 100, 100 + MOST - 1);
		counts[slots[i].backend - 100]++;
	}
}

static bool is_prime(size_t n)
{
	for (size_t d = 2; d * d <= n; d++)
		if (n % d == 0)
			return false;
	return n > 1;
}

static void test_sizes(void **state)
{
	for (size_t n = 1; n <= MOST; n++) {
		size_t size = maglev_size(n, 0);

		assert_true(is_prime(size));
		assert_true(size >= 32 * n || size == 65537);
		assert_true(size <= 64 * n + 67);
	}
	assert_int_equal(maglev_size(65535, 0), 65537);
	/* It stays while it is not far off, for another size moves nearly every caller. */
	assert_int_equal(maglev_size(5, 131), 131);
	assert_int_equal(maglev_size(9, 131), 521);
	assert_int_equal(maglev_size(1, 131), 67);
	assert_int_equal(maglev_size(2, 131), 131);
	assert_int_equal(maglev_size(4, 130), 131); /* never one that is no size */
}

static void test_equal_shares(void **state)
{
	static const size_t ns[] = {1, 2, 3, 5, 10, 64, 100, 1000, 4096};
	static uint32_t counts[MOST];

	for (size_t k = 0; k < sizeof(ns) / sizeof(*ns); k++) {
		size_t n = ns[k], size = maglev_size(n, 0);

		make(n);
		assert_int_equal(build(n, first, size), 1);
		count(first, size, counts);
		for (size_t i = 0; i < n; i++)
			assert_in_range(counts[i], size / n, size / n + 1);
	}
}

static void test_shares_by_weight(void **state)
{
	size_t n = 24, size = maglev_size(n, 0), sum = 0;
	uint32_t counts[MOST];

	make(n);
	for (size_t i = 0; i < n; i++)
		sum += members[i].weight = (uint16_t)(50 + 37 * i % 211);
	assert_int_equal(build(n, first, size), 0);
	count(first, size, counts);
	for (size_t i = 0; i < n; i++) {
		double share = (double)members[i].weight * (double)size / (double)sum;

		/* To a place: of 32 for the mean, that is 3 %. */
		assert_true(fabs(counts[i] - share) <= 1.0);
	}
}

/* Who is not in the table is nobody's last resort. */
static void test_next_to_no_weight_is_there(void **state)
{
	size_t n = 64, size = maglev_size(n, 0);
	uint32_t counts[MOST];

	make(n);
	for (size_t i = 0; i < n; i++)
		members[i].weight = i ? 1 : 65535;
	(void)build(n, first, size);
	count(first, size, counts);
	for (size_t i = 1; i < n; i++)
		assert_int_equal(counts[i], 1);
}

/* Of the places of those who stay, how many went to somebody else; in percent. */
static double moved(const struct sn_slot *before, const struct sn_slot *after, size_t size,
		    uint32_t gone)
{
	size_t stayed = 0, others = 0;

	for (size_t i = 0; i < size; i++) {
		if (before[i].backend == gone)
			continue;
		stayed++;
		others += before[i].backend != after[i].backend;
	}
	return 100.0 * (double)others / (double)stayed;
}

static void test_one_goes(void **state)
{
	static const size_t ns[] = {3, 10, 50, 200};

	for (size_t k = 0; k < sizeof(ns) / sizeof(*ns); k++) {
		size_t n = ns[k], size = maglev_size(n, 0);
		double worst = 0, sum = 0;

		for (size_t gone = 0; gone < n; gone++) {
			double percent;

			make(n);
			(void)build(n, first, size);
			members[gone] = members[n - 1];
			(void)build(n - 1, second, size);
			percent = moved(first, second, size, 100 + (uint32_t)gone);
			sum += percent;
			worst = percent > worst ? percent : worst;
		}
		print_message("# %zu members, one goes: %.1f %% of the others' places move, at "
			      "most %.1f %%\n",
			      n, sum / (double)n, worst);
		assert_true(sum / (double)n < 6);
		assert_true(worst < 10);
	}
}

/* After a restart the indexes are others, and a registry lists its members in any order. */
static void test_only_what_they_are_counts(void **state)
{
	size_t n = 50, size = maglev_size(n, 0);

	make(n);
	for (size_t i = 0; i < n; i++)
		members[i].weight = (uint16_t)(1 + i % 5);
	(void)build(n, first, size);
	for (size_t i = 0; i < n / 2; i++) {
		struct maglev_member m = members[i];

		members[i] = members[n - 1 - i];
		members[n - 1 - i] = m;
	}
	for (size_t i = 0; i < n; i++)
		members[i].backend += 1000;
	(void)build(n, second, size);
	for (size_t i = 0; i < size; i++)
		assert_int_equal(first[i].backend + 1000, second[i].backend);
	/* Another port is another member. */
	make(2);
	(void)build(2, first, 131);
	members[0].port_be = htons(8081);
	(void)build(2, second, 131);
	assert_memory_not_equal(first, second, 131 * sizeof(*first));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_sizes),
		cmocka_unit_test(test_equal_shares),
		cmocka_unit_test(test_shares_by_weight),
		cmocka_unit_test(test_next_to_no_weight_is_there),
		cmocka_unit_test(test_one_goes),
		cmocka_unit_test(test_only_what_they_are_counts),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
