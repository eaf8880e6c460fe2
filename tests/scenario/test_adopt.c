/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Adoption where the arrays are large: what is mapped of them must reach as far as what is used.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "kernel/read.h"
#include "world.h"

/* A service of n endpoints in one line. */
static char *large_line(const char *name, const char *address, unsigned int n)
{
	struct text_buffer b = {};

	text_append_format(&b, "%s %s 80", name, address);
	for (unsigned int i = 1; i <= n; i++)
		text_append_format(&b, " 10.1.%u.%u*%u", i >> 8, i & 255, 1 + i % 7);
	return text_take(&b);
}

static void test_restart_with_a_set_over_a_page_border(void **state)
{
	static const struct fake_size size = {16, 16, 20000, 9000};
	_cleanup_free_ char *line = large_line("large", "10.96.0.1", 4096);
	_cleanup_free_ char *before = NULL, *after = NULL;
	struct world w;

	world_init(&w, &size);
	assert_int_equal(world_put(&w, line), 0);
	before = world_text();
	world_kill(&w);
	assert_int_equal(world_start(&w, false), 0);
	assert_int_equal(w.removed, 0);
	after = world_text();
	assert_string_equal(before, after);
	assert_null(strstr(after, "TORN"));
	world_done(&w);
}

/* One service has the very last number, and nobody the many before it. */
static void test_restart_with_the_last_index(void **state)
{
	static const struct fake_size size = {4000, 4000, 20000, 5000};
	_cleanup_free_ char *line = large_line("large", "10.96.0.1", 4096);
	_cleanup_free_ char *before = NULL, *after = NULL;
	struct traffic traffic;
	struct world w;

	world_init(&w, &size);
	assert_int_equal(world_put(&w, line), 0);
	free(line);
	line = large_line("last", "10.96.0.2", 903);
	assert_int_equal(world_put(&w, line), 0);
	assert_int_equal(world_backend("10.96.0.2:80", "10.1.3.135:80"), 4999);
	assert_int_equal(world_put(&w, "last 10.96.0.2 80 10.1.3.135"), 0);
	assert_int_equal(world_drop(&w, "large"), 0);
	before = world_text();
	world_kill(&w);
	assert_int_equal(world_start(&w, false), 0);
	after = world_text();
	assert_string_equal(before, after);
	assert_int_equal(world_backend("10.96.0.2:80", "10.1.3.135:80"), 4999);
	assert_int_equal(
		read_service(w.publish, store_find_service(w.store, "default", "last"), &traffic),
		0);
	world_done(&w);
}

static void test_restart_keeps_counters_of_all(void **state)
{
	static const struct fake_size size = {4000, 4000, 20000, 5000};
	struct backend_traffic traffic;
	char line[64], backend[32];
	struct world w;

	world_init(&w, &size);
	for (unsigned int i = 1; i < 200; i++) {
		(void)snprintf(line, sizeof(line), "s%u 10.96.0.%u 80 10.1.0.%u", i, i, i);
		assert_int_equal(world_put(&w, line), 0);
		(void)snprintf(line, sizeof(line), "10.96.0.%u:80", i);
		(void)snprintf(backend, sizeof(backend), "10.1.0.%u:80", i);
		fake_health(world_backend(line, backend))->attempts = i;
	}
	world_kill(&w);
	assert_int_equal(world_start(&w, false), 0);
	assert_int_equal(w.removed, 0);
	for (unsigned int i = 1; i < 200; i++) {
		(void)snprintf(line, sizeof(line), "s%u", i);
		assert_int_equal(read_endpoint(w.publish,
					       store_find_service(w.store, "default", line), 0, 0,
					       &traffic),
				 0);
		assert_int_equal(traffic.traffic.attempts, i);
	}
	world_done(&w);
}

/* What a killed daemon can have left without a way to it is cleared away. */
static void test_dead_ends_are_cleared(void **state)
{
	static const struct fake_size size = {16, 16, 64, 64};
	struct sn_frontend key = world_key("10.96.0.9:80");
	_cleanup_free_ char *text = NULL;
	struct world w;

	world_init(&w, &size);
	assert_int_equal(world_put(&w, "a 10.96.0.1 80 10.1.0.1"), 0);
	world_kill(&w);
	/* A key that leads to somebody else's service, one beyond the array, one to nothing. */
	fake.frontends[fake.n_frontends++] = (struct fake_frontend){key, 1};
	key.port_be = 1;
	fake.frontends[fake.n_frontends++] = (struct fake_frontend){key, 4000000000u};
	key.port_be = 2;
	fake.frontends[fake.n_frontends++] = (struct fake_frontend){key, 0};
	/* A service and a backend that no key leads to, and a service whose extent is another's. */
	fake_service(7)->set = 3;
	fake_backend(9)->state = SN_BACKEND_ACTIVE;
	fake_backend(9)->service = 7;
	fake_backend(10)->state = SN_BACKEND_ACTIVE;
	fake_backend(10)->service = 4000000000u;
	key.port_be = 3;
	fake_service(8)->frontend = key;
	fake_service(8)->set = fake_service(1)->set;
	fake.frontends[fake.n_frontends++] = (struct fake_frontend){key, 8};
	/* A header that claims more than there is. */
	key.port_be = 4;
	fake_service(9)->frontend = key;
	fake_service(9)->set = 60;
	fake_slot(60)->backend = 9;           /* the owner, where a header has it */
	fake_slot(61)->backend = 4000000000u; /* slots of two levels: their sum does not fit */
	fake_slot(61)->alias = 4000000000u;
	fake.frontends[fake.n_frontends++] = (struct fake_frontend){key, 9};
	assert_int_equal(world_start(&w, true), 0);
	text = world_text();
	assert_string_equal(text, "10.96.0.1:80/TCP -> 10.1.0.1:80 100.00%\n");
	assert_int_equal(fake_service(7)->set, 0);
	assert_int_equal(fake_backend(9)->state, SN_BACKEND_GONE);
	assert_int_equal(fake_backend(10)->state, SN_BACKEND_GONE);
	world_done(&w);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_restart_with_a_set_over_a_page_border),
		cmocka_unit_test(test_restart_with_the_last_index),
		cmocka_unit_test(test_restart_keeps_counters_of_all),
		cmocka_unit_test(test_dead_ends_are_cleared),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
