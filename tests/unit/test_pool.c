/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * model/pool: an address by the name's hash, each of the pool once.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <arpa/inet.h>
#include <cmocka.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "model/pool.h"

static struct prefix prefix(const char *text)
{
	struct prefix p;

	assert_int_equal(prefix_parse(text, &p), 0);
	return p;
}

static const char *choose(const char *pool, const char *namespace, const char *name, uint64_t probe)
{
	static char text[ADDRESS_TEXT];
	struct prefix p = prefix(pool);
	struct sn_addr addr;

	assert_int_equal(pool_choose(&p, namespace, name, probe, &addr), 0);
	assert_true(prefix_contains(&p, &addr));
	return address_format(&addr, text);
}

/* Nodes agree, and so do versions: these addresses are in people's configurations. */
static void test_is_what_it_was(void **state)
{
	assert_string_equal(choose("127.128.0.0/9", "shop", "payments", 0), "127.203.217.154");
	assert_string_equal(choose("127.128.0.0/9", "shop", "payments", 1), "127.203.217.155");
	assert_string_equal(choose("fd73:696e:6577::/64", "shop", "payments", 0),
			    "fd73:696e:6577:0:17b7:d4b0:4ceb:9cf0");
	/* "ab"/"c" and "a"/"bc" are two names. */
	assert_string_not_equal(choose("127.128.0.0/9", "ab", "c", 0), "127.196.74.220");
}

/* Every usable address is offered exactly once, never the first nor the last of the pool. */
static void check_all(const char *pool, unsigned int usable, unsigned int low, unsigned int high)
{
	struct prefix p = prefix(pool);
	bool seen[1024] = {false};
	struct sn_addr addr;

	for (uint64_t probe = 0; probe < usable; probe++) {
		unsigned int host;

		assert_int_equal(pool_choose(&p, "n", "name", probe, &addr), 0);
		host = ntohl(addr.word_be[3]) & 1023;
		assert_in_range(host, low, high);
		assert_false(seen[host]);
		seen[host] = true;
	}
	assert_int_equal(pool_choose(&p, "n", "name", usable, &addr), -ENOSPC);
	assert_int_equal(pool_choose(&p, "n", "name", UINT64_MAX, &addr), -ENOSPC);
}

static void test_every_address_once(void **state)
{
	check_all("10.4.0.0/22", 1022, 1, 1022);
	check_all("10.4.0.0/30", 2, 1, 2);
	check_all("10.4.0.0/31", 2, 0, 1);
	check_all("10.4.0.5/32", 1, 5, 5);
	check_all("fd00::/118", 1022, 1, 1022);
}

static void test_large_pools_keep_their_prefix(void **state)
{
	static const char *const pools[] = {
		"::/0",     "fd00::/8", "fd00:1:2::/48", "fd00:1:2:3::/64", "fd00:1:2:3:4::/80",
		"0.0.0.0/0"};

	for (size_t i = 0; i < ARRAY_SIZE(pools); i++) {
		struct prefix p = prefix(pools[i]);
		struct sn_addr addr;

		for (uint64_t probe = 0; probe < 1000; probe++) {
			assert_int_equal(pool_choose(&p, "n", "name", probe, &addr), 0);
			assert_true(prefix_contains(&p, &addr));
		}
	}
}

/* A thousand names in 8 million addresses seldom meet. */
static void test_names_spread(void **state)
{
	struct prefix p = prefix("127.128.0.0/9");
	static uint32_t hosts[1000];
	unsigned int collisions = 0;

	for (uint32_t i = 0; i < 1000; i++) {
		char name[8] = {'a' + (char)(i % 26), 'a' + (char)(i / 26 % 26),
				'a' + (char)(i / 676)};
		struct sn_addr addr;

		assert_int_equal(pool_choose(&p, "default", name, 0, &addr), 0);
		hosts[i] = addr.word_be[3];
		for (uint32_t k = 0; k < i; k++)
			collisions += hosts[k] == hosts[i];
	}
	assert_in_range(collisions, 0, 3);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_is_what_it_was),
		cmocka_unit_test(test_every_address_once),
		cmocka_unit_test(test_large_pools_keep_their_prefix),
		cmocka_unit_test(test_names_spread),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
