/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Who is not translated: sockets with the mark, kernel threads, and workloads set to bypass, at any
 * depth below them; and that a setting which is off asks for nothing.
 * Pitfalls: P-21, P-35, P-40.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include <bpf/bpf.h>

#include "bpf/world.h"

#define MARK 0x2a

static int admit(struct stages *s, uint32_t mark, uint32_t is_kernel)
{
	struct stage_call call = {.mark = mark, .is_kernel = is_kernel};

	world_run(s->progs.t_admit, &call);
	return (int)call.r;
}

static void test_nothing_is_asked_by_default(void **state)
{
	struct stages *s = world_open(NULL);

	assert_int_equal(admit(s, 0, 0), SN_R_CONNECTED);
	assert_int_equal(admit(s, MARK, 0), SN_R_CONNECTED);
	stages__destroy(s);
}

static void test_p35_the_mark_bypasses(void **state)
{
	struct stages *s = world_open(&(struct world_knobs){.mark = MARK});

	assert_int_equal(admit(s, MARK, 0), SN_R_BYPASS_MARK);
	assert_int_equal(admit(s, 0, 0), SN_R_CONNECTED);
	assert_int_equal(admit(s, MARK | 0x100, 0), SN_R_CONNECTED);
	stages__destroy(s);
}

static void test_p21_kernel_threads_pass_untouched_unless_wanted(void **state)
{
	struct stages *s = world_open(NULL);

	assert_int_equal(admit(s, 0, 1), SN_R_BYPASS_KERNEL);
	assert_int_equal(admit(s, 0, 0x00200000), SN_R_BYPASS_KERNEL);
	stages__destroy(s);
	s = world_open(&(struct world_knobs){.kernel_too = 1});
	assert_int_equal(admit(s, 0, 1), SN_R_CONNECTED);
	stages__destroy(s);
}

static void set_workload(struct stages *s, uint64_t cgroup, uint32_t flags)
{
	struct sn_workload workload = {.flags = flags};

	assert_int_equal(
		bpf_map_update_elem(bpf_map__fd(s->maps.sn_workloads), &cgroup, &workload, 0), 0);
}

/* The cgroup that this test runs in, and how deep it lies. */
static uint64_t own_cgroup(uint32_t *ret_depth)
{
	struct stages *s = world_open(NULL);
	struct stage_call call = {};
	uint32_t depth = 0;

	world_run(s->progs.t_ancestors, &call);
	stages__destroy(s);
	assert_int_not_equal(call.ancestor[0], 0);
	while (depth + 1 < STAGES_LEVELS && call.ancestor[depth + 1])
		depth++;
	*ret_depth = depth;
	return call.ancestor[depth];
}

static void test_p40_a_workload_bypasses_by_its_cgroup(void **state)
{
	uint32_t depth;
	uint64_t cgroup = own_cgroup(&depth);
	struct stages *s = world_open(&(struct world_knobs){.levels = 1u << depth});

	assert_int_equal(admit(s, 0, 0), SN_R_CONNECTED);
	set_workload(s, cgroup + 1, SN_WORKLOAD_BYPASS);
	assert_int_equal(admit(s, 0, 0), SN_R_CONNECTED);
	set_workload(s, cgroup, 0);
	assert_int_equal(admit(s, 0, 0), SN_R_CONNECTED);
	set_workload(s, cgroup, SN_WORKLOAD_BYPASS);
	assert_int_equal(admit(s, 0, 0), SN_R_BYPASS_WORKLOAD);
	stages__destroy(s);
}

/* Every ancestor counts, and only at the depths that the setting names. */
static void test_p40_a_workload_bypasses_what_is_below_it(void **state)
{
	struct stage_call call = {};
	struct stages *s = world_open(&(struct world_knobs){.levels = 1});

	world_run(s->progs.t_ancestors, &call);
	set_workload(s, call.ancestor[0], SN_WORKLOAD_BYPASS);
	assert_int_equal(admit(s, 0, 0), SN_R_BYPASS_WORKLOAD);
	stages__destroy(s);
	s = world_open(&(struct world_knobs){.levels = 0xfffe});
	set_workload(s, call.ancestor[0], SN_WORKLOAD_BYPASS);
	assert_int_equal(admit(s, 0, 0), SN_R_CONNECTED);
	stages__destroy(s);
	s = world_open(&(struct world_knobs){.levels = 0xffff});
	set_workload(s, call.ancestor[0], SN_WORKLOAD_BYPASS);
	assert_int_equal(admit(s, 0, 0), SN_R_BYPASS_WORKLOAD);
	stages__destroy(s);
}

static void test_the_mark_is_named_before_the_rest(void **state)
{
	struct stages *s = world_open(&(struct world_knobs){.mark = MARK, .levels = 1});

	assert_int_equal(admit(s, MARK, 1), SN_R_BYPASS_MARK);
	assert_int_equal(admit(s, 0, 1), SN_R_BYPASS_KERNEL);
	stages__destroy(s);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_nothing_is_asked_by_default),
		cmocka_unit_test(test_p35_the_mark_bypasses),
		cmocka_unit_test(test_p21_kernel_threads_pass_untouched_unless_wanted),
		cmocka_unit_test(test_p40_a_workload_bypasses_by_its_cgroup),
		cmocka_unit_test(test_p40_a_workload_bypasses_what_is_below_it),
		cmocka_unit_test(test_the_mark_is_named_before_the_rest),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
