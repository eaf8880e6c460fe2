/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * One decision core, two builds: the same random histories of picks, answers, failures, time,
 * policies and sets through the kernel's and through that of user space, whose maps must be the
 * same to the byte after each. A history that differs is named by its number, which is its seed:
 * SINEW_SEED=N runs that one alone.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <sinew/flow.h>
#include <sinew/policy.h>
#include <sinew/service.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>

#include "core/user.h"
#include "model/alias.h"

#include "core.skel.h" /* whose types are in those */

#define SECOND 1000000000ull
#define EACH 10u /* backends of a service; service s has those from 1 + (s - 1) * EACH on */
#define SETS 4u  /* of each service, 64 slots apart */

static struct core *s;
static uint64_t chance;

static struct area {
	const char *name;
	size_t bytes;
	uint8_t *kernel, *user;
} areas[] = {
	{"sn_health", DOOR_BACKENDS * sizeof(struct sn_health), NULL, NULL},
	{"sn_latency", DOOR_BACKENDS * sizeof(struct sn_latency), NULL, NULL},
	{"sn_windows", DOOR_BACKENDS * sizeof(struct sn_window), NULL, NULL},
	{"sn_svc_state", 16 * sizeof(struct sn_svc_state), NULL, NULL},
	{"sn_svc_stats", 16 * sizeof(struct sn_svc_stats), NULL, NULL},
	{"sn_flows", DOOR_FLOWS * sizeof(struct sn_flow), NULL, NULL},
	{"sn_services", 16 * sizeof(struct sn_service), NULL, NULL},
	{"sn_backends", DOOR_BACKENDS * sizeof(struct sn_backend), NULL, NULL},
	{"sn_policies", 16 * sizeof(struct sn_policy), NULL, NULL},
	{"sn_slots", 1024 * sizeof(struct sn_slot), NULL, NULL},
};
#define AREAS (sizeof(areas) / sizeof(areas[0]))

static uint8_t *area_of(const char *name)
{
	for (size_t i = 0; i < AREAS; i++)
		if (!strcmp(areas[i].name, name))
			return areas[i].user;
	fail_msg("no array %s", name);
	return NULL;
}

/* SplitMix64, once more: the histories' own chance. */
static uint32_t any(uint32_t below)
{
	uint64_t z = chance += 0x9e3779b97f4a7c15ull;

	z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9ull;
	z = (z ^ z >> 27) * 0x94d049bb133111ebull;
	return (uint32_t)(z ^ z >> 31) % below;
}

static void area_open(struct area *area)
{
	struct bpf_map *map = bpf_object__find_map_by_name(s->obj, area->name);

	assert_non_null(map);
	area->kernel =
		mmap(NULL, area->bytes, PROT_READ | PROT_WRITE, MAP_SHARED, bpf_map__fd(map), 0);
	assert_true(area->kernel != MAP_FAILED);
	area->user = user_array(area->name);
	assert_non_null(area->user);
}

static int open_both(void **state)
{
	s = core__open();
	assert_non_null(s);
	(void)bpf_map__set_max_entries(s->maps.sn_backends, DOOR_BACKENDS);
	(void)bpf_map__set_max_entries(s->maps.sn_health, DOOR_BACKENDS);
	(void)bpf_map__set_max_entries(s->maps.sn_latency, DOOR_BACKENDS);
	(void)bpf_map__set_max_entries(s->maps.sn_windows, DOOR_BACKENDS);
	(void)bpf_map__set_max_entries(s->maps.sn_services, 16);
	(void)bpf_map__set_max_entries(s->maps.sn_svc_state, 16);
	(void)bpf_map__set_max_entries(s->maps.sn_svc_stats, 16);
	(void)bpf_map__set_max_entries(s->maps.sn_policies, 16);
	(void)bpf_map__set_max_entries(s->maps.sn_slots, 1024);
	(void)bpf_map__set_max_entries(s->maps.sn_flows, DOOR_FLOWS);
	(void)bpf_map__set_max_entries(s->maps.sn_events, 4096);
	(void)bpf_map__set_map_flags(s->maps.sn_windows, BPF_F_MMAPABLE);
	(void)bpf_map__set_map_flags(s->maps.sn_flows, BPF_F_MMAPABLE);
	s->rodata->sn_flow_mask = DOOR_FLOWS - 1;
	if (core__load(s))
		fail_msg("the core does not load (this ring needs root)");
	user_begin();
	for (size_t i = 0; i < AREAS; i++)
		area_open(&areas[i]);
	return 0;
}

static int close_both(void **state)
{
	for (size_t i = 0; i < AREAS; i++)
		(void)munmap(areas[i].kernel, areas[i].bytes);
	core__destroy(s);
	user_end();
	return 0;
}

/* --- a random world ------------------------------------------------------------------------- */

static void policy_any(struct sn_policy *p)
{
	static const uint64_t buckets[] = {0, 10000000, 100000000, SECOND};

	*p = (struct sn_policy){
		.affinity_ns = any(60) * SECOND,
		.slow_start_ns = any(3) ? 0 : any(60) * SECOND,
		.bucket_ns = buckets[any(4)],
		.slow_ns = any(3) ? 0 : 1000000 + any(50000000),
		.base_ns = (1 + any(30)) * SECOND / 4,
		.negative_ns = any(2) * any(20) * SECOND,
		.budget_ns = any(2) * any(20) * SECOND,
		.flags = any(128) & ~(any(4) ? SN_POLICY_SHADOW : 0u),
		.consecutive = any(7),
		.min_volume = any(10),
		.limit_service = any(3) ? 0 : 1 + any(20),
		.limit_backend = any(3) ? 0 : 1 + any(5),
		.limit_pending = any(3) ? 0 : 1 + any(10),
		.budget_per_second = any(12),
		.algorithm = (uint8_t)any(4),
		.affinity = (uint8_t)any(3),
		.failure_percent = (uint8_t)any(101),
		.slow_percent = (uint8_t)any(101),
		.max_ejection_percent = (uint8_t)any(101),
		.enforcing_percent = (uint8_t)(any(2) ? 100 : any(100)),
		.panic_percent = (uint8_t)any(101),
		.budget_percent = (uint8_t)any(101),
		.probes = (uint8_t)any(4),
	};
	p->max_ns = p->base_ns * (1 + any(10));
}

static uint32_t set_at(uint32_t service, uint32_t set)
{
	return ((service - 1) * SETS + set + 1) * 64;
}

static uint32_t first_of(uint32_t service)
{
	return 1 + (service - 1) * EACH;
}

/* Some of the service's backends, dealt to levels. Returns which, as a mask. */
static uint32_t set_any(uint32_t service, uint32_t set)
{
	struct sn_slot *slots = (struct sn_slot *)area_of("sn_slots") + set_at(service, set);
	struct sn_backend *backends = (struct sn_backend *)area_of("sn_backends");
	struct sn_set header = {.service = service, .serial = set + 1, .weight = 1};
	uint32_t members = 0, n = 0, sum = 0, level = 0;
	struct alias_member member[EACH];
	uint64_t work[EACH];

	for (uint32_t i = 0; i < EACH; i++)
		if (any(4))
			members |= 1u << (first_of(service) + i);
	for (uint32_t i = 0; i < DOOR_BACKENDS && level < SN_LEVELS; i++) {
		if (members >> i & 1) {
			member[n].backend = i;
			member[n].weight = backends[i].weight;
			sum += member[n++].weight;
			header.total++;
		}
		if (n && (i == DOOR_BACKENDS - 1 || (level < 3 && !any(4)))) {
			struct sn_slot *at = slots + SN_SET_HEADER + header.total - n;

			header.uniform |=
				(uint8_t)(alias_build(member, n, service, at, work) << level);
			header.count[level++] = n;
			n = 0;
		}
	}
	header.weight = header.total && sum / header.total ? (uint16_t)(sum / header.total) : 1;
	memcpy(slots, &header, sizeof(header));
	return members;
}

static uint32_t masks[DOOR_SERVICES + 1][SETS];

static void world_any(void)
{
	struct sn_backend *backends = (struct sn_backend *)area_of("sn_backends");
	struct sn_service *services = (struct sn_service *)area_of("sn_services");
	struct sn_policy *policies = (struct sn_policy *)area_of("sn_policies");
	int equal = any(2);

	for (size_t i = 0; i < AREAS; i++)
		memset(areas[i].user, 0, areas[i].bytes);
	for (uint32_t i = 1; i < 16; i++)
		policy_any(&policies[i]);
	for (uint32_t sv = 1; sv <= DOOR_SERVICES; sv++) {
		for (uint32_t i = first_of(sv); i < first_of(sv) + EACH; i++)
			backends[i] =
				(struct sn_backend){.service = sv,
						    .weight = (uint16_t)(equal ? 1 : 1 + any(9)),
						    .incarnation = 1};
		for (uint32_t k = 0; k < SETS; k++)
			masks[sv][k] = set_any(sv, k);
		services[sv] = (struct sn_service){.policy = 1 + any(15), .set = set_at(sv, 0)};
		for (uint32_t i = first_of(sv); i < first_of(sv) + EACH; i++)
			backends[i].state = masks[sv][0] >> i & 1;
	}
	for (size_t i = 0; i < AREAS; i++)
		memcpy(areas[i].kernel, areas[i].user, areas[i].bytes);
}

/* --- a random history ----------------------------------------------------------------------- */

/* Mostly clients; a daemon that publishes, holds, renews and changes policies now and then. */
static struct door_step step_any(uint64_t now)
{
	static const int errors[] = {0, 0, 111, 111, 111, 104, 110, 113, 99, 5};
	static const uint8_t what[] = {DOOR_CONNECT, DOOR_CONNECT, DOOR_CONNECT, DOOR_SYN,
				       DOOR_SYN,     DOOR_SYN,     DOOR_ANSWER,  DOOR_ANSWER,
				       DOOR_END,     DOOR_END};
	struct door_step step = {.now = now,
				 .cookie = 1 + any(24),
				 .what = what[any(10)],
				 .service = 1 + any(DOOR_SERVICES),
				 .draw = any(~0u),
				 .workload = 1 + any(DOOR_WORKLOADS),
				 .error = errors[any(10)]};
	uint32_t set = any(SETS);

	if (!any(25))
		step.what = DOOR_PUBLISH + any(4);
	if (step.what == DOOR_CONNECT)
		step.argument = any(12) ? 0 : 1 + any(2);
	else if (step.what == DOOR_END)
		step.argument = any(6) ? 0 : DOOR_RESET;
	else if (step.what == DOOR_PUBLISH)
		step.argument = set_at(step.service, set);
	else if (step.what == DOOR_POLICY)
		step.argument = 1 + any(15);
	else if (step.what == DOOR_HOLD)
		step.argument = any(2);
	step.mask = masks[step.service][set];
	step.backend = first_of(step.service) + any(EACH);
	return step;
}

/* A connect that fails at once, as those to a dead backend do. */
static uint32_t failure_any(struct door_step *steps, uint64_t now)
{
	steps[0] = steps[1] = steps[2] = step_any(now);
	steps[0].what = DOOR_CONNECT;
	steps[0].argument = 0;
	steps[1].what = DOOR_SYN;
	steps[2].what = DOOR_END;
	steps[2].argument = 0;
	steps[2].error = 111;
	steps[2].now += any(1000000);
	return 3;
}

static uint32_t history_any(struct door_step *steps)
{
	uint64_t now = 1000 * SECOND + any(1000) * 12345678ull;
	uint32_t n = 40 + any(DOOR_STEPS - 43), dead = any(4);

	for (uint32_t i = 0; i < n;) {
		if (any(4) < dead)
			i += failure_any(&steps[i], now);
		else
			steps[i++] = step_any(now);
		now += any(8) ? any(3000000) : any(10) ? any(400000000) : any(~0u) * 3ull;
		/* A CPU whose tick is a little older than another's. */
		if (!any(20))
			now -= 4000000;
	}
	return n;
}

static void expect_same(uint32_t seed, const char *what, const void *kernel, const void *user,
			size_t bytes)
{
	const uint8_t *a = kernel, *b = user;

	if (!memcmp(a, b, bytes))
		return;
	for (size_t i = 0; i < bytes; i++)
		if (a[i] != b[i])
			fail_msg(
				"history %u: %s differs at byte %zu: %u in the kernel, %u in user space "
				"(SINEW_SEED=%u runs it alone)",
				seed, what, i, a[i], b[i], seed);
}

static struct counted {
	uint64_t steps, connected, ejected, panic, probes, limited, over_budget;
} counted;

static void count(const struct door_step *steps, uint32_t n)
{
	counted.steps += n;
	for (uint32_t i = 0; i < n; i++) {
		if (steps[i].what != DOOR_CONNECT)
			continue;
		counted.connected += steps[i].reason == SN_R_CONNECTED;
		counted.limited += steps[i].reason == SN_R_LIMITED;
		counted.over_budget += steps[i].reason == SN_R_RETRY_BUDGET;
		counted.panic += steps[i].panic;
		counted.probes += steps[i].grade == 7;
	}
	for (uint32_t i = 0; i < DOOR_BACKENDS; i++)
		counted.ejected += ((struct sn_health *)area_of("sn_health"))[i].ejected_total;
}

static void run_both(uint32_t seed)
{
	LIBBPF_OPTS(bpf_test_run_opts, opts);
	static struct door_step steps[DOOR_STEPS];
	static struct sn_affinity affinity[16];
	static struct sn_memory memory[16];
	uint32_t n;

	chance = (uint64_t)seed * 7919;
	world_any();
	n = history_any(steps);
	memcpy(s->bss->door_steps, steps, n * sizeof(*steps));
	s->bss->door_n = n;
	assert_int_equal(bpf_prog_test_run_opts(bpf_program__fd(s->progs.t_history), &opts), 0);
	user_history(steps, n, memory, affinity);
	for (uint32_t i = 0; i < n; i++)
		expect_same(seed, "a step's answer", &s->bss->door_steps[i], &steps[i],
			    sizeof(*steps));
	for (size_t i = 0; i < AREAS; i++)
		expect_same(seed, areas[i].name, areas[i].kernel, areas[i].user, areas[i].bytes);
	expect_same(seed, "sn_memory", s->bss->door_memory, memory, sizeof(memory));
	expect_same(seed, "sn_affinity", s->bss->door_affinity, affinity, sizeof(affinity));
	count(steps, n);
}

static void test_the_kernel_and_user_space_decide_the_same(void **state)
{
	const char *alone = getenv("SINEW_SEED");
	const uint32_t n = 100000;

	if (alone) {
		run_both((uint32_t)strtoul(alone, NULL, 10));
		return;
	}
	for (uint32_t seed = 1; seed <= n; seed++)
		run_both(seed);
	print_message("# %u histories, %lu steps: %lu connects, %lu probes, %lu in panic, "
		      "%lu limited, %lu over budget, %lu ejections\n",
		      n, counted.steps, counted.connected, counted.probes, counted.panic,
		      counted.limited, counted.over_budget, counted.ejected);
	/* All of it came to pass, so that it has been compared. */
	assert_true(counted.connected > n && counted.ejected > n / 10 && counted.probes > n / 100);
	assert_true(counted.panic > n / 10 && counted.limited > n && counted.over_budget > n / 100);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_the_kernel_and_user_space_decide_the_same),
	};

	return cmocka_run_group_tests(tests, open_both, close_both);
}
