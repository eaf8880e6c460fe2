/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The whole object as the daemon loads it: under every combination of settings, and with the calls
 * in place that a caller's errno depends on.
 * Pitfalls: P-20, P-73.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "harness/skip.h"
#include "sinew.skel.h"

struct knobs {
	uint32_t mark, levels, kernel_too, pool4, pool4_mask, failover, timeouts;
	uint64_t pool6, pool6_mask, sample;
};

static const struct knobs plain = {.pool4 = 0x7f800000,
				   .pool4_mask = 0xff800000,
				   .pool6 = 0xfd73696e65770000ull,
				   .pool6_mask = ~0ull,
				   .sample = 255};

/* Small maps: what is asked is whether the verifier agrees. */
static struct sinew_bpf *open_small(const struct knobs *knobs)
{
	struct sinew_bpf *skel = sinew_bpf__open();
	struct bpf_map *map;

	assert_non_null(skel);
	bpf_object__for_each_map(map, skel->obj)
	{
		if (bpf_map__max_entries(map) > 1024 && bpf_map__type(map) != BPF_MAP_TYPE_RINGBUF)
			(void)bpf_map__set_max_entries(map, 1024);
	}
	skel->rodata->sn_flow_mask = 1023;
	skel->rodata->sn_bypass_mark = knobs->mark;
	skel->rodata->sn_levels = knobs->levels;
	skel->rodata->sn_kernel_too = knobs->kernel_too;
	skel->rodata->sn_pool4 = knobs->pool4;
	skel->rodata->sn_pool4_mask = knobs->pool4_mask;
	skel->rodata->sn_pool6 = knobs->pool6;
	skel->rodata->sn_pool6_mask = knobs->pool6_mask;
	skel->rodata->sn_sample = knobs->sample;
	skel->rodata->sn_failover = knobs->failover;
	skel->rodata->sn_timeouts = knobs->timeouts;
	return skel;
}

static void expect_load(const struct knobs *k)
{
	struct sinew_bpf *skel = open_small(k);
	int r = sinew_bpf__load(skel);

	if (r < 0)
		fail_msg("mark %u levels %#x kernel %u pools %#x/%#x sample %#" PRIx64
			 " failover %u timeouts %u: %d",
			 k->mark, k->levels, k->kernel_too, k->pool4, k->pool4_mask, k->sample,
			 k->failover, k->timeouts, r);
	sinew_bpf__destroy(skel);
}

static void test_p73_every_combination_of_settings_loads(void **state)
{
	static const uint32_t marks[] = {0, 1, ~0u}, levels[] = {0, 1, 0x8000, 0xffff};
	struct knobs k = plain;

	for (int i = 0; i < 3 * 4 * 2; i++) {
		k.mark = marks[i % 3];
		k.levels = levels[i / 3 % 4];
		k.kernel_too = i / 12;
		k.failover = i % 2;
		k.timeouts = i / 2 % 2;
		expect_load(&k);
	}
}

static void test_p73_any_pools_and_samples_load(void **state)
{
	static const struct knobs others[] = {
		{.sample = 0},    /* everything is a pool address, every connect is told */
		{.sample = ~0ull, /* no pool, nothing told */
		 .pool4 = 1,
		 .pool6 = 1},
		{.sample = 1,
		 .pool4 = 0x0a600001,
		 .pool4_mask = ~0u,
		 .pool6 = 0xfd00000000000000ull,
		 .pool6_mask = 0xff00000000000000ull},
	};

	for (size_t i = 0; i < sizeof(others) / sizeof(others[0]); i++)
		expect_load(&others[i]);
}

static uint64_t symbol(const char *name)
{
	FILE *f = fopen("/proc/kallsyms", "re");
	uint64_t address, found = 0;
	char line[512], word[256];

	assert_non_null(f);
	while (!found && fgets(line, sizeof(line), f))
		if (sscanf(line, "%" SCNx64 " %*c %255s", &address, word) == 2 &&
		    !strcmp(word, name))
			found = address;
	(void)fclose(f);
	return found;
}

/* Whether the program calls the helper after the verifier has removed what is dead. A call's imm is
 * the helper's distance from __bpf_call_base by then. */
static bool calls(const struct bpf_program *program, int32_t imm)
{
	struct bpf_insn *insns = calloc(65536, sizeof(*insns));
	struct bpf_prog_info info = {.xlated_prog_insns = (uintptr_t)insns,
				     .xlated_prog_len = 65536 * sizeof(*insns)};
	__u32 length = sizeof(info);
	bool found = false;

	assert_non_null(insns);
	assert_int_equal(bpf_obj_get_info_by_fd(bpf_program__fd(program), &info, &length), 0);
	assert_in_range(info.xlated_prog_len, 8 * sizeof(*insns), 65536 * sizeof(*insns));
	for (size_t i = 0; i < info.xlated_prog_len / sizeof(*insns); i++)
		found |= insns[i].code == (BPF_JMP | BPF_CALL) && insns[i].src_reg == 0 &&
			 insns[i].imm == imm;
	free(insns);
	return found;
}

static void test_p20_refusing_doors_call_set_retval(void **state)
{
	uint64_t base = symbol("__bpf_call_base"), helper = symbol("bpf_set_retval");
	struct sinew_bpf *skel;
	int32_t imm = (int32_t)(helper - base);

	if (!base || !helper)
		test_skip("P-20: /proc/kallsyms hides the helper's address");
	skel = open_small(&plain);
	assert_int_equal(sinew_bpf__load(skel), 0);
	assert_true(calls(skel->progs.sn_connect4, imm));
	assert_true(calls(skel->progs.sn_connect6, imm));
	assert_true(calls(skel->progs.sn_sendmsg4, imm));
	assert_true(calls(skel->progs.sn_sendmsg6, imm));
	/* These refuse nothing: what the search finds is no accident. */
	assert_false(calls(skel->progs.sn_recvmsg4, imm));
	assert_false(calls(skel->progs.sn_getpeername6, imm));
	assert_false(calls(skel->progs.sn_sockops, imm));
	sinew_bpf__destroy(skel);
}

static int silent(enum libbpf_print_level level, const char *format, va_list args)
{
	return 0;
}

static int set_up(void **state)
{
	(void)libbpf_set_print(silent);
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_p73_every_combination_of_settings_loads),
		cmocka_unit_test(test_p73_any_pools_and_samples_load),
		cmocka_unit_test(test_p20_refusing_doors_call_set_retval),
	};

	return cmocka_run_group_tests(tests, set_up, NULL);
}
