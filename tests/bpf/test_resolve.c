/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Which destinations are services: exact ones, any-port ones inside the pools, and nothing else;
 * and what becomes of map entries that lead nowhere.
 * Pitfalls: P-29, P-34.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include <arpa/inet.h>
#include <bpf/bpf.h>

#include "bpf/world.h"

static struct stages *s;

static int open_world(void **state)
{
	s = world_open(NULL);
	return 0;
}

static int close_world(void **state)
{
	stages__destroy(s);
	return 0;
}

/* The index that a destination resolves to; -1: not a service. */
static int resolve(struct sn_frontend dest)
{
	struct stage_call call = {.dest = dest};

	world_run(s->progs.t_resolve, &call);
	return call.r ? (int)call.index : -1;
}

static void add(uint32_t index, const char *address, uint16_t port, uint8_t proto)
{
	struct sn_frontend key = world_dest(address, port, proto);

	world_service(s, index, &key, WORLD_SET);
}

static void test_each_part_of_the_key_counts(void **state)
{
	add(1, "10.96.0.10", 80, SN_PROTO_TCP);
	add(2, "10.96.0.10", 80, SN_PROTO_UDP);
	add(3, "10.96.0.10", 81, SN_PROTO_TCP);
	add(4, "fd00::10", 80, SN_PROTO_TCP);
	assert_int_equal(resolve(world_dest("10.96.0.10", 80, SN_PROTO_TCP)), 1);
	assert_int_equal(resolve(world_dest("10.96.0.10", 80, SN_PROTO_UDP)), 2);
	assert_int_equal(resolve(world_dest("10.96.0.10", 81, SN_PROTO_TCP)), 3);
	assert_int_equal(resolve(world_dest("fd00::10", 80, SN_PROTO_TCP)), 4);
	assert_int_equal(resolve(world_dest("fd00::10", 81, SN_PROTO_TCP)), -1);
	assert_int_equal(resolve(world_dest("fd00::11", 80, SN_PROTO_TCP)), -1);
	assert_int_equal(resolve(world_dest("10.96.0.11", 80, SN_PROTO_TCP)), -1);
	assert_int_equal(resolve(world_dest("10.96.0.10", 82, SN_PROTO_TCP)), -1);
}

static void test_a_mapped_address_is_the_ipv4_one(void **state)
{
	add(5, "10.96.0.50", 80, SN_PROTO_TCP);
	assert_int_equal(resolve(world_dest("::ffff:10.96.0.50", 80, SN_PROTO_TCP)), 5);
	/* IPv4-compatible and NAT64 forms are other addresses. */
	assert_int_equal(resolve(world_dest("::10.96.0.50", 80, SN_PROTO_TCP)), -1);
	assert_int_equal(resolve(world_dest("64:ff9b::10.96.0.50", 80, SN_PROTO_TCP)), -1);
}

static void test_p34_other_protocols_are_not_ours(void **state)
{
	static const uint8_t others[] = {0, 1, 33, 58, 132, 136, 255};

	add(6, "10.96.0.60", 80, SN_PROTO_TCP);
	add(7, "10.96.0.60", 80, SN_PROTO_UDP);
	for (size_t i = 0; i < sizeof(others); i++)
		assert_int_equal(resolve(world_dest("10.96.0.60", 80, others[i])), -1);
}

static void test_any_port_holds_inside_the_pools_only(void **state)
{
	add(8, "127.128.0.9", SN_PORT_ANY, SN_PROTO_TCP);
	add(9, "fd73:696e:6577::9", SN_PORT_ANY, SN_PROTO_TCP);
	add(10, "10.96.0.90", SN_PORT_ANY, SN_PROTO_TCP);
	add(11, "fd74:696e:6577::9", SN_PORT_ANY, SN_PROTO_TCP);
	assert_int_equal(resolve(world_dest("127.128.0.9", 1, SN_PROTO_TCP)), 8);
	assert_int_equal(resolve(world_dest("127.128.0.9", 65535, SN_PROTO_TCP)), 8);
	assert_int_equal(resolve(world_dest("fd73:696e:6577::9", 443, SN_PROTO_TCP)), 9);
	assert_int_equal(resolve(world_dest("127.128.0.9", 1, SN_PROTO_UDP)), -1);
	assert_int_equal(resolve(world_dest("10.96.0.90", 443, SN_PROTO_TCP)), -1);
	assert_int_equal(resolve(world_dest("fd74:696e:6577::9", 443, SN_PROTO_TCP)), -1);
	/* An exact port comes before any port. */
	add(12, "127.128.0.9", 443, SN_PROTO_TCP);
	assert_int_equal(resolve(world_dest("127.128.0.9", 443, SN_PROTO_TCP)), 12);
	assert_int_equal(resolve(world_dest("127.128.0.9", 444, SN_PROTO_TCP)), 8);
}

static void test_the_pools_edges(void **state)
{
	add(13, "127.127.255.255", SN_PORT_ANY, SN_PROTO_TCP);
	add(14, "127.128.0.0", SN_PORT_ANY, SN_PROTO_TCP);
	add(15, "127.255.255.255", SN_PORT_ANY, SN_PROTO_TCP);
	add(16, "128.0.0.0", SN_PORT_ANY, SN_PROTO_TCP);
	add(17, "fd73:696e:6577:1::", SN_PORT_ANY, SN_PROTO_TCP);
	assert_int_equal(resolve(world_dest("127.127.255.255", 5, SN_PROTO_TCP)), -1);
	assert_int_equal(resolve(world_dest("127.128.0.0", 5, SN_PROTO_TCP)), 14);
	assert_int_equal(resolve(world_dest("127.255.255.255", 5, SN_PROTO_TCP)), 15);
	assert_int_equal(resolve(world_dest("128.0.0.0", 5, SN_PROTO_TCP)), -1);
	assert_int_equal(resolve(world_dest("fd73:696e:6577:1::", 5, SN_PROTO_TCP)), -1);
}

static void test_p29_zero_addresses_and_loopback_are_not_ours(void **state)
{
	static const char *const own[] = {"0.0.0.0", "::", "::ffff:0.0.0.0", "127.0.0.1", "::1"};

	for (size_t i = 0; i < sizeof(own) / sizeof(own[0]); i++) {
		assert_int_equal(resolve(world_dest(own[i], 80, SN_PROTO_TCP)), -1);
		assert_int_equal(resolve(world_dest(own[i], 80, SN_PROTO_UDP)), -1);
	}
}

static void test_an_index_given_to_another_service_is_not_ours_and_counted(void **state)
{
	struct sn_frontend key = world_dest("10.96.0.18", 80, SN_PROTO_TCP);
	struct sn_service other = {.frontend = world_dest("10.96.0.19", 80, SN_PROTO_TCP),
				   .set = WORLD_SET};
	uint64_t before = world_node_count(s, SN_R_BAD_MAP);

	world_service(s, 18, &key, WORLD_SET);
	assert_int_equal(resolve(key), 18);
	world_put(s->maps.sn_services, 18, &other);
	assert_int_equal(resolve(key), -1);
	assert_int_equal(world_node_count(s, SN_R_BAD_MAP), before + 1);
	/* Its port or its protocol being another's is as good as its address. */
	other.frontend = key;
	other.frontend.port_be = htons(81);
	world_put(s->maps.sn_services, 18, &other);
	assert_int_equal(resolve(key), -1);
	other.frontend = key;
	other.frontend.proto = SN_PROTO_UDP;
	world_put(s->maps.sn_services, 18, &other);
	assert_int_equal(resolve(key), -1);
	assert_int_equal(world_node_count(s, SN_R_BAD_MAP), before + 3);
}

static void test_an_index_out_of_range_is_not_ours_and_counted(void **state)
{
	struct sn_frontend key = world_dest("10.96.0.20", 80, SN_PROTO_TCP);
	uint64_t before = world_node_count(s, SN_R_BAD_MAP);
	uint32_t nowhere = 1000000;

	assert_int_equal(bpf_map_update_elem(bpf_map__fd(s->maps.sn_frontends), &key, &nowhere, 0),
			 0);
	assert_int_equal(resolve(key), -1);
	assert_int_equal(world_node_count(s, SN_R_BAD_MAP), before + 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_each_part_of_the_key_counts),
		cmocka_unit_test(test_a_mapped_address_is_the_ipv4_one),
		cmocka_unit_test(test_p34_other_protocols_are_not_ours),
		cmocka_unit_test(test_any_port_holds_inside_the_pools_only),
		cmocka_unit_test(test_the_pools_edges),
		cmocka_unit_test(test_p29_zero_addresses_and_loopback_are_not_ours),
		cmocka_unit_test(test_an_index_given_to_another_service_is_not_ours_and_counted),
		cmocka_unit_test(test_an_index_out_of_range_is_not_ours_and_counted),
	};

	return cmocka_run_group_tests(tests, open_world, close_world);
}
