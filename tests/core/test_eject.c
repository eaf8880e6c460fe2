/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Ejection against references that were written from the rules as the users read them, not from the
 * code: how many may be ejected, for how long, what counts in the window, what a probe decides.
 * Pitfalls: P-63, P-67.
 */
#include "core/world.h"
#include "stage/told.h"

static int begin(void **state)
{
	world_begin(1);
	return 0;
}

/* --- how many ------------------------------------------------------------------------------- */

/* Allowed iff (ejected+1)*100 <= pct*total, or it is the first and total > 1; never the last. */
static int rule(unsigned ejected, unsigned total, unsigned pct)
{
	if (ejected + 1 >= total)
		return 0;
	if (ejected == 0)
		return total > 1;
	return (ejected + 1) * 100 <= pct * total;
}

static unsigned ejected_now(uint32_t n)
{
	unsigned sum = 0;

	for (uint32_t i = 0; i < n; i++)
		sum += sn_health_at(WORLD_FIRST + i)->ejected_until_ns != 0;
	return sum;
}

/* Every backend fails for good: as many as the rule allows are ejected, one after the other. */
static void expect_ejections(uint32_t n, uint32_t pct)
{
	unsigned allowed = 0;

	core_reset(n);
	world_policy()->max_ejection_percent = (uint8_t)pct;
	world_policy()->consecutive = 1;
	world_policy()->base_ns = world_policy()->max_ns = 300 * SECOND;
	world_policy()->enforcing_percent = 100;
	world_simple(n, NULL);
	while (rule(allowed, n, pct))
		allowed++;
	for (uint32_t i = 0; i < n; i++) {
		world_fail(WORLD_FIRST + i, SN_R_REFUSED);
		assert_int_equal(sn_svc_state_at(WORLD_SERVICE)->ejected, ejected_now(n));
	}
	if (ejected_now(n) != allowed)
		fail_msg("%u of %u ejected at %u %%, expected %u", ejected_now(n), n, pct, allowed);
	assert_int_equal(sn_svc_stats_at(WORLD_SERVICE)->count[SN_R_SPARED - SN_R_BACKEND_MAX],
			 n - allowed);
}

static void test_p63_ejections_follow_the_rule_for_all_sizes_and_shares(void **state)
{
	for (uint32_t n = 1; n <= 64; n++)
		for (uint32_t pct = 0; pct <= 100; pct++)
			expect_ejections(n, pct);
}

static void test_p63_those_held_by_hand_are_no_usable_ones(void **state)
{
	world_policy()->max_ejection_percent = 100;
	world_policy()->consecutive = 1;
	world_simple(4, NULL);
	sn_svc_state_at(WORLD_SERVICE)->held = 2;
	world_fail(WORLD_FIRST, SN_R_REFUSED);
	world_fail(WORLD_FIRST + 1, SN_R_REFUSED);
	assert_int_equal(ejected_now(4), 1);
}

/* --- for how long --------------------------------------------------------------------------- */

static uint64_t eject_for(uint32_t backend)
{
	struct sn_health *health = sn_health_at(backend);

	for (int i = 0; i < 5; i++)
		world_fail(backend, SN_R_REFUSED);
	assert_true(health->ejected_until_ns > core.now);
	return health->ejected_until_ns - core.now;
}

/* base x times in a row, at most max, and up to 10 % more. */
static void test_times_grow_to_the_most_with_a_jitter_of_a_tenth(void **state)
{
	world_simple(3, NULL);
	for (uint64_t times = 1; times <= 14; times++) {
		uint64_t plain =
			times * 30 * SECOND > 300 * SECOND ? 300 * SECOND : times * 30 * SECOND;
		uint64_t got;

		if (times == 1) {
			got = eject_for(WORLD_FIRST);
		} else {
			world_fail(WORLD_FIRST, SN_R_TIMEOUT); /* the probe */
			got = sn_health_at(WORLD_FIRST)->ejected_until_ns - core.now;
		}
		assert_in_range(got, plain, plain + plain / 10);
		assert_int_equal(sn_health_at(WORLD_FIRST)->ejections, times);
		core.now += got;
	}
	assert_int_equal(sn_health_at(WORLD_FIRST)->ejected_total, 14);
	assert_int_equal(sn_svc_state_at(WORLD_SERVICE)->ejected, 1);
}

/* p67: nodes do not let a backend return at the same moment. */
static void test_p67_nodes_and_backends_differ_in_their_jitter(void **state)
{
	uint64_t seen[64];
	unsigned equal = 0;

	for (uint32_t node = 0; node < 64; node++) {
		core_reset(1);
		world_begin(1);
		core_set_node(node * 2654435761u);
		world_simple(3, NULL);
		seen[node] = eject_for(WORLD_FIRST);
		for (uint32_t i = 0; i < node; i++)
			equal += seen[i] == seen[node];
	}
	assert_in_range(equal, 0, 10); /* 2,016 pairs over 1,024 values: 2 by chance */
}

static void test_the_count_decays_by_one_per_healthy_base_time(void **state)
{
	struct sn_health *health = sn_health_at(WORLD_FIRST);

	world_simple(3, NULL);
	for (uint64_t healthy = 0; healthy <= 6; healthy++) {
		memset(health, 0, sizeof(*health));
		sn_svc_state_at(WORLD_SERVICE)->ejected = 0;
		health->ejections = 4;
		health->since_ns = core.now;
		core.now += healthy * 30 * SECOND + SECOND;
		(void)eject_for(WORLD_FIRST);
		assert_int_equal(health->ejections, healthy < 4 ? 4 - healthy + 1 : 1);
	}
}

/* --- what counts ---------------------------------------------------------------------------- */

#define HISTORY 4000

struct told {
	uint64_t at;
	int failed;
};

/* Outcomes of the last ten buckets, the present one included, by looking at each. */
static void expect_window(const struct told *told, unsigned n, uint64_t bucket_ns)
{
	const __u64 *ring = sn_window_at(WORLD_FIRST)->failed;
	struct sn_window_sum sum = sn_window_sum(ring, sn_window_number(core.now, bucket_ns));
	unsigned total = 0, failed = 0;

	for (unsigned i = 0; i < n; i++)
		if (core.now / bucket_ns - told[i].at / bucket_ns < 10) {
			total++;
			failed += told[i].failed;
		}
	assert_int_equal(sum.total, total);
	assert_int_equal(sum.marked, failed);
}

/* From `from` on, through wherever the numbers of buckets begin anew. */
static void expect_exact(uint64_t bucket_ns, uint64_t from, uint64_t seed)
{
	static struct told told[HISTORY];

	core_reset(seed);
	world_policy()->bucket_ns = bucket_ns;
	world_policy()->failure_percent = 100;
	world_policy()->min_volume = ~0u; /* never trips */
	world_simple(2, NULL);
	core.now = from;
	for (unsigned n = 0; n < 300; n++) {
		told[n] = (struct told){core.now, core_random() % 3 == 0};
		if (told[n].failed)
			world_fail(WORLD_FIRST, SN_R_REFUSED);
		else
			world_succeed(WORLD_FIRST, 1000);
		expect_window(told, n + 1, bucket_ns);
		core.now += core_random() % (core_random() % 50 ? bucket_ns / 2 : bucket_ns * 15);
	}
}

static void test_the_window_is_exact_over_random_histories(void **state)
{
	for (uint64_t seed = 1; seed <= 50; seed++) {
		expect_exact(SECOND, 1 + seed * SECOND, seed);
		expect_exact(10000000, (SN_BUCKET_NUMBERS * seed - 20) * 10000000ull, seed);
		expect_exact(100000000 + seed, (0x1000000ull * seed - 30) * 100000000, seed);
	}
}

static void test_an_outcome_that_comes_a_round_late_wipes_nothing_out(void **state)
{
	struct sn_window *window = sn_window_at(WORLD_FIRST);

	sn_window_add(window->failed, 25, 1);
	sn_window_add(window->failed, 15, 1);
	assert_int_equal(sn_window_sum(window->failed, 25).total, 1);
	sn_window_add(window->failed, 35, 1);
	assert_int_equal(sn_window_sum(window->failed, 35).total, 1);
	assert_int_equal(sn_window_sum(window->failed, 25).total, 0);
}

/* At least minVolume, and at least the share. */
static void test_the_ratio_trips_at_its_share_and_not_before(void **state)
{
	for (unsigned failures = 1; failures <= 20; failures++) {
		world_begin(failures);
		world_policy()->consecutive = 0;
		world_simple(2, NULL);
		for (unsigned i = 0; i < 20 - failures; i++)
			world_succeed(WORLD_FIRST, 1000);
		for (unsigned i = 0; i < failures; i++) {
			assert_int_equal(sn_health_at(WORLD_FIRST)->ejected_until_ns, 0);
			world_fail(WORLD_FIRST, SN_R_TIMEOUT);
		}
		assert_int_equal(sn_health_at(WORLD_FIRST)->trip,
				 failures >= 10 ? SN_TRIP_RATIO : SN_TRIP_NONE);
	}
}

static void test_slow_connects_trip_by_their_share(void **state)
{
	world_policy()->slow_ns = 5000000;
	world_policy()->slow_percent = 50;
	world_simple(2, NULL);
	for (unsigned i = 0; i < 19; i++)
		world_succeed(WORLD_FIRST, i % 2 ? 1000 : 5000000);
	assert_int_equal(sn_health_at(WORLD_FIRST)->ejected_until_ns, 0);
	world_succeed(WORLD_FIRST, 6000000);
	assert_int_equal(sn_health_at(WORLD_FIRST)->trip, SN_TRIP_SLOW);
}

static void test_consecutive_trips_at_its_count_and_0_is_off(void **state)
{
	world_simple(2, NULL);
	for (unsigned i = 0; i < 4; i++)
		world_fail(WORLD_FIRST, SN_R_REFUSED);
	world_succeed(WORLD_FIRST, 1000);
	for (unsigned i = 0; i < 4; i++)
		world_fail(WORLD_FIRST, SN_R_REFUSED);
	assert_int_equal(sn_health_at(WORLD_FIRST)->ejected_until_ns, 0);
	world_fail(WORLD_FIRST, SN_R_REFUSED);
	assert_int_equal(sn_health_at(WORLD_FIRST)->trip, SN_TRIP_CONSECUTIVE);
	world_policy()->consecutive = 0;
	world_policy()->failure_percent = 0;
	for (unsigned i = 0; i < 100; i++)
		world_fail(WORLD_FIRST + 1, SN_R_REFUSED);
	assert_int_equal(sn_health_at(WORLD_FIRST + 1)->ejected_until_ns, 0);
}

/* A client without a route or without ports, one that gives up: never the backend's fault. */
static void test_the_callers_own_failures_eject_nobody(void **state)
{
	world_policy()->consecutive = 1;
	world_simple(2, NULL);
	for (unsigned i = 0; i < 200; i++) {
		world_fail(WORLD_FIRST, SN_R_ABORTED);
		world_fail(WORLD_FIRST, SN_R_NOT_SENT);
		world_fail(WORLD_FIRST, SN_R_ERROR);
	}
	assert_int_equal(sn_health_at(WORLD_FIRST)->ejected_until_ns, 0);
	assert_int_equal(sn_health_at(WORLD_FIRST)->consecutive, 0);
}

/* --- shadow and enforcing ------------------------------------------------------------------- */

static void test_shadow_tells_once_and_ejects_nobody(void **state)
{
	world_policy()->flags = SN_POLICY_SHADOW;
	world_simple(2, NULL);
	for (unsigned i = 0; i < 50; i++)
		world_fail(WORLD_FIRST, SN_R_REFUSED);
	assert_int_equal(sn_health_at(WORLD_FIRST)->ejected_until_ns, 0);
	assert_int_equal(sn_svc_state_at(WORLD_SERVICE)->ejected, 0);
	assert_int_equal(core.n_events, 1);
	assert_int_equal(core.events[0]->type, SN_EVENT_SHADOW);
	core.now = sn_health_at(WORLD_FIRST)->shadow_until_ns;
	world_fail(WORLD_FIRST, SN_R_REFUSED);
	assert_int_equal(core.n_events, 2);
}

static void test_shadow_spares_the_last_one_as_the_rule_does(void **state)
{
	world_policy()->flags = SN_POLICY_SHADOW;
	world_simple(1, NULL);
	for (unsigned i = 0; i < 50; i++)
		world_fail(WORLD_FIRST, SN_R_REFUSED);
	assert_int_equal(core.n_events, 0);
}

/* Backends that go on failing: the share of them that is ejected, not of their failures. */
static void test_a_share_of_ejections_is_enforced_however_long_failures_last(void **state)
{
	unsigned n = 0;

	for (uint64_t seed = 0; seed < 400; seed++) {
		world_begin(seed);
		world_policy()->enforcing_percent = 30;
		world_simple(2, NULL);
		for (unsigned i = 0; i < 100; i++)
			world_fail(WORLD_FIRST, SN_R_REFUSED);
		n += sn_health_at(WORLD_FIRST)->ejected_until_ns != 0;
	}
	assert_in_range(n, 120 - 46, 120 + 46); /* 5 sigma */
}

/* --- half-open ------------------------------------------------------------------------------ */

static void test_a_probe_that_succeeds_restores_and_one_that_fails_ejects(void **state)
{
	struct sn_health *health = sn_health_at(WORLD_FIRST);

	world_simple(2, NULL);
	core.now += eject_for(WORLD_FIRST);
	world_fail(WORLD_FIRST, SN_R_REFUSED);
	assert_true(health->ejected_until_ns > core.now);
	assert_int_equal(health->trip, SN_TRIP_PROBE);
	core.now = health->ejected_until_ns - 1;
	world_succeed(WORLD_FIRST, 1000); /* of a connect from before: too early */
	assert_true(health->ejected_until_ns > core.now);
	core.now++;
	world_succeed(WORLD_FIRST, 1000);
	assert_int_equal(health->ejected_until_ns, 0);
	assert_int_equal(health->since_ns, core.now);
	assert_int_equal(sn_svc_state_at(WORLD_SERVICE)->ejected, 0);
}

/* Connects to a silent backend end minutes later: they tell nothing of what it is now. */
static void test_a_late_failure_of_an_old_connect_is_no_probe(void **state)
{
	struct sn_health *health = sn_health_at(WORLD_FIRST);
	struct sn_flow old = {.backend = WORLD_FIRST, .incarnation = 1, .start_ns = core.now};

	world_simple(2, NULL);
	core.now += SECOND;
	core.now += eject_for(WORLD_FIRST);
	sn_outcome_failed(&old, health, SN_R_TIMEOUT, core.now);
	assert_int_equal(health->ejections, 1);
	assert_true(health->ejected_until_ns <= core.now);
}

/* Nor is what is reported of a connection that was there before. */
static void test_a_report_of_an_old_connection_is_no_probe(void **state)
{
	struct sn_health *health = sn_health_at(WORLD_FIRST);
	struct sn_flow old = {.backend = WORLD_FIRST, .incarnation = 1, .start_ns = core.now};

	world_simple(2, NULL);
	core.now += SECOND;
	core.now += eject_for(WORLD_FIRST);
	for (int i = 0; i < 10; i++)
		sn_told_failure(&old, health, core.now);
	assert_int_equal(health->ejections, 1);
	assert_true(health->ejected_until_ns <= core.now);
	old.start_ns = core.now; /* the probe itself */
	sn_told_failure(&old, health, core.now);
	assert_int_equal(health->ejections, 2);
}

static void test_a_datagram_service_gets_its_backend_back(void **state)
{
	struct sn_ask ask;
	struct sn_pick pick;

	world_simple(2, NULL);
	core.now += eject_for(WORLD_FIRST);
	for (unsigned i = 0; i < 20; i++) {
		ask = world_ask();
		ask.proto = SN_PROTO_UDP;
		assert_int_equal(sn_choose(&ask, &pick), SN_R_CONNECTED);
	}
	assert_int_equal(sn_health_at(WORLD_FIRST)->ejected_until_ns, 0);
	assert_int_equal(sn_svc_state_at(WORLD_SERVICE)->ejected, 0);
}

static int end(void **state)
{
	core_end();
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(test_p63_ejections_follow_the_rule_for_all_sizes_and_shares,
				       begin),
		cmocka_unit_test_setup(test_p63_those_held_by_hand_are_no_usable_ones, begin),
		cmocka_unit_test_setup(test_times_grow_to_the_most_with_a_jitter_of_a_tenth, begin),
		cmocka_unit_test_setup(test_p67_nodes_and_backends_differ_in_their_jitter, begin),
		cmocka_unit_test_setup(test_the_count_decays_by_one_per_healthy_base_time, begin),
		cmocka_unit_test_setup(test_the_window_is_exact_over_random_histories, begin),
		cmocka_unit_test_setup(test_an_outcome_that_comes_a_round_late_wipes_nothing_out,
				       begin),
		cmocka_unit_test_setup(test_the_ratio_trips_at_its_share_and_not_before, begin),
		cmocka_unit_test_setup(test_slow_connects_trip_by_their_share, begin),
		cmocka_unit_test_setup(test_consecutive_trips_at_its_count_and_0_is_off, begin),
		cmocka_unit_test_setup(test_the_callers_own_failures_eject_nobody, begin),
		cmocka_unit_test_setup(test_shadow_tells_once_and_ejects_nobody, begin),
		cmocka_unit_test_setup(test_shadow_spares_the_last_one_as_the_rule_does, begin),
		cmocka_unit_test_setup(
			test_a_share_of_ejections_is_enforced_however_long_failures_last, begin),
		cmocka_unit_test_setup(
			test_a_probe_that_succeeds_restores_and_one_that_fails_ejects, begin),
		cmocka_unit_test_setup(test_a_late_failure_of_an_old_connect_is_no_probe, begin),
		cmocka_unit_test_setup(test_a_report_of_an_old_connection_is_no_probe, begin),
		cmocka_unit_test_setup(test_a_datagram_service_gets_its_backend_back, begin),
	};

	return cmocka_run_group_tests(tests, NULL, end);
}
