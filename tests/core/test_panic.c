/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Where a caller goes when those near to it, or most of all, are not usable: levels and panic.
 * Pitfalls: P-62, P-64.
 */
#include "core/world.h"

static int begin(void **state)
{
	world_begin(7);
	return 0;
}

/* --- levels and panic ----------------------------------------------------------------------- */

static void levels(uint32_t near, uint32_t far, uint32_t fallback)
{
	world_service(WORLD_SERVICE, WORLD_SET, SN_PROTO_TCP);
	world_publish(&(struct world_set){
		WORLD_SERVICE, WORLD_SET, WORLD_FIRST, NULL, {near, far, 0, fallback}});
}

static void test_p62_a_level_is_left_when_none_of_it_is_usable(void **state)
{
	struct sn_pick pick;

	world_policy()->panic_percent = 0;
	levels(2, 2, 2);
	world_draw(500);
	assert_int_equal(world_hits[0] + world_hits[1], 500);
	world_eject(0);
	world_draw(500);
	assert_int_equal(world_hits[1], 500);
	world_eject(1);
	world_draw(500);
	assert_int_equal(world_hits[2] + world_hits[3], 500);
	world_hold(2);
	world_eject(3);
	world_draw(500);
	assert_int_equal(world_hits[4] + world_hits[5], 500);
	assert_int_equal(world_pick(&pick), SN_R_CONNECTED);
	assert_int_equal(pick.level, 3);
	world_hold(4);
	world_eject(5);
	assert_int_equal(world_pick(&pick), SN_R_NO_BACKEND);
}

static void test_p64_panic_all_ignores_ejection_and_says_so(void **state)
{
	struct sn_pick pick;

	world_simple(4, NULL);
	world_eject(0);
	world_eject(1);
	assert_int_equal(world_pick(&pick), SN_R_CONNECTED); /* a half is usable: not below it */
	assert_int_equal(pick.panic, 0);
	world_eject(2);
	world_draw(WORLD_DRAWS);
	for (unsigned i = 0; i < 4; i++)
		world_expect_share(i, 0.25);
	assert_int_equal(core.n_events, 1);
	assert_int_equal(core.events[0]->type, SN_EVENT_PANIC);
	assert_int_equal(core.events[0]->usable, 1);
	assert_int_equal(sn_svc_stats_at(WORLD_SERVICE)->count[SN_R_PANIC - SN_R_BACKEND_MAX],
			 WORLD_DRAWS);
	sn_health_at(WORLD_FIRST)->ejected_until_ns = 0;
	sn_svc_state_at(WORLD_SERVICE)->ejected = 2;
	world_draw(100);
	assert_int_equal(world_hits[1] + world_hits[2], 0);
	assert_int_equal(sn_svc_state_at(WORLD_SERVICE)->panic_ns, 0);
	assert_int_equal(core.n_events, 2);
	assert_int_equal(core.events[1]->usable, core.events[1]->total);
}

static void test_p64_a_drained_half_is_no_panic(void **state)
{
	world_simple(10, NULL);
	for (unsigned i = 0; i < 6; i++)
		world_hold(i);
	world_eject(6);
	world_draw(1000);
	assert_int_equal(world_hits[6], 0);
	assert_int_equal(sn_svc_state_at(WORLD_SERVICE)->panic_ns, 0);
}

/* Refused at once, and back again by probes alone. */
static void recover_from_panic_none(uint8_t probes)
{
	unsigned given = 0;

	world_begin(probes);
	world_policy()->flags = SN_POLICY_PANIC_NONE;
	world_policy()->probes = probes;
	world_simple(4, NULL);
	world_eject(0);
	world_eject(1);
	world_eject(2);
	for (unsigned i = 0; i < 100; i++)
		assert_int_equal(world_member(), -1);
	core.now += 30 * SECOND;
	for (unsigned i = 0; i < 500 && sn_svc_state_at(WORLD_SERVICE)->ejected; i++) {
		int got = world_member();

		if (got >= 0 && sn_health_at(WORLD_FIRST + (uint32_t)got)->ejected_until_ns) {
			world_succeed(WORLD_FIRST + (uint32_t)got, 1000);
			given++;
		}
	}
	assert_int_equal(sn_svc_state_at(WORLD_SERVICE)->ejected, 0);
	assert_int_equal(given, 3);
	assert_in_range(world_member(), 0, 3);
	assert_int_equal(sn_svc_state_at(WORLD_SERVICE)->panic_ns, 0);
}

static void test_p64_panic_none_refuses_and_recovers_by_probes(void **state)
{
	recover_from_panic_none(1);
	recover_from_panic_none(3);
	recover_from_panic_none(0);
}

/* The healthy one is somebody's favourite: panic refuses that caller, too. */
static void test_p64_panic_none_refuses_favourites_too(void **state)
{
	int favourite;

	world_policy()->flags = SN_POLICY_PANIC_NONE;
	world_policy()->affinity = SN_AFFINITY_WORKLOAD;
	world_policy()->affinity_ns = 1000 * SECOND;
	world_simple(4, NULL);
	favourite = world_member();
	for (uint32_t i = 0; i < 4; i++)
		if ((int)i != favourite)
			world_eject(i);
	sn_svc_state_at(WORLD_SERVICE)->panic_ns = core.now;
	assert_int_equal(world_member(), -1);
}

static int end(void **state)
{
	core_end();
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(test_p62_a_level_is_left_when_none_of_it_is_usable, begin),
		cmocka_unit_test_setup(test_p64_panic_all_ignores_ejection_and_says_so, begin),
		cmocka_unit_test_setup(test_p64_a_drained_half_is_no_panic, begin),
		cmocka_unit_test_setup(test_p64_panic_none_refuses_and_recovers_by_probes, begin),
		cmocka_unit_test_setup(test_p64_panic_none_refuses_favourites_too, begin),
	};

	return cmocka_run_group_tests(tests, NULL, end);
}
