/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What a caller's failures cost it: the retry budget against a reference in real numbers, and the
 * limits of connections, that are taken and given back.
 * Pitfalls: P-65.
 */
#include "core/world.h"

static int begin(void **state)
{
	world_begin(3);
	world_policy()->negative_ns = 0;
	world_policy()->consecutive = 0;
	world_policy()->failure_percent = 0;
	return 0;
}

static struct sn_memory *memory(void)
{
	struct sn_memory_key key = {.workload = 77, .service = WORLD_SERVICE};

	return bpf_map_lookup_elem(&sn_memory, &key);
}

static int try(void)
{
	struct sn_pick pick;

	return world_pick(&pick);
}

static unsigned over_budget(void)
{
	return sn_svc_stats_at(WORLD_SERVICE)->count[SN_R_RETRY_BUDGET - SN_R_BACKEND_MAX];
}

/* Tokens as a person would reckon them: full at first, `per_second` a second, `percent` of each
 * first attempt, at most what `per_second` gives in ttl. */
struct reference {
	double tokens, most, per_second, ratio;
	uint64_t then;
};

static int allowed(struct reference *b, int is_again)
{
	b->tokens += (double)(core.now - b->then) / 1e9 * b->per_second;
	b->then = core.now;
	b->tokens = b->tokens < b->most ? b->tokens : b->most;
	if (is_again && b->tokens < 1)
		return 0;
	b->tokens += is_again ? -1 : b->ratio;
	b->tokens = b->tokens < b->most ? b->tokens : b->most;
	return 1;
}

/* Re-attempts that pass over a long time are as many as the reference lets pass: to within what an
 * eighth of a second fills, and the rounding of the ratio to 1/256. */
static void expect_budget(uint32_t per_second, uint8_t percent, uint64_t seed)
{
	struct reference b = {.per_second = per_second,
			      .ratio = (double)(percent * 256 / 100) / 256};
	unsigned ours = 0, theirs = 0, again = 0;
	double most = per_second * 10.0;

	world_begin(seed);
	begin(NULL);
	world_policy()->budget_per_second = per_second;
	world_policy()->budget_percent = percent;
	world_policy()->flags = SN_POLICY_BUDGET_ENFORCE;
	world_simple(3, NULL);
	b.most = b.tokens = most > 1 ? most : 1;
	b.then = core.now;
	for (unsigned i = 0; i < 4000; i++) {
		int is_again = core_random() % 3 != 0;

		if (is_again)
			world_fail(WORLD_FIRST, SN_R_REFUSED);
		else if (!memory())
			continue;
		memory()->owed = (uint32_t)is_again;
		again += (unsigned)is_again;
		ours += try() == SN_R_CONNECTED && is_again;
		theirs += allowed(&b, is_again) && is_again;
		core.now += core_random() % 20000000;
	}
	if (ours > theirs + 2 + per_second / 8 || ours + 2 + per_second / 8 < theirs)
		fail_msg("%u/s, %u %%: %u of %u re-attempts passed, expected %u", per_second,
			 percent, ours, again, theirs);
}

static void test_the_retry_budget_is_what_a_person_would_reckon(void **state)
{
	static const uint32_t rates[] = {0, 1, 2, 3, 10, 40};
	static const uint8_t percents[] = {0, 20, 50, 100};

	for (uint64_t seed = 1; seed <= 5; seed++)
		for (unsigned r = 0; r < 6; r++)
			for (unsigned p = 0; p < 4; p++)
				expect_budget(rates[r], percents[p], seed);
}

/* However often it asks: a bucket that is looked at each millisecond fills as one that is not. */
static void test_asking_often_does_not_slow_the_filling(void **state)
{
	unsigned passed = 0;

	world_policy()->budget_per_second = 1;
	world_policy()->budget_percent = 0;
	world_policy()->flags = SN_POLICY_BUDGET_ENFORCE;
	world_simple(3, NULL);
	for (unsigned ms = 0; ms < 30000; ms++) {
		if (!memory() || sn_memory_ns(world_policy()) < core.now - memory()->failed_ns ||
		    !memory()->owed)
			world_fail(WORLD_FIRST, SN_R_REFUSED);
		memory()->failed_ns = core.now;
		sn_svc_state_at(WORLD_SERVICE)->failed_ns = core.now;
		passed += try() == SN_R_CONNECTED;
		core.now += 1000000;
	}
	assert_in_range(passed, 39, 41); /* 10 at first, 30 in 30 s */
}

static void test_enforced_each_refusal_leaves_the_next_one_a_re_attempt(void **state)
{
	world_policy()->budget_per_second = 0;
	world_policy()->budget_percent = 0;
	world_policy()->flags = SN_POLICY_BUDGET_ENFORCE;
	world_simple(3, NULL);
	world_fail(WORLD_FIRST, SN_R_REFUSED);
	world_fail(WORLD_FIRST, SN_R_REFUSED);
	assert_int_equal(try(), SN_R_CONNECTED); /* the one token that there is at least */
	for (unsigned i = 0; i < 20; i++)
		assert_int_equal(try(), SN_R_RETRY_BUDGET);
	core.now += 11 * SECOND;
	assert_int_equal(try(), SN_R_CONNECTED);
}

static void test_observed_only_it_is_counted(void **state)
{
	world_policy()->budget_per_second = 0;
	world_simple(3, NULL);
	for (unsigned i = 0; i < 10; i++)
		world_fail(WORLD_FIRST, SN_R_REFUSED);
	for (unsigned i = 0; i < 10; i++)
		assert_int_equal(try(), SN_R_CONNECTED);
	assert_int_equal(over_budget(), 9);
}

static void test_an_older_tick_fills_nothing(void **state)
{
	uint64_t budget;

	world_simple(3, NULL);
	world_fail(WORLD_FIRST, SN_R_REFUSED);
	memory()->owed = 1;
	memory()->budget = core.now / 1000000 << 32 | 256;
	core.now -= 4000000;
	assert_int_equal(try(), SN_R_CONNECTED);
	budget = memory()->budget;
	assert_int_equal((uint32_t)budget, 0);
}

static void test_re_attempts_that_never_came_are_forgotten(void **state)
{
	world_simple(3, NULL);
	for (unsigned i = 0; i < 50; i++)
		world_fail(WORLD_FIRST, SN_R_REFUSED);
	assert_int_equal(memory()->owed, 50);
	core.now += 11 * SECOND;
	world_fail(WORLD_FIRST, SN_R_REFUSED);
	assert_int_equal(memory()->owed, 1);
}

static void test_nothing_is_remembered_of_who_never_failed(void **state)
{
	world_simple(3, NULL);
	for (unsigned i = 0; i < 100; i++)
		assert_int_equal(try(), SN_R_CONNECTED);
	world_succeed(WORLD_FIRST, 1000);
	assert_null(memory());
}

/* Full: the least recently used one goes, nothing else. */
static void test_memory_is_bounded(void **state)
{
	struct sn_flow flow = {.backend = WORLD_FIRST, .incarnation = 1};

	core_resize(core_of(&sn_memory), 100);
	world_simple(3, NULL);
	for (uint32_t i = 1; i <= 1000; i++) {
		flow.workload = i;
		sn_outcome_failed(&flow, sn_health_at(WORLD_FIRST), SN_R_REFUSED, core.now);
		assert_in_range(core_count(core_of(&sn_memory)), 1, 100);
	}
	assert_int_equal(sn_health_at(WORLD_FIRST)->outcome[SN_R_REFUSED], 1000);
	core_resize(core_of(&sn_memory), 16384);
}

/* --- limits --------------------------------------------------------------------------------- */

static void test_p65_limits_are_exact_and_given_back(void **state)
{
	struct sn_svc_state *state_of = sn_svc_state_at(WORLD_SERVICE);
	struct sn_pick pick;

	world_policy()->limit_service = 7;
	world_policy()->limit_pending = 5;
	world_simple(3, NULL);
	for (unsigned i = 0; i < 5; i++)
		assert_int_equal(world_pick(&pick), SN_R_CONNECTED);
	assert_int_equal(world_pick(&pick), SN_R_LIMITED);
	assert_int_equal(state_of->active, 5); /* what was taken before the other limit */
	sn_service_give(WORLD_SERVICE, SN_FLOW_PENDING);
	sn_service_give(WORLD_SERVICE, SN_FLOW_PENDING);
	assert_int_equal(world_pick(&pick), SN_R_CONNECTED);
	assert_int_equal(world_pick(&pick), SN_R_CONNECTED);
	sn_service_give(WORLD_SERVICE, SN_FLOW_PENDING);
	assert_int_equal(world_pick(&pick), SN_R_LIMITED);
	assert_int_equal(state_of->active, 7);
	assert_int_equal(state_of->pending, 4);
	for (unsigned i = 0; i < 20; i++)
		sn_service_give(WORLD_SERVICE, SN_FLOW_PENDING | SN_FLOW_COUNTED);
	assert_int_equal(state_of->active, 0);
	assert_int_equal(state_of->pending, 0);
}

/* The application closes on one CPU while the answer to its SYN comes in on another. */
static void test_p65_an_end_and_an_answer_at_once_give_back_one_place(void **state)
{
	struct sn_svc_state *state_of = sn_svc_state_at(WORLD_SERVICE);
	struct sn_flow *flow = sn_flow_slot(1);
	uint32_t word;

	world_simple(1, NULL);
	flow->backend = WORLD_FIRST;
	state_of->pending = 2;
	sn_flow_show(flow, sn_backend_at(WORLD_FIRST)->incarnation, SN_FLOW_ESTABLISHED,
		     SN_FLOW_PENDING);
	word = sn_flow_take(flow);
	sn_flow_arrive(flow);
	sn_flow_book_end(flow, 1, word, 0, 0);
	assert_int_equal(state_of->pending, 1);
}

static void test_p65_a_full_backend_is_passed_over(void **state)
{
	struct sn_pick pick;

	world_policy()->limit_backend = 4;
	world_simple(3, NULL);
	for (unsigned i = 0; i < 12; i++)
		assert_int_equal(world_pick(&pick), SN_R_CONNECTED);
	for (unsigned i = 0; i < 3; i++)
		assert_int_equal(sn_health_at(WORLD_FIRST + i)->active, 4);
	assert_int_equal(world_pick(&pick), SN_R_LIMITED);
	assert_int_equal(sn_svc_state_at(WORLD_SERVICE)->active, 0);
}

static int end(void **state)
{
	core_end();
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(test_the_retry_budget_is_what_a_person_would_reckon, begin),
		cmocka_unit_test_setup(test_asking_often_does_not_slow_the_filling, begin),
		cmocka_unit_test_setup(test_enforced_each_refusal_leaves_the_next_one_a_re_attempt,
				       begin),
		cmocka_unit_test_setup(test_observed_only_it_is_counted, begin),
		cmocka_unit_test_setup(test_an_older_tick_fills_nothing, begin),
		cmocka_unit_test_setup(test_re_attempts_that_never_came_are_forgotten, begin),
		cmocka_unit_test_setup(test_nothing_is_remembered_of_who_never_failed, begin),
		cmocka_unit_test_setup(test_memory_is_bounded, begin),
		cmocka_unit_test_setup(test_p65_limits_are_exact_and_given_back, begin),
		cmocka_unit_test_setup(test_p65_an_end_and_an_answer_at_once_give_back_one_place,
				       begin),
		cmocka_unit_test_setup(test_p65_a_full_backend_is_passed_over, begin),
	};

	return cmocka_run_group_tests(tests, NULL, end);
}
