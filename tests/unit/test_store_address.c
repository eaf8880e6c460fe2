/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * model/store_address: who may have which address. Only pools and allowed ranges can be claimed;
 * pool addresses follow from the name, and stay.
 * Pitfalls: P-53.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/cleanup.h"
#include "declared.h"
#include "model/pool.h"

static void test_p53_only_pools_and_allowed_ranges(void **state)
{
	static const struct {
		const char *address;
		int r;
		const char *says;
	} rows[] = {
		{"10.96.0.1", 0, NULL},
		{"fd00::1", 0, NULL},
		{"127.128.0.1", 0, NULL},
		{"127.255.255.254", 0, NULL},
		{"fd73:696e:6577::5", 0, NULL},
		{"::ffff:10.96.0.1", 0, NULL},
		{"8.8.8.8", -EINVAL, "neither in the pool 127.128.0.0/9 nor in a range"},
		{"11.0.0.0", -EINVAL, "services.allow"},
		{"9.255.255.255", -EINVAL, "services.allow"},
		{"::ffff:8.8.8.8", -EINVAL, "address 8.8.8.8 is neither"},
		{"2001:db8::1", -EINVAL, "nor in a range that services.allow"},
		{"127.0.0.1", -EINVAL, "loopback"},
		{"127.127.255.255", -EINVAL, "loopback"},
		{"::1", -EINVAL, "loopback"},
		{"169.254.169.254", -EINVAL, "link-local"},
		{"fe80::1", -EINVAL, "link-local"},
		{"255.255.255.254", -EINVAL, "nor in a range"},
	};

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct declared d;
		char words[128];

		declared_init(&d);
		(void)snprintf(words, sizeof(words), "+a %s 80", rows[i].address);
		if (declared_change(&d, "registry", words) != rows[i].r)
			fail_msg("%s", rows[i].address);
		assert_true(!rows[i].says || declared_says(&d, rows[i].says));
		assert_int_equal(*declared_address(&d, "a") != '\0', rows[i].r >= 0);
		declared_done(&d);
	}
}

/* An address that says it came from the pool is taken at its word only within the pool. */
static void test_p53_allocated_is_no_way_round(void **state)
{
	struct declared d;

	declared_init(&d);
	assert_int_equal(declared_change(&d, "s", "+a ?8.8.8.8 80, +b ?10.96.0.1 80"), 0);
	assert_memory_equal(declared_address(&d, "a"), "127.", 4);
	assert_memory_equal(declared_address(&d, "b"), "127.", 4);
	declared_done(&d);
}

static void test_any_port_needs_the_pool(void **state)
{
	struct declared d;

	declared_init(&d);
	assert_int_equal(declared_change(&d, "s", "+a 10.96.0.1 0"), -EINVAL);
	assert_true(declared_says(&d, "port 0 (any port) needs an address of the pool"));
	assert_int_equal(declared_change(&d, "s", "+a 127.128.0.1 0"), 0);
	assert_int_equal(declared_change(&d, "s", "+b 127.128.0.1 80"), -EINVAL);
	assert_true(declared_says(&d, "is held by service default/a"));
	declared_done(&d);
}

/* --- the pool ----------------------------------------------------------------------------- */

static const char *chosen(const char *name, uint64_t probe)
{
	static char text[ADDRESS_TEXT];
	struct prefix pool;
	struct sn_addr addr;

	assert_int_equal(prefix_parse("127.128.0.0/9", &pool), 0);
	assert_int_equal(pool_choose(&pool, "default", name, probe, &addr), 0);
	return address_format(&addr, text);
}

static void test_pool_address_follows_from_the_name(void **state)
{
	struct declared d;

	declared_init(&d);
	assert_int_equal(declared_change(&d, "s", "+a - 80 10.1.0.1"), 0);
	assert_string_equal(declared_address(&d, "a"), chosen("a", 0));
	/* Removed and made again, on another node, after others: the same. */
	assert_int_equal(declared_change(&d, "s", "-a"), 0);
	assert_int_equal(declared_change(&d, "s", "+c - 80, +b - 80, +a - 81"), 0);
	assert_string_equal(declared_address(&d, "a"), chosen("a", 0));
	assert_string_equal(declared_address(&d, "b"), chosen("b", 0));
	declared_done(&d);
}

static void test_pool_collision_goes_on_to_the_next(void **state)
{
	struct declared d;
	char words[128];

	declared_init(&d);
	(void)snprintf(words, sizeof(words), "+other %s 80", chosen("a", 0));
	assert_int_equal(declared_change(&d, "s", words), 0);
	assert_int_equal(declared_change(&d, "t", "+a - 80"), 0);
	assert_string_equal(declared_address(&d, "a"), chosen("a", 1));
	/* It stays there when the first choice becomes free. */
	assert_int_equal(declared_change(&d, "s", "-other"), 0);
	assert_int_equal(declared_change(&d, "t", "+a - 81"), 0);
	assert_string_equal(declared_address(&d, "a"), chosen("a", 1));
	declared_done(&d);
}

/* In one change the explicit one is served first, whatever the order. */
static void test_explicit_goes_before_fresh(void **state)
{
	struct declared d;
	char words[128];

	declared_init(&d);
	(void)snprintf(words, sizeof(words), "+a - 80, +z %s 80", chosen("a", 0));
	assert_int_equal(declared_change(&d, "s", words), 0);
	assert_string_equal(declared_address(&d, "z"), chosen("a", 0));
	assert_string_equal(declared_address(&d, "a"), chosen("a", 1));
	declared_done(&d);
}

/* But nobody is driven from the address that it has. */
static void test_explicit_does_not_evict(void **state)
{
	struct declared d;
	char words[128];

	declared_init(&d);
	assert_int_equal(declared_change(&d, "s", "+a - 80"), 0);
	(void)snprintf(words, sizeof(words), "+a - 81, +z %s 80", chosen("a", 0));
	assert_int_equal(declared_change(&d, "s", words), -EINVAL);
	assert_true(declared_says(&d, "is held by service default/a"));
	assert_string_equal(declared_address(&d, "a"), chosen("a", 0));
	declared_done(&d);
}

/* What a state file remembers is kept if it is free, and chosen anew if not. */
static void test_remembered_address(void **state)
{
	struct declared d;

	declared_init(&d);
	assert_int_equal(declared_change(&d, "s", "+a ?127.200.1.2 80"), 0);
	assert_string_equal(declared_address(&d, "a"), "127.200.1.2");
	assert_int_equal(declared_change(&d, "s", "+b ?127.200.1.2 80"), 0);
	assert_string_equal(declared_address(&d, "b"), chosen("b", 0));
	/* What it has goes before what it is said to have had. */
	assert_int_equal(declared_change(&d, "s", "+a ?127.200.1.9 81"), 0);
	assert_string_equal(declared_address(&d, "a"), "127.200.1.2");
	declared_done(&d);
}

static void test_families_follow_the_endpoints(void **state)
{
	struct declared d;

	declared_init(&d);
	assert_int_equal(declared_change(&d, "s",
					 "+none - 80, +four - 80 10.1.0.1, "
					 "+six - 80 fd01::1, +both - 80 fd01::1 10.1.0.1"),
			 0);
	assert_memory_equal(declared_address(&d, "none"), "127.", 4);
	assert_null(strchr(declared_address(&d, "none"), ' '));
	assert_memory_equal(declared_address(&d, "four"), "127.", 4);
	assert_memory_equal(declared_address(&d, "six"), "fd73:696e:6577:", 15);
	assert_memory_equal(declared_address(&d, "both"), "127.", 4);
	assert_non_null(strstr(declared_address(&d, "both"), " fd73:696e:6577:"));
	/* The first IPv6 endpoint brings an IPv6 address, and the IPv4 one stays. */
	assert_int_equal(declared_change(&d, "s", "+four - 80 10.1.0.1 fd01::1"), 0);
	assert_non_null(strstr(declared_address(&d, "four"), " fd73:696e:6577:"));
	assert_int_equal(declared_change(&d, "s", "+four - 80 fd01::1"), 0);
	assert_non_null(strchr(declared_address(&d, "four"), ' '));
	declared_done(&d);
}

static void test_full_pool(void **state)
{
	struct declared d;

	declared_init_pool(&d, "10.200.0.0/30");
	assert_int_equal(declared_change(&d, "s", "+a - 80, +b - 80"), 0);
	assert_int_equal(declared_change(&d, "s", "+c - 80"), -E2BIG);
	assert_true(declared_says(&d, "service default/c: the pool 10.200.0.0/30 has no free"));
	assert_int_equal(declared_change(&d, "s", "-a, +c - 80"), 0);
	assert_int_equal(declared_change(&d, "s", "+c - 81, +b - 81"), 0);
	declared_done(&d);
}

/* --- sharing ------------------------------------------------------------------------------ */

static void test_shared_port_by_port(void **state)
{
	struct declared d;
	size_t port = 9;
	struct sn_frontend f = {.proto = SN_PROTO_TCP};

	declared_init(&d);
	assert_int_equal(declared_change(&d, "s", "+a 10.96.0.1 80+53u"), 0);
	assert_int_equal(declared_change(&d, "t", "+b 10.96.0.1 81+53"), 0);
	assert_int_equal(declared_change(&d, "t", "+c 10.96.0.1 80"), -EINVAL);
	assert_true(declared_says(
		&d, "10.96.0.1:80/TCP is the address of service default/a (source s)"));
	assert_int_equal(declared_change(&d, "t", "+c 10.96.0.1 53u"), -EINVAL);
	assert_true(declared_says(&d, "10.96.0.1:53/UDP"));
	/* Two within one change. */
	assert_int_equal(declared_change(&d, "t", "+c 10.96.0.2 80, +d 10.96.0.2 80"), -EINVAL);
	assert_true(declared_says(&d, "10.96.0.2:80/TCP is the address of service default/c"));
	/* One change may hand it over, and swap. */
	assert_int_equal(declared_change(&d, "s", "-a, +e 10.96.0.1 80"), 0);
	assert_int_equal(declared_change(&d, "s", "+f 10.96.0.1 90"), 0);
	assert_int_equal(declared_change(&d, "s", "+f 10.96.0.1 80, +e 10.96.0.1 90"), 0);
	assert_int_equal(address_parse("10.96.0.1", &f.addr), 0);
	f.port_be = __builtin_bswap16(80);
	assert_string_equal(store_find_frontend(d.store, &f, &port)->name, "f");
	assert_int_equal(port, 0);
	f.port_be = __builtin_bswap16(53);
	assert_string_equal(store_find_frontend(d.store, &f, &port)->name, "b");
	assert_int_equal(port, 1);
	f.port_be = __builtin_bswap16(54);
	assert_null(store_find_frontend(d.store, &f, &port));
	f.proto = 0;
	assert_null(store_find_frontend(d.store, &f, &port));
	declared_done(&d);
}

static void test_any_port_is_found_by_every_port(void **state)
{
	struct declared d;
	size_t port = 9;
	struct sn_frontend f = {.proto = SN_PROTO_UDP, .port_be = 12345};

	declared_init(&d);
	assert_int_equal(declared_change(&d, "s", "+a 127.128.0.7 80+0u"), 0);
	assert_int_equal(address_parse("127.128.0.7", &f.addr), 0);
	assert_string_equal(store_find_frontend(d.store, &f, &port)->name, "a");
	assert_int_equal(port, 1);
	f.proto = SN_PROTO_TCP;
	assert_null(store_find_frontend(d.store, &f, &port));
	declared_done(&d);
}

/* --- loops -------------------------------------------------------------------------------- */

static void test_a_service_cannot_lead_to_a_service(void **state)
{
	struct declared d;

	declared_init(&d);
	assert_int_equal(declared_change(&d, "s", "+a 10.96.0.1 80 10.1.0.1"), 0);
	assert_int_equal(declared_change(&d, "s", "+b 10.96.0.2 81 10.96.0.1:80"), -EINVAL);
	assert_true(declared_says(&d, "endpoint 10.96.0.1:80 is the address of service default/a"));
	assert_int_equal(declared_change(&d, "s", "+b 10.96.0.2 81 10.96.0.1:81"), 0);
	/* To itself, and to one of the same change. */
	assert_int_equal(declared_change(&d, "s", "+c 10.96.0.3 80 10.96.0.3"), -EINVAL);
	assert_int_equal(
		declared_change(&d, "s", "+c 10.96.0.3 80 10.96.0.4, +d 10.96.0.4 80 10.96.0.3"),
		-EINVAL);
	/* The new address is the endpoint of one that stays as it is. */
	assert_int_equal(declared_change(&d, "s", "+e 10.1.0.1 80 10.2.0.1"), -EINVAL);
	assert_true(declared_says(&d, "10.1.0.1:80 is an endpoint of service default/a"));
	assert_int_equal(declared_change(&d, "s", "+e 10.1.0.1 8080 10.2.0.1"), 0);
	/* Pool addresses are never endpoints. */
	assert_int_equal(declared_change(&d, "s", "+f 10.96.0.9 80 127.129.0.1"), -EINVAL);
	assert_true(declared_says(&d, "lies in the pool 127.128.0.0/9"));
	declared_done(&d);
}

/* A refused plan leaves no trace: what it tried on the table of claims is undone. */
static void test_refused_plan_leaves_no_claim(void **state)
{
	struct declared d;

	declared_init(&d);
	assert_int_equal(declared_change(&d, "s", "+a 10.96.0.1 80 10.1.0.1, +p - 80"), 0);
	for (unsigned int i = 0; i < 3; i++) {
		assert_int_equal(
			declared_change(&d, "s", "+a 10.96.0.2 80, +b 10.96.0.3 80, +c 8.8.8.8 1"),
			-EINVAL);
		assert_int_equal(declared_change(&d, "s", "+b 10.96.0.3 80+81, +c 10.96.0.3 81"),
				 -EINVAL);
		/* And so does one that nobody commits. */
		assert_int_equal(declared_plan(&d, "s", "-a, +x 10.96.0.1 80, +y 10.96.0.3 80"), 0);
	}
	assert_int_equal(declared_change(&d, "s", "+z 10.96.0.1 80"), -EINVAL);
	assert_int_equal(declared_change(&d, "s", "+z 10.96.0.2 80, +y 10.96.0.3 80"), 0);
	declared_done(&d);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_p53_only_pools_and_allowed_ranges),
		cmocka_unit_test(test_p53_allocated_is_no_way_round),
		cmocka_unit_test(test_any_port_needs_the_pool),
		cmocka_unit_test(test_pool_address_follows_from_the_name),
		cmocka_unit_test(test_pool_collision_goes_on_to_the_next),
		cmocka_unit_test(test_explicit_goes_before_fresh),
		cmocka_unit_test(test_explicit_does_not_evict),
		cmocka_unit_test(test_remembered_address),
		cmocka_unit_test(test_families_follow_the_endpoints),
		cmocka_unit_test(test_full_pool),
		cmocka_unit_test(test_shared_port_by_port),
		cmocka_unit_test(test_any_port_is_found_by_every_port),
		cmocka_unit_test(test_a_service_cannot_lead_to_a_service),
		cmocka_unit_test(test_refused_plan_leaves_no_claim),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
