/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Which backend a draw gives: shares as the weights say, sets of one and of none, and extents that
 * were given away while they were read.
 * Pitfalls: P-60.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include <bpf/bpf.h>
#include <math.h>
#include <pthread.h>
#include <stdbool.h>
#include <string.h>

#include "bpf/world.h"

#define DRAWS 200000u
#define FIRST 8u /* backend index of the first member */

static struct stages *s;
static struct sn_frontend vip;

static int open_world(void **state)
{
	s = world_open(NULL);
	vip = world_dest("10.96.0.10", 80, SN_PROTO_TCP);
	world_service(s, WORLD_SERVICE, &vip, WORLD_SET);
	return 0;
}

static int close_world(void **state)
{
	stages__destroy(s);
	return 0;
}

static void draw(uint32_t repeat)
{
	struct stage_call call = {.index = WORLD_SERVICE, .repeat = repeat};

	memset(s->bss->hits, 0, sizeof(s->bss->hits));
	s->bss->torn = 0;
	world_run(s->progs.t_draws, &call);
	assert_int_equal(call.r, repeat);
}

static struct stage_call pick(uint32_t number)
{
	struct stage_call call = {.index = WORLD_SERVICE, .draw = number};

	world_run(s->progs.t_pick, &call);
	return call;
}

/* Five standard deviations of a binomial: wrong once in 1.7 million, right shares given. */
static void expect_share(uint32_t member, double share)
{
	double got = (double)s->bss->hits[FIRST + member];
	double bound = 5 * sqrt(DRAWS * share * (1 - share)) + 1;

	if (fabs(got - DRAWS * share) > bound)
		fail_msg("member %u: %.0f draws of %u, expected %.0f +- %.0f", member, got, DRAWS,
			 DRAWS * share, bound);
}

static void expect_weights(const uint32_t *weights, uint32_t n)
{
	double sum = 0;

	world_set(s, (struct world_extent){WORLD_SERVICE, WORLD_SET, FIRST}, weights, n);
	draw(DRAWS);
	assert_int_equal(s->bss->torn, 0);
	for (uint32_t i = 0; i < n; i++)
		sum += weights[i];
	for (uint32_t i = 0; i < n; i++)
		expect_share(i, weights[i] / sum);
}

static void test_shares_are_as_the_weights_say(void **state)
{
	expect_weights((const uint32_t[]){1, 1}, 2);
	expect_weights((const uint32_t[]){200, 100, 100}, 3);
	expect_weights((const uint32_t[]){1, 2, 3, 4, 5, 6, 7}, 7);
	expect_weights((const uint32_t[]){65535, 1}, 2);
	expect_weights((const uint32_t[]){1, 65535, 32768, 1000, 10, 1}, 6);
	expect_weights((const uint32_t[]){1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1}, 17);
}

static void test_one_member_takes_all(void **state)
{
	world_set(s, (struct world_extent){WORLD_SERVICE, WORLD_SET, FIRST}, (const uint32_t[]){3},
		  1);
	draw(1000);
	assert_int_equal(s->bss->hits[FIRST], 1000);
	assert_int_equal(pick(0).backend, FIRST);
	assert_int_equal(pick(~0u).backend, FIRST);
}

static void test_the_extreme_draws_stay_inside_the_set(void **state)
{
	for (uint32_t n = 1; n <= 40; n++) {
		uint32_t weights[40];

		for (uint32_t i = 0; i < n; i++)
			weights[i] = 1;
		world_set(s, (struct world_extent){WORLD_SERVICE, WORLD_SET, FIRST}, weights, n);
		assert_int_equal(pick(0).r, SN_R_CONNECTED);
		assert_int_equal(pick(0).backend, FIRST);
		assert_int_equal(pick(~0u).backend, FIRST + n - 1);
		assert_int_equal(pick(~0u).count, n);
	}
}

static void test_no_member_is_no_backend(void **state)
{
	struct stage_call call = {.dest = vip, .cookie = 1};

	world_reset(s);
	world_set(s, (struct world_extent){WORLD_SERVICE, WORLD_SET, FIRST}, NULL, 0);
	assert_int_equal(pick(1).r, SN_R_NO_BACKEND);
	world_run(s->progs.t_connect, &call);
	assert_int_equal(call.r, SN_R_NO_BACKEND);
	assert_int_equal(call.error, -113); /* EHOSTUNREACH */
	assert_int_equal(world_service_count(s, WORLD_SERVICE, SN_R_NO_BACKEND), 1);
}

/* Each of three entries says whose it is; any of them being another's is noticed, and the socket
 * passes, counted under its service. */
static void test_a_reused_extent_is_noticed(void **state)
{
	struct sn_set header = {.service = WORLD_SERVICE + 1, .total = 1, .count = {1}};
	struct stage_call call = {.dest = vip, .cookie = 2};
	struct sn_slot slot;

	world_reset(s);
	world_set(s, (struct world_extent){WORLD_SERVICE, WORLD_SET, FIRST}, (const uint32_t[]){1},
		  1);
	world_put(s->maps.sn_slots, WORLD_SET, &header);
	assert_int_equal(pick(1).r, SN_R_TORN);

	world_set(s, (struct world_extent){WORLD_SERVICE, WORLD_SET, FIRST}, (const uint32_t[]){1},
		  1);
	world_get(s->maps.sn_slots, WORLD_SET + SN_SET_HEADER, &slot);
	slot.service = WORLD_SERVICE + 1;
	world_put(s->maps.sn_slots, WORLD_SET + SN_SET_HEADER, &slot);
	assert_int_equal(pick(1).r, SN_R_TORN);

	world_set(s, (struct world_extent){WORLD_SERVICE, WORLD_SET, FIRST}, (const uint32_t[]){1},
		  1);
	world_backend(s, FIRST, WORLD_SERVICE + 1, SN_BACKEND_ACTIVE, 2);
	assert_int_equal(pick(1).r, SN_R_TORN);
	assert_int_equal(world_service_count(s, WORLD_SERVICE, SN_R_TORN), 0);
	world_run(s->progs.t_connect, &call);
	assert_int_equal(call.r, SN_R_TORN);
	assert_int_equal(call.error, 0);
	assert_int_equal(world_service_count(s, WORLD_SERVICE, SN_R_TORN), 1);
}

static void test_indexes_out_of_range_are_noticed(void **state)
{
	struct sn_service service = {.frontend = vip, .set = 1000000};
	struct sn_set header = {.service = WORLD_SERVICE, .total = 1000000, .count = {1000000}};
	struct sn_slot slot = {
		.backend = 1000000, .alias = 1000000, .cut = ~0u, .service = WORLD_SERVICE};

	world_put(s->maps.sn_services, WORLD_SERVICE, &service);
	assert_int_equal(pick(1).r, SN_R_TORN);
	service.set = WORLD_SET;
	world_put(s->maps.sn_services, WORLD_SERVICE, &service);
	world_put(s->maps.sn_slots, WORLD_SET, &header);
	world_put(s->maps.sn_slots, WORLD_SET + 1, &header.count);
	assert_int_equal(pick(~0u).r, SN_R_TORN);
	header.count[0] = 1;
	world_put(s->maps.sn_slots, WORLD_SET + 1, &header.count);
	world_put(s->maps.sn_slots, WORLD_SET + SN_SET_HEADER, &slot);
	assert_int_equal(pick(1).r, SN_R_TORN);
}

/* --- while the set flips ------------------------------------------------------------------ */

struct flipper {
	uint32_t sets[2];
	bool stop; /* atomic */
	uint64_t flips;
};

static void *flip(void *arg)
{
	struct flipper *f = arg;
	struct sn_service service = {.frontend = vip, .incarnation = 1};

	while (!__atomic_load_n(&f->stop, __ATOMIC_RELAXED)) {
		service.set = f->sets[__atomic_fetch_add(&f->flips, 1, __ATOMIC_RELAXED) & 1];
		world_put(s->maps.sn_services, WORLD_SERVICE, &service);
	}
	return NULL;
}

/* Every draw gets a member, of one set or the other. */
static void draw_all(uint32_t repeat)
{
	uint64_t sum = 0;

	draw(repeat);
	assert_int_equal(s->bss->torn, 0);
	for (uint32_t i = 0; i < 40; i++)
		sum += s->bss->hits[FIRST + i];
	assert_int_equal(sum, repeat);
}

/* One set of 1 and one of 40 members in turns, until it has flipped often enough: on a busy machine
 * the other thread may get no turn while so many are drawn. */
static void test_p60_a_draw_meets_the_old_set_or_the_new_one(void **state)
{
	struct flipper f = {.sets = {WORLD_SET, 200}};
	uint32_t weights[40];
	pthread_t thread;

	for (uint32_t i = 0; i < 40; i++)
		weights[i] = i + 1;
	world_set(s, (struct world_extent){WORLD_SERVICE, f.sets[1], FIRST}, weights, 40);
	world_set(s, (struct world_extent){WORLD_SERVICE, f.sets[0], FIRST}, weights, 1);
	assert_int_equal(pthread_create(&thread, NULL, flip, &f), 0);
	for (uint32_t i = 0; i < 50; i++) {
		draw_all(1000000);
		if (__atomic_load_n(&f.flips, __ATOMIC_RELAXED) > 100)
			break;
	}
	__atomic_store_n(&f.stop, true, __ATOMIC_RELAXED);
	assert_int_equal(pthread_join(thread, NULL), 0);
	assert_true(f.flips > 100);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_shares_are_as_the_weights_say),
		cmocka_unit_test(test_one_member_takes_all),
		cmocka_unit_test(test_the_extreme_draws_stay_inside_the_set),
		cmocka_unit_test(test_no_member_is_no_backend),
		cmocka_unit_test(test_a_reused_extent_is_noticed),
		cmocka_unit_test(test_indexes_out_of_range_are_noticed),
		cmocka_unit_test(test_p60_a_draw_meets_the_old_set_or_the_new_one),
	};

	return cmocka_run_group_tests(tests, open_world, close_world);
}
