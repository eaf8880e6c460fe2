/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The short way of the pick decides as the whole pick does, and leaves everything unusual to it.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include <bpf/bpf.h>
#include <string.h>

#include "bpf/world.h"

#define FIRST 8u
#define MEMBERS 7u
#define WORLD_POLICY 1u /* of world_service() */

static struct stages *s;

static int open_world(void **state)
{
	struct sn_frontend vip = world_dest("10.96.0.10", 80, SN_PROTO_TCP);

	s = world_open(NULL);
	world_service(s, WORLD_SERVICE, &vip, WORLD_SET);
	return 0;
}

static int close_world(void **state)
{
	stages__destroy(s);
	return 0;
}

/* splitmix64, so that a failure comes again. */
static uint32_t chance(uint32_t below)
{
	static uint64_t seed = 4;
	uint64_t z = seed += 0x9e3779b97f4a7c15;

	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
	z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
	return (uint32_t)((z ^ (z >> 31)) >> 32) % below;
}

static void members(uint32_t n, int is_uniform)
{
	uint32_t weights[MEMBERS] = {};

	for (uint32_t i = 0; i < n; i++)
		weights[i] = is_uniform ? 100 : 1 + chance(1000);
	world_set(s, (struct world_extent){WORLD_SERVICE, WORLD_SET, FIRST}, weights, n);
	for (uint32_t i = 0; i < n; i++) {
		struct sn_health health = {
			.active = chance(4), .cost = chance(20), .cost_ns = ~0ULL, .since_ns = 1};

		world_put(s->maps.sn_health, FIRST + i, &health);
	}
}

static void policy(struct sn_policy p)
{
	world_put(s->maps.sn_policies, WORLD_POLICY, &p);
}

static struct stage_call both(uint32_t draw)
{
	struct stage_call call = {.index = WORLD_SERVICE, .draw = draw};

	world_run(s->progs.t_usual, &call);
	return call;
}

static void test_where_it_decides_it_decides_as_the_whole_pick(void **state)
{
	uint32_t decided = 0;

	for (uint32_t round = 0; round < 200; round++) {
		world_reset(s);
		members(1 + chance(MEMBERS), round & 1);
		policy((struct sn_policy){.algorithm = round & 2 ? SN_ALGORITHM_P2C
								 : SN_ALGORITHM_RANDOM});
		for (int i = 0; i < 50; i++) {
			struct stage_call call = both(chance(~0u));

			assert_int_equal(call.error, SN_R_CONNECTED);
			if (call.r)
				assert_int_equal(call.backend, call.count);
			decided += call.r != 0;
		}
	}
	/* What is left are draws of the same member twice, with weights. */
	assert_true(decided > 9000);
}

static void expect_left(int draws)
{
	for (int i = 0; i < draws; i++)
		assert_int_equal(both(chance(~0u)).r, 0);
}

static void expect_policy_left(struct sn_policy p)
{
	policy(p);
	expect_left(20);
	policy((struct sn_policy){});
	assert_int_equal(both(1).r, 1);
}

static void test_what_a_policy_adds_is_left_to_the_whole_pick(void **state)
{
	world_reset(s);
	members(3, 1);
	expect_policy_left((struct sn_policy){.limit_service = 9});
	expect_policy_left((struct sn_policy){.limit_backend = 9});
	expect_policy_left((struct sn_policy){.limit_pending = 9});
	expect_policy_left((struct sn_policy){.slow_start_ns = 9});
	expect_policy_left((struct sn_policy){.affinity = SN_AFFINITY_WORKLOAD});
	expect_policy_left((struct sn_policy){.algorithm = SN_ALGORITHM_ROUND_ROBIN});
	expect_policy_left((struct sn_policy){.algorithm = SN_ALGORITHM_HASH});
}

static void expect_state_left(struct sn_svc_state state)
{
	world_put(s->maps.sn_svc_state, WORLD_SERVICE, &state);
	expect_left(1); /* once: the whole pick ends a panic that is none */
	state = (struct sn_svc_state){};
	world_put(s->maps.sn_svc_state, WORLD_SERVICE, &state);
	assert_int_equal(both(1).r, 1);
}

static void test_a_service_in_trouble_is_left_to_the_whole_pick(void **state)
{
	world_reset(s);
	policy((struct sn_policy){});
	members(3, 1);
	expect_state_left((struct sn_svc_state){.panic_ns = 1});
	expect_state_left((struct sn_svc_state){.ejected = 1});
	expect_state_left((struct sn_svc_state){.held = 1});
}

/* What failed longer ago than anybody remembers is no trouble any more. */
static void test_a_late_failure_costs_the_next_connects_nothing(void **state)
{
	struct sn_svc_state late = {.failed_ns = 1}, fresh = {.failed_ns = ~0ULL};

	world_reset(s);
	members(3, 1);
	policy((struct sn_policy){.negative_ns = 1000000000});
	expect_state_left(fresh);
	world_put(s->maps.sn_svc_state, WORLD_SERVICE, &late);
	assert_int_equal(both(1).r, 1);
	policy((struct sn_policy){});
}

static void expect_member_left(struct sn_health health)
{
	world_put(s->maps.sn_health, FIRST, &health);
	expect_left(1);
	health = (struct sn_health){};
	world_put(s->maps.sn_health, FIRST, &health);
	assert_int_equal(both(1).r, 1);
}

/* Also when the count of such members is wrong. */
static void test_a_member_in_trouble_is_left_to_the_whole_pick(void **state)
{
	world_reset(s);
	policy((struct sn_policy){});
	members(1, 1);
	expect_member_left((struct sn_health){.ejected_until_ns = 1});
	expect_member_left((struct sn_health){.held = SN_HOLD_EJECT, .held_until_ns = SN_FOREVER});
	world_backend(s, FIRST, WORLD_SERVICE + 1, SN_BACKEND_ACTIVE, 2);
	expect_left(1);
	members(0, 1);
	expect_left(1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_where_it_decides_it_decides_as_the_whole_pick),
		cmocka_unit_test(test_what_a_policy_adds_is_left_to_the_whole_pick),
		cmocka_unit_test(test_a_service_in_trouble_is_left_to_the_whole_pick),
		cmocka_unit_test(test_a_late_failure_costs_the_next_connects_nothing),
		cmocka_unit_test(test_a_member_in_trouble_is_left_to_the_whole_pick),
	};

	return cmocka_run_group_tests(tests, open_world, close_world);
}
