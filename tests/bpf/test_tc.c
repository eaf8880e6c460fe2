/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * kernel/tc: the pair of programs at an interface, by the way that this kernel has and by clsact,
 * in a network namespace and with pins of its own.
 * Pitfalls: P-73.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include "kernel/filter.h"
#include "kernel/tc.h"
#include "sinew.skel.h"

#define LO 1 /* of every network namespace */

static char folder[] = "/tmp/sinew-tc.XXXXXX";
static char links[64];

static struct sinew_bpf *load_pair(void)
{
	struct sinew_bpf *skel = sinew_bpf__open();
	struct bpf_program *p;
	struct bpf_map *map;

	assert_non_null(skel);
	bpf_object__for_each_program(p, skel->obj)(void)
		bpf_program__set_autoload(p, !strncmp(bpf_program__name(p), "sn_tc_", 6));
	bpf_object__for_each_map(map, skel->obj)
	{
		if (bpf_map__max_entries(map) > 1024 && bpf_map__type(map) != BPF_MAP_TYPE_RINGBUF)
			(void)bpf_map__set_max_entries(map, 1024);
	}
	assert_int_equal(sinew_bpf__load(skel), 0);
	return skel;
}

static size_t pins(void)
{
	uint32_t found[8];

	return tc_list(links, found, 8);
}

static int filters(void)
{
	struct filter f[4];
	int in = filter_list(LO, false, f, 4), out = filter_list(LO, true, f, 4);

	return in < 0 || out < 0 ? 0 : in + out; /* < 0: there is no qdisc */
}

static void expect_pair(enum tc_how wanted)
{
	struct kernel k = {.pin_dir = folder, .tc_how = wanted};
	struct sinew_bpf *old = load_pair(), *new = load_pair();
	enum tc_how how;

	k.skel = old;
	assert_int_equal(tc_attach(&k, LO, &how), 0);
	assert_true(how == TC_TCX || how == TC_CLSACT);
	assert_true(wanted == TC_AUTO || how == wanted);
	assert_true(tc_is_live(&k, LO));
	assert_int_equal(filters(), how == TC_CLSACT ? 2 : 0);
	k.skel = new;
	assert_int_equal(tc_swap(&k), 0);
	assert_true(tc_is_live(&k, LO));
	assert_int_equal(filters(), how == TC_CLSACT ? 2 : 0);
	assert_int_equal(tc_attach(&k, 4000, &how), -ENODEV);
	assert_int_equal(pins(), 1);
	assert_int_equal(tc_remove_all(links), 0);
	assert_int_equal(pins(), 0);
	assert_int_equal(filters(), 0);
	assert_false(tc_is_live(&k, LO));
	sinew_bpf__destroy(old);
	sinew_bpf__destroy(new);
}

static void test_p73_the_pair_by_the_best_way_there_is(void **state)
{
	expect_pair(TC_AUTO);
}

static void test_p73_the_pair_by_filters(void **state)
{
	expect_pair(TC_CLSACT);
}

static int silent(enum libbpf_print_level level, const char *format, va_list args)
{
	return 0;
}

static int set_up(void **state)
{
	(void)libbpf_set_print(silent);
	if (unshare(CLONE_NEWNS | CLONE_NEWNET) < 0 ||
	    mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0 || !mkdtemp(folder) ||
	    mount("bpf", folder, "bpf", 0, NULL) < 0)
		return -1;
	(void)snprintf(links, sizeof(links), "%s/links", folder);
	return mkdir(links, 0700);
}

static int tear_down(void **state)
{
	return umount2(folder, MNT_DETACH) < 0 || rmdir(folder) < 0 ? -1 : 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_p73_the_pair_by_the_best_way_there_is),
		cmocka_unit_test(test_p73_the_pair_by_filters),
	};

	return cmocka_run_group_tests(tests, set_up, tear_down);
}
