/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Which backend a caller gets, as the policy's words say: shares, turns, the less loaded of two,
 * levels, affinity, and what is never given.
 * Pitfalls: P-61, P-67.
 */
#include "core/world.h"

static int begin(void **state)
{
	world_begin(7);
	return 0;
}

static void test_idle_backends_get_their_weights_share(void **state)
{
	static const uint32_t weights[] = {1, 2, 3, 4, 10};
	static const uint8_t algorithms[] = {SN_ALGORITHM_P2C, SN_ALGORITHM_RANDOM,
					     SN_ALGORITHM_ROUND_ROBIN};

	for (unsigned a = 0; a < 3; a++) {
		world_begin(a);
		world_policy()->algorithm = algorithms[a];
		world_simple(5, weights);
		world_draw(WORLD_DRAWS);
		for (unsigned i = 0; i < 5; i++)
			world_expect_share(i, weights[i] / 20.0);
	}
}

/* One of six is ejected: the others share what it leaves, its neighbour too. */
static void test_the_share_of_an_ejected_one_is_not_all_its_neighbours(void **state)
{
	for (uint8_t a = SN_ALGORITHM_RANDOM; a <= SN_ALGORITHM_ROUND_ROBIN; a++) {
		world_begin(a);
		world_policy()->algorithm = a;
		world_simple(6, NULL);
		world_eject(2);
		world_draw(WORLD_DRAWS);
		assert_int_equal(world_hits[2], 0);
		for (unsigned i = 0; i < 6; i++)
			assert_true(world_hits[i] < WORLD_DRAWS * 0.24);
	}
}

/* Every pair of loads, every draw: of the two that were drawn, never the more loaded. */
static void test_p2c_gives_the_less_loaded_of_two(void **state)
{
	world_simple(2, NULL);
	for (unsigned i = 0; i < 400; i++) {
		struct sn_health *a = sn_health_at(WORLD_FIRST), *b = a;
		uint64_t of_a, of_b;

		b = sn_health_at(WORLD_FIRST + 1);
		a->active = core_random() % 50;
		b->active = core_random() % 50;
		a->cost = 1u << core_random() % 8;
		b->cost = 1u << core_random() % 8;
		a->cost_ns = b->cost_ns = core.now;
		of_a = (uint64_t)(a->active + 1) * a->cost;
		of_b = (uint64_t)(b->active + 1) * b->cost;
		world_draw(20);
		assert_true(of_a == of_b || world_hits[of_a < of_b ? 1 : 0] == 0);
	}
}

static void test_p2c_measures_load_by_weight(void **state)
{
	static const uint32_t weights[] = {1, 3};

	world_simple(2, weights);
	sn_health_at(WORLD_FIRST)->active = 10;
	sn_health_at(WORLD_FIRST + 1)->active = 20; /* of three times the weight */
	world_draw(200);
	assert_int_equal(world_hits[0], 0);
}

static void test_a_slow_connect_is_forgotten_in_time(void **state)
{
	world_simple(2, NULL);
	sn_health_at(WORLD_FIRST)->cost = 1024;
	sn_health_at(WORLD_FIRST)->cost_ns = core.now;
	sn_health_at(WORLD_FIRST + 1)->cost = 1;
	world_draw(100);
	assert_int_equal(world_hits[0], 0);
	core.now += 60 * SECOND;
	world_draw(WORLD_DRAWS);
	world_expect_share(0, 0.5);
}

static void test_round_robin_takes_exact_turns(void **state)
{
	world_policy()->algorithm = SN_ALGORITHM_ROUND_ROBIN;
	for (uint32_t n = 1; n <= 60; n++) {
		world_simple(n, NULL);
		sn_svc_state_at(WORLD_SERVICE)->turn = 0;
		for (uint32_t i = 0; i < 3 * n; i++)
			assert_int_equal(world_member(), i % n);
	}
}

static void test_a_hashed_caller_keeps_its_backend_and_gets_one_other(void **state)
{
	struct sn_ask ask;
	struct sn_pick pick;
	uint32_t first, other;

	world_policy()->algorithm = SN_ALGORITHM_HASH;
	world_simple(20, NULL);
	for (uint64_t caller = 1; caller < 200; caller++) {
		world_simple(20, NULL);
		ask = world_ask();
		ask.caller = caller;
		assert_int_equal(sn_choose(&ask, &pick), SN_R_CONNECTED);
		first = pick.index;
		world_eject(first - WORLD_FIRST);
		assert_int_equal(sn_choose(&ask, &pick), SN_R_CONNECTED);
		other = pick.index;
		assert_int_not_equal(other, first);
		ask.draw = core_random();
		assert_int_equal(sn_choose(&ask, &pick), SN_R_CONNECTED);
		assert_int_equal(pick.index, other);
		sn_health_at(first)->ejected_until_ns = 0;
		sn_svc_state_at(WORLD_SERVICE)->ejected = 0;
		assert_int_equal(sn_choose(&ask, &pick), SN_R_CONNECTED);
		assert_int_equal(pick.index, first);
	}
}

static void test_a_new_backends_share_grows(void **state)
{
	double last = 0;

	world_policy()->algorithm = SN_ALGORITHM_RANDOM;
	world_policy()->slow_start_ns = 60 * SECOND;
	world_simple(2, NULL);
	sn_health_at(WORLD_FIRST)->since_ns = core.now;
	for (unsigned tenth = 1; tenth <= 10; tenth++) {
		core.now += 6 * SECOND;
		world_draw(WORLD_DRAWS);
		world_expect_share(0, 0.5 * tenth / 10);
		assert_true(world_hits[0] > last);
		last = world_hits[0];
	}
}

/* A near level that starts slowly as a whole still serves. */
static void test_slow_start_does_not_leave_the_level(void **state)
{
	world_policy()->slow_start_ns = 60 * SECOND;
	world_service(WORLD_SERVICE, WORLD_SET, SN_PROTO_TCP);
	world_publish(&(struct world_set){WORLD_SERVICE, WORLD_SET, WORLD_FIRST, NULL, {3, 3}});
	for (unsigned i = 0; i < 3; i++)
		sn_health_at(WORLD_FIRST + i)->since_ns = core.now;
	world_draw(1000);
	assert_int_equal(world_hits[0] + world_hits[1] + world_hits[2], 1000);
}

/* The short way decides what the whole pick would, whatever the loads; and leaves alone what only
 * that can decide. */
static void test_the_short_way_decides_as_the_whole_pick_does(void **state)
{
	static const uint32_t weights[] = {1, 2, 3, 4, 10, 1, 7};
	struct sn_pick one, other;
	unsigned decided = 0;
	struct sn_ask ask;

	for (unsigned i = 0; i < 20000; i++) {
		world_policy()->algorithm = (uint8_t)(core_random() % 2);
		world_simple(1 + core_random() % 7, core_random() % 2 ? weights : NULL);
		for (unsigned k = 0; k < 7; k++) {
			sn_health_at(WORLD_FIRST + k)->active = core_random() % 8;
			sn_health_at(WORLD_FIRST + k)->cost = 1u << core_random() % 6;
			sn_health_at(WORLD_FIRST + k)->cost_ns = core.now;
		}
		ask = world_ask();
		one = other = (struct sn_pick){0};
		if (!sn_pick_usual(&ask, sn_service_at(WORLD_SERVICE), &one))
			continue;
		decided++;
		assert_int_equal(sn_pick(&ask, &other), SN_R_CONNECTED);
		assert_int_equal(one.index, other.index);
		assert_int_equal(one.grade, other.grade);
		assert_int_equal(one.count, other.count);
	}
	assert_true(decided > 15000);
	world_simple(4, NULL);
	ask = world_ask();
	world_eject(2);
	assert_int_equal(sn_pick_usual(&ask, sn_service_at(WORLD_SERVICE), &one), 0);
	sn_svc_state_at(WORLD_SERVICE)->ejected = 0;
	sn_health_at(WORLD_FIRST + 2)->ejected_until_ns = 0;
	assert_int_equal(sn_pick_usual(&ask, sn_service_at(WORLD_SERVICE), &one), 1);
	world_hold(1);
	assert_int_equal(sn_pick_usual(&ask, sn_service_at(WORLD_SERVICE), &one), 0);
}

/* --- what is never given -------------------------------------------------------------------- */

static void test_held_ones_are_never_given_not_even_in_panic(void **state)
{
	struct sn_pick pick;

	for (uint8_t a = SN_ALGORITHM_RANDOM; a <= SN_ALGORITHM_HASH; a++) {
		world_begin(a);
		world_policy()->algorithm = a;
		world_simple(4, NULL);
		world_hold(1);
		world_eject(0);
		world_eject(2);
		world_eject(3);
		for (unsigned i = 0; i < 500; i++)
			assert_int_not_equal(world_member(), 1);
		world_hold(0);
		world_hold(2);
		world_hold(3);
		assert_int_equal(world_pick(&pick), SN_R_NO_BACKEND);
		sn_health_at(WORLD_FIRST)->held_until_ns = core.now;
		sn_health_at(WORLD_FIRST)->ejected_until_ns = 0;
		assert_int_equal(world_member(), 0);
	}
}

static void test_an_ejected_one_is_not_given_before_its_time(void **state)
{
	for (uint8_t a = SN_ALGORITHM_RANDOM; a <= SN_ALGORITHM_ROUND_ROBIN; a++) {
		world_begin(a);
		world_policy()->algorithm = a;
		world_simple(12, NULL);
		for (uint32_t i = 0; i < 5; i++)
			world_eject(2 * i);
		world_draw(5000);
		for (uint32_t i = 0; i < 5; i++)
			assert_int_equal(world_hits[2 * i], 0);
		core.now += 30 * SECOND - 1;
		world_draw(5000);
		for (uint32_t i = 0; i < 5; i++)
			assert_int_equal(world_hits[2 * i], 0);
	}
}

/* p67: whoever asks first is the probe, the next ones go elsewhere until an interval has passed. */
static void test_p67_a_half_open_one_gets_its_probes_and_no_more(void **state)
{
	for (uint8_t probes = 1; probes <= 5; probes++) {
		world_begin(probes);
		world_policy()->probes = probes;
		world_simple(4, NULL);
		world_eject(3);
		core.now += 30 * SECOND;
		world_draw(1000);
		assert_int_equal(world_hits[3], probes);
		core.now += 30 * SECOND - 1000000;
		world_draw(1000);
		assert_int_equal(world_hits[3], 0);
		core.now += 1000000;
		world_draw(1000);
		assert_int_equal(world_hits[3], probes);
	}
}

/* Clocks of two CPUs may be a tick apart: the older one begins no interval of its own. */
static void test_p67_an_older_tick_begins_no_new_interval(void **state)
{
	world_simple(2, NULL);
	world_eject(1);
	core.now += 31 * SECOND;
	world_draw(100);
	assert_int_equal(world_hits[1], 1);
	core.now -= 4000000;
	world_draw(100);
	assert_int_equal(world_hits[1], 0);
}

static void test_p67_a_probe_that_was_not_sent_gives_its_place_back(void **state)
{
	world_simple(2, NULL);
	world_eject(1);
	core.now += 31 * SECOND;
	world_draw(100);
	world_fail(WORLD_FIRST + 1, SN_R_NOT_SENT);
	world_draw(100);
	assert_int_equal(world_hits[1], 1);
	world_fail(WORLD_FIRST + 1, SN_R_ABORTED); /* it had its chance */
	world_draw(100);
	assert_int_equal(world_hits[1], 0);
}

static void test_who_just_failed_a_caller_is_not_given_to_it(void **state)
{
	for (uint8_t a = SN_ALGORITHM_RANDOM; a <= SN_ALGORITHM_ROUND_ROBIN; a++) {
		world_begin(a);
		world_policy()->algorithm = a;
		world_policy()->consecutive = 0;
		world_policy()->failure_percent = 0;
		world_simple(3, NULL);
		world_fail(WORLD_FIRST + 1, SN_R_REFUSED);
		world_draw(1000);
		assert_int_equal(world_hits[1], 0);
		world_hold(0);
		world_hold(2);
		world_draw(10); /* there is no other */
		core.now += 10 * SECOND;
		sn_health_at(WORLD_FIRST)->held = 0;
		world_draw(1000);
		assert_true(world_hits[1] > 0);
	}
}

/* Nor as the probe, unless there is nobody else. */
static void test_who_failed_a_caller_is_its_probe_only_if_all_else_fails(void **state)
{
	world_policy()->negative_ns = 100 * SECOND;
	world_simple(2, NULL);
	for (unsigned i = 0; i < 5; i++)
		world_fail(WORLD_FIRST, SN_R_REFUSED);
	core.now += 40 * SECOND;
	world_draw(1000);
	assert_int_equal(world_hits[0], 0);
	world_hold(1);
	world_policy()->panic_percent = 0;
	assert_int_equal(world_member(), 0);
	assert_int_equal(world_member(), -1);
}

/* --- affinity ------------------------------------------------------------------------------- */

static void test_p61_affinity_keeps_a_backend_while_it_is_usable(void **state)
{
	int first, other;

	world_policy()->affinity = SN_AFFINITY_WORKLOAD;
	world_policy()->affinity_ns = 100 * SECOND;
	world_policy()->slow_start_ns = 1000 * SECOND;
	world_simple(10, NULL);
	first = world_member();
	sn_health_at(WORLD_FIRST + (uint32_t)first)->since_ns = core.now; /* slow, but usable */
	sn_health_at(WORLD_FIRST + (uint32_t)first)->active = 1000;
	for (unsigned i = 0; i < 100; i++) {
		assert_int_equal(world_member(), first);
		core.now += 99 * SECOND; /* each use begins the time anew */
	}
	world_eject((uint32_t)first);
	other = world_member();
	assert_int_not_equal(other, first);
	sn_health_at(WORLD_FIRST + (uint32_t)first)->ejected_until_ns = 0;
	assert_int_equal(world_member(), other);
}

static void test_p61_affinity_leaves_who_is_gone_drained_held_or_full(void **state)
{
	for (unsigned how = 0; how < 6; how++) {
		struct sn_backend *b;
		int first;

		world_begin(how);
		world_policy()->affinity = SN_AFFINITY_WORKLOAD;
		world_policy()->affinity_ns = 100 * SECOND;
		world_policy()->limit_backend = 5;
		world_simple(10, NULL);
		first = world_member();
		b = sn_backend_at(WORLD_FIRST + (uint32_t)first);
		if (how == 0)
			b->state = SN_BACKEND_GONE;
		else if (how == 1)
			b->state = SN_BACKEND_DRAINING;
		else if (how == 2)
			b->incarnation++;
		else if (how == 3)
			world_hold((uint32_t)first);
		else if (how == 4)
			sn_health_at(WORLD_FIRST + (uint32_t)first)->active = 5;
		else
			core.now +=
				100 * SECOND; /* its time is over: drawn anew, by chance the same */
		if (how > 2 && how < 5)
			assert_int_not_equal(world_member(), first);
		else
			assert_int_equal(
				sn_affinity_recall(&(struct sn_ask){.now = core.now,
								    .caller = 77,
								    .service = WORLD_SERVICE,
								    .policy = WORLD_POLICY},
						   &(struct sn_pick){0}),
				0);
	}
}

static int end(void **state)
{
	core_end();
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(test_idle_backends_get_their_weights_share, begin),
		cmocka_unit_test_setup(test_the_share_of_an_ejected_one_is_not_all_its_neighbours,
				       begin),
		cmocka_unit_test_setup(test_p2c_gives_the_less_loaded_of_two, begin),
		cmocka_unit_test_setup(test_p2c_measures_load_by_weight, begin),
		cmocka_unit_test_setup(test_a_slow_connect_is_forgotten_in_time, begin),
		cmocka_unit_test_setup(test_round_robin_takes_exact_turns, begin),
		cmocka_unit_test_setup(test_a_hashed_caller_keeps_its_backend_and_gets_one_other,
				       begin),
		cmocka_unit_test_setup(test_a_new_backends_share_grows, begin),
		cmocka_unit_test_setup(test_slow_start_does_not_leave_the_level, begin),
		cmocka_unit_test_setup(test_the_short_way_decides_as_the_whole_pick_does, begin),
		cmocka_unit_test_setup(test_held_ones_are_never_given_not_even_in_panic, begin),
		cmocka_unit_test_setup(test_an_ejected_one_is_not_given_before_its_time, begin),
		cmocka_unit_test_setup(test_p67_a_half_open_one_gets_its_probes_and_no_more, begin),
		cmocka_unit_test_setup(test_p67_an_older_tick_begins_no_new_interval, begin),
		cmocka_unit_test_setup(test_p67_a_probe_that_was_not_sent_gives_its_place_back,
				       begin),
		cmocka_unit_test_setup(test_who_just_failed_a_caller_is_not_given_to_it, begin),
		cmocka_unit_test_setup(test_who_failed_a_caller_is_its_probe_only_if_all_else_fails,
				       begin),
		cmocka_unit_test_setup(test_p61_affinity_keeps_a_backend_while_it_is_usable, begin),
		cmocka_unit_test_setup(test_p61_affinity_leaves_who_is_gone_drained_held_or_full,
				       begin),
	};

	return cmocka_run_group_tests(tests, NULL, end);
}
