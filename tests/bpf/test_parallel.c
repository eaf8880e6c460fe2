/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What must be exact however many CPUs are at it: admissions of a half-open backend, limits, tokens
 * of a retry budget, ejections, counts of a window. 64 threads, each with the same moment before
 * it.
 * Pitfalls: P-63, P-65, P-67.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <pthread.h>
#include <sinew/flow.h>
#include <sinew/health.h>
#include <sinew/policy.h>
#include <sinew/service.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "core/step.h"

#include "core.skel.h" /* whose types are in those */

#define THREADS 64u
#define SECOND 1000000000ull
#define NOW (1000 * SECOND)
#define SERVICE 3u
#define SET 100u
#define FIRST 8u
#define PROBE 7u /* enum sn_grade */

static struct core *s;
static struct sn_policy *policy;
static struct sn_health *healths;
static struct sn_svc_state *states;

static void *map_view(struct bpf_map *map, size_t bytes)
{
	void *view = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, bpf_map__fd(map), 0);

	assert_true(view != MAP_FAILED);
	return view;
}

static int open_core(void **state)
{
	s = core__open();
	assert_non_null(s);
	(void)bpf_map__set_max_entries(s->maps.sn_health, 128);
	(void)bpf_map__set_max_entries(s->maps.sn_svc_state, 16);
	(void)bpf_map__set_max_entries(s->maps.sn_policies, 16);
	if (core__load(s))
		fail_msg("the core does not load (this ring needs root)");
	healths = map_view(s->maps.sn_health, 128 * sizeof(*healths));
	states = map_view(s->maps.sn_svc_state, 16 * sizeof(*states));
	policy = (struct sn_policy *)map_view(s->maps.sn_policies, 16 * sizeof(*policy)) + 1;
	return 0;
}

static int close_core(void **state)
{
	core__destroy(s);
	return 0;
}

static void put(struct bpf_map *map, uint32_t index, const void *value)
{
	assert_int_equal(bpf_map_update_elem(bpf_map__fd(map), &index, value, BPF_ANY), 0);
}

/* One service of n equal backends, nothing known of them. */
static void begin(uint32_t n)
{
	struct sn_service service = {.set = SET, .policy = 1};
	struct sn_set set = {
		.service = SERVICE, .total = n, .uniform = 1, .weight = 1, .count = {n}};
	static const struct sn_window empty;

	memset(healths, 0, 128 * sizeof(*healths));
	memset(&states[SERVICE], 0, sizeof(*states));
	*policy = (struct sn_policy){.base_ns = 30 * SECOND,
				     .max_ns = 300 * SECOND,
				     .max_ejection_percent = 100,
				     .enforcing_percent = 100,
				     .probes = 1};
	put(s->maps.sn_services, SERVICE, &service);
	for (uint32_t i = 0; i < n; i++) {
		struct sn_slot slot = {FIRST + i, FIRST + i, ~0u, SERVICE};
		struct sn_backend b = {.weight = 1,
				       .service = SERVICE,
				       .state = SN_BACKEND_ACTIVE,
				       .incarnation = 1};

		put(s->maps.sn_slots, SET + SN_SET_HEADER + i, &slot);
		put(s->maps.sn_backends, FIRST + i, &b);
		put(s->maps.sn_windows, FIRST + i, &empty);
	}
	put(s->maps.sn_slots, SET, &set);
	put(s->maps.sn_slots, SET + 1, set.count);
}

static void run(const struct bpf_program *program, struct door_step *step)
{
	LIBBPF_OPTS(bpf_test_run_opts, opts, .ctx_in = step, .ctx_size_in = sizeof(*step));

	if (bpf_prog_test_run_opts(bpf_program__fd(program), &opts))
		abort();
}

/* --- 64 threads at a start line ------------------------------------------------------------- */

struct runner {
	pthread_t thread;
	uint32_t id;
	struct door_step step; /* of this round */
};

static struct runner runners[THREADS];
static pthread_barrier_t line;
static const struct bpf_program *program;
static unsigned repeat;
static int over;

static void *runner_run(void *data)
{
	struct runner *r = data;

	for (;;) {
		(void)pthread_barrier_wait(&line);
		if (over)
			return NULL;
		for (unsigned i = 0; i < repeat; i++)
			run(program, &r->step);
		(void)pthread_barrier_wait(&line);
	}
}

static void runners_start(const struct bpf_program *of, unsigned times)
{
	program = of;
	repeat = times;
	over = 0;
	assert_int_equal(pthread_barrier_init(&line, NULL, THREADS + 1), 0);
	for (uint32_t i = 0; i < THREADS; i++) {
		runners[i] = (struct runner){.id = i};
		assert_int_equal(pthread_create(&runners[i].thread, NULL, runner_run, &runners[i]),
				 0);
	}
}

static void runners_round(void)
{
	(void)pthread_barrier_wait(&line);
	(void)pthread_barrier_wait(&line);
}

static void runners_end(void)
{
	over = 1;
	(void)pthread_barrier_wait(&line);
	for (uint32_t i = 0; i < THREADS; i++)
		(void)pthread_join(runners[i].thread, NULL);
	(void)pthread_barrier_destroy(&line);
}

/* Each chooses once. Returns how many got one, or with `grade` how many by that. */
static unsigned choose_round(uint32_t seed, uint32_t grade)
{
	unsigned n = 0;

	for (uint32_t i = 0; i < THREADS; i++)
		runners[i].step = (struct door_step){.now = NOW,
						     .service = SERVICE,
						     .argument = 1,
						     .workload = 5,
						     .draw = (seed * THREADS + i) * 2654435761u};
	s->bss->door_arrived = 0;
	runners_round();
	for (uint32_t i = 0; i < THREADS; i++)
		n += runners[i].step.reason == SN_R_CONNECTED &&
		     (!grade || runners[i].step.grade == grade);
	return n;
}

static void give_back(void)
{
	for (uint32_t i = 0; i < THREADS; i++)
		if (runners[i].step.reason == SN_R_CONNECTED)
			run(s->progs.t_give, &runners[i].step);
}

static void test_p67_half_open_admits_exactly_one_probe_in_a_thousand_rounds(void **state)
{
	begin(2);
	runners_start(s->progs.t_choose, 1);
	for (uint32_t round = 0; round < 1000; round++) {
		healths[FIRST].ejected_until_ns = NOW - 1 - round;
		healths[FIRST].probe = 0;
		states[SERVICE].ejected = 1;
		assert_int_equal(choose_round(round, PROBE), 1);
	}
	runners_end();
}

static void expect_limit(uint32_t rounds, unsigned expected)
{
	runners_start(s->progs.t_choose, 1);
	for (uint32_t round = 0; round < rounds; round++) {
		assert_int_equal(choose_round(round, 0), expected);
		if (policy->limit_service)
			assert_int_equal(states[SERVICE].active, expected);
		if (policy->limit_pending)
			assert_int_equal(states[SERVICE].pending, expected);
		give_back();
		assert_int_equal(states[SERVICE].active, 0);
		assert_int_equal(states[SERVICE].pending, 0);
		for (uint32_t i = 0; i < 3; i++)
			healths[FIRST + i].active = 0;
	}
	runners_end();
}

static void test_p65_the_services_limit_is_exact(void **state)
{
	begin(3);
	policy->limit_service = 17;
	expect_limit(300, 17);
}

static void test_p65_the_limit_of_pending_connects_is_exact(void **state)
{
	begin(3);
	policy->limit_pending = 9;
	policy->limit_service = 40;
	expect_limit(300, 9);
}

static void test_p65_a_backends_limit_is_exact(void **state)
{
	begin(3);
	policy->limit_backend = 6;
	runners_start(s->progs.t_choose, 1);
	for (uint32_t round = 0; round < 300; round++) {
		assert_int_equal(choose_round(round, 0), 18);
		for (uint32_t i = 0; i < 3; i++)
			assert_int_equal(healths[FIRST + i].active, 6);
		give_back();
		for (uint32_t i = 0; i < 3; i++)
			assert_int_equal(healths[FIRST + i].active, 0);
	}
	runners_end();
}

static void test_p65_a_bucket_gives_exactly_its_tokens(void **state)
{
	struct sn_memory_key key = {.workload = 5, .service = SERVICE};
	struct sn_memory memory = {
		.failed_ns = NOW, .budget = NOW / 1000000 << 32 | 13 * 256, .owed = THREADS};

	begin(3);
	policy->budget_ns = 10 * SECOND;
	policy->budget_per_second = 10;
	policy->flags = SN_POLICY_BUDGET_ENFORCE;
	states[SERVICE].failed_ns = NOW;
	runners_start(s->progs.t_choose, 1);
	for (uint32_t round = 0; round < 300; round++) {
		assert_int_equal(
			bpf_map_update_elem(bpf_map__fd(s->maps.sn_memory), &key, &memory, 0), 0);
		assert_int_equal(choose_round(round, 0), 13);
	}
	runners_end();
}

/* --- outcomes ------------------------------------------------------------------------------- */

static unsigned ejected_of(uint32_t n)
{
	unsigned sum = 0;

	for (uint32_t i = 0; i < n; i++)
		sum += healths[FIRST + i].ejected_until_ns != 0;
	return sum;
}

/* All of twenty fail at once, each three times or more: as many go as the rule allows. */
static void test_p63_ejections_are_never_more_than_the_rule_allows(void **state)
{
	unsigned most = 0;

	runners_start(s->progs.t_outcome, 1);
	for (uint32_t round = 0; round < 300; round++) {
		begin(20);
		policy->consecutive = 1;
		policy->max_ejection_percent = 30;
		for (uint32_t i = 0; i < THREADS; i++)
			runners[i].step = (struct door_step){.now = NOW,
							     .workload = 5,
							     .error = SN_R_REFUSED,
							     .backend = FIRST + (i + round) % 20};
		runners_round();
		assert_in_range(ejected_of(20), 1, 6);
		assert_int_equal(states[SERVICE].ejected, ejected_of(20));
		most = ejected_of(20) > most ? ejected_of(20) : most;
	}
	runners_end();
	assert_int_equal(most, 6);
}

static void test_windows_and_outcomes_count_each_once(void **state)
{
	uint32_t first = FIRST, total = 0, marked = 0;
	struct sn_window window;

	begin(2);
	policy->bucket_ns = SECOND;
	policy->failure_percent = 100;
	policy->min_volume = ~0u;
	runners_start(s->progs.t_outcome, 200);
	for (uint32_t i = 0; i < THREADS; i++)
		runners[i].step = (struct door_step){.now = NOW + i % 4 * SECOND,
						     .workload = 5,
						     .argument = 1000,
						     .error = i % 2 ? SN_R_REFUSED : 0,
						     .backend = FIRST};
	runners_round();
	runners_end();
	assert_int_equal(bpf_map_lookup_elem(bpf_map__fd(s->maps.sn_windows), &first, &window), 0);
	for (int i = 0; i < SN_WINDOW_BUCKETS; i++) {
		total += (uint32_t)(window.failed[i] >> 20) & 0xfffff;
		marked += (uint32_t)window.failed[i] & 0xfffff;
	}
	assert_int_equal(total, 200 * THREADS);
	assert_int_equal(marked, 200 * THREADS / 2);
	assert_int_equal(healths[FIRST].outcome[SN_R_REFUSED], 200 * THREADS / 2);
	assert_int_equal(healths[FIRST].outcome[SN_R_CONNECTED], 200 * THREADS / 2);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_p67_half_open_admits_exactly_one_probe_in_a_thousand_rounds),
		cmocka_unit_test(test_p65_the_services_limit_is_exact),
		cmocka_unit_test(test_p65_the_limit_of_pending_connects_is_exact),
		cmocka_unit_test(test_p65_a_backends_limit_is_exact),
		cmocka_unit_test(test_p65_a_bucket_gives_exactly_its_tokens),
		cmocka_unit_test(test_p63_ejections_are_never_more_than_the_rule_allows),
		cmocka_unit_test(test_windows_and_outcomes_count_each_once),
	};

	return cmocka_run_group_tests(tests, open_core, close_core);
}
