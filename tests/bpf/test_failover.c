/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The programs at an interface, given packets that answer a SYN which was kept: the right answer
 * becomes the next backend's SYN, byte for byte; a forged one steers nothing.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include <arpa/inet.h>
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <linux/bpf.h>
#include <sinew/event.h>
#include <sinew/flow.h>
#include <sinew/health.h>
#include <sinew/policy.h>
#include <sinew/service.h>
#include <sinew/syn.h>
#include <string.h>

#include "sinew.skel.h"

#define COOKIE 5u
#define SERVICE 7u
#define ISN 1000u
#define SYN_BYTES 80 /* 40 of them are options of TCP */
#define FRAME 14

static struct sinew_bpf *skel;

static void put(struct bpf_map *map, uint32_t index, const void *value)
{
	assert_int_equal(bpf_map_update_elem(bpf_map__fd(map), &index, value, BPF_ANY), 0);
}

static struct sn_addr loopback(uint8_t last)
{
	return (struct sn_addr){{0, 0, htonl(0xffff), htonl(0x7f000000u + last)}};
}

static uint16_t sum(const uint8_t *p, size_t n, uint32_t s)
{
	for (size_t i = 0; i < n; i += 2)
		s += (uint32_t)p[i] << 8 | p[i + 1];
	while (s >> 16)
		s = (s & 0xffff) + (s >> 16);
	return (uint16_t)s;
}

static void put16(uint8_t *p, uint32_t v)
{
	p[0] = (uint8_t)(v >> 8);
	p[1] = (uint8_t)v;
}

static void put32(uint8_t *p, uint32_t v)
{
	put16(p, v >> 16);
	put16(p + 2, v & 0xffff);
}

/* An IPv4 header and the beginning of TCP's, both without a checksum. */
static void headers(uint8_t *p, size_t bytes, uint8_t from, uint8_t to)
{
	memset(p, 0, bytes);
	p[0] = 0x45;
	put16(p + 2, (uint32_t)bytes);
	p[8] = 64;
	p[9] = 6;
	put32(p + 12, 0x7f000000u + from);
	put32(p + 16, 0x7f000000u + to);
	put16(p + 20, from == 1 ? 40000 : 8080);
	put16(p + 22, from == 1 ? 8080 : 40000);
}

/* The socket 127.0.0.1:40000 has sent its SYN to backend 1, 127.0.0.2:8080; backend 2 is next. */
static void begin(void)
{
	struct sn_policy policy = {.attempts = 2, .flags = SN_POLICY_FAIL_ANY};
	struct sn_set set = {
		.service = SERVICE, .total = 2, .count = {2}, .uniform = 1, .weight = 1};
	struct sn_service service = {.set = 10, .policy = 1, .incarnation = 1};
	struct sn_flow flow = {.cookie = COOKIE,
			       .backend = 1,
			       .incarnation = 1,
			       .state = SN_FLOW_CONNECTING,
			       .flags = SN_FLOW_CLAIMED};
	struct sn_syn syn = {.cookie = COOKIE, .service = SERVICE, .state = SN_SYN_SAVED};
	struct sn_health health = {.active = 1, .attempts = 1};

	put(skel->maps.sn_policies, 1, &policy);
	put(skel->maps.sn_services, SERVICE, &service);
	put(skel->maps.sn_slots, 11, &set.count);
	put(skel->maps.sn_slots, 10, &set);
	for (uint32_t i = 1; i <= 2; i++) {
		struct sn_backend backend = {.addr = loopback((uint8_t)(i + 1)),
					     .weight = 1,
					     .port_be = htons(8080),
					     .service = SERVICE,
					     .state = SN_BACKEND_ACTIVE,
					     .incarnation = 1};
		struct sn_slot slot = {.backend = i, .alias = i, .cut = ~0u, .service = SERVICE};

		put(skel->maps.sn_backends, i, &backend);
		put(skel->maps.sn_slots, 11 + i, &slot);
		put(skel->maps.sn_health, i, &health);
		memset(&health, 0, sizeof(health));
	}
	put(skel->maps.sn_flows, COOKIE, &flow);
	syn.client = loopback(1);
	syn.first = syn.now = loopback(2);
	syn.client_port_be = htons(40000);
	syn.first_port_be = syn.now_port_be = htons(8080);
	syn.ifindex = 1;
	syn.isn_be = htonl(ISN);
	syn.tried[0] = syn.n_tried = 1;
	syn.length = SYN_BYTES;
	headers(syn.headers, SYN_BYTES, 1, 2);
	put32(syn.headers + 24, ISN);
	syn.headers[32] = 0xf0;
	syn.headers[33] = 0x02;
	put16(syn.headers + 36, 0xbeef); /* as a device was to mend it */
	memset(syn.headers + 40, 1, 40);
	put(skel->maps.sn_syns, 0, &syn);
}

/* What the program at ingress says; *ret_bytes of the packet as it is then. */
static uint32_t run(const uint8_t *ip, uint32_t bytes, uint8_t *out, uint32_t *ret_bytes)
{
	uint8_t in[256] = {[12] = 0x08};
	struct __sk_buff skb = {.ifindex = 1};
	LIBBPF_OPTS(bpf_test_run_opts, opts, .data_in = in, .data_size_in = FRAME + bytes,
		    .data_out = out, .data_size_out = 256, .ctx_in = &skb,
		    .ctx_size_in = sizeof(skb));

	memcpy(in + FRAME, ip, bytes);
	assert_int_equal(bpf_prog_test_run_opts(bpf_program__fd(skel->progs.sn_tc_ingress), &opts),
			 0);
	*ret_bytes = opts.data_size_out;
	return opts.retval;
}

static uint64_t forged(void)
{
	uint64_t values[256] = {0}, all = 0;
	uint32_t key = SN_R_FORGED - SN_R_SERVICE_MAX;

	assert_true(libbpf_num_possible_cpus() <= 256);
	assert_int_equal(bpf_map_lookup_elem(bpf_map__fd(skel->maps.sn_counters), &key, values), 0);
	for (int i = 0; i < 256; i++)
		all += values[i];
	return all;
}

static struct sn_syn entry(void)
{
	struct sn_syn syn;
	uint32_t zero = 0;

	assert_int_equal(bpf_map_lookup_elem(bpf_map__fd(skel->maps.sn_syns), &zero, &syn), 0);
	return syn;
}

static void reset(uint8_t *ip, uint32_t ack, uint8_t flags)
{
	headers(ip, 40, 2, 1);
	put32(ip + 28, ack);
	ip[32] = 0x50;
	ip[33] = flags;
}

/* An ICMP error, host unreachable, that quotes a SYN with this sequence number. */
static void unreachable(uint8_t *ip, uint32_t seq)
{
	headers(ip, 56, 9, 1);
	ip[9] = 1;
	memset(ip + 20, 0, 8);
	ip[20] = 3;
	ip[21] = 1;
	headers(ip + 28, 28, 1, 2);
	put32(ip + 52, seq);
}

/* The SYN that was kept, to backend 2, and both sums right although none was kept. */
static void expect_reborn(const uint8_t *out, uint32_t bytes)
{
	const uint8_t *ip = out + FRAME;

	assert_int_equal(bytes, FRAME + SYN_BYTES);
	assert_int_equal(ip[19], 3);
	assert_int_equal(ip[33], 0x02);
	assert_int_equal(ip[79], 1);
	assert_int_equal(sum(ip, 20, 0), 0xffff);
	assert_int_equal(sum(ip + 20, SYN_BYTES - 20, sum(ip + 12, 8, 6 + SYN_BYTES - 20)), 0xffff);
	assert_int_equal(entry().state, SN_SYN_MOVED);
}

static void test_a_reset_becomes_the_next_syn_with_all_its_options(void **state)
{
	uint8_t ip[40], out[256];
	uint32_t bytes;

	begin();
	reset(ip, ISN + 1, 0x14);
	assert_int_equal(run(ip, sizeof(ip), out, &bytes), 7); /* TC_ACT_REDIRECT */
	expect_reborn(out, bytes);
}

static void test_a_forged_reset_steers_nothing(void **state)
{
	static const struct {
		uint32_t ack;
		uint8_t flags;
	} wrong[] = {{ISN, 0x14}, {ISN + 2, 0x14}, {0, 0x14}, {ISN + 1, 0x04}};
	uint64_t before = forged();
	uint8_t ip[40], out[256];
	uint32_t bytes;

	begin();
	for (size_t i = 0; i < 4; i++) {
		reset(ip, wrong[i].ack, wrong[i].flags);
		assert_int_equal(run(ip, sizeof(ip), out, &bytes), (uint32_t)-1);
		assert_int_equal(bytes, FRAME + sizeof(ip));
		assert_memory_equal(out + FRAME, ip, sizeof(ip));
	}
	assert_int_equal(forged() - before, 4);
	assert_int_equal(entry().state, SN_SYN_SAVED);
}

static void test_an_icmp_error_must_quote_the_syn(void **state)
{
	uint64_t before = forged();
	uint8_t ip[56], out[256];
	uint32_t bytes;

	begin();
	unreachable(ip, ISN + 1);
	assert_int_equal(run(ip, sizeof(ip), out, &bytes), (uint32_t)-1);
	assert_int_equal(forged() - before, 1);
	assert_int_equal(entry().state, SN_SYN_SAVED);
	unreachable(ip, ISN);
	assert_int_equal(run(ip, sizeof(ip), out, &bytes), 7);
	expect_reborn(out, bytes);
}

static int set_up(void **state)
{
	skel = sinew_bpf__open();
	if (!skel)
		return -1;
	skel->rodata->sn_failover = 1;
	skel->rodata->sn_syn_mask = 0; /* one bucket: the test need not know the hash */
	return sinew_bpf__load(skel);
}

static int tear_down(void **state)
{
	sinew_bpf__destroy(skel);
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_a_reset_becomes_the_next_syn_with_all_its_options),
		cmocka_unit_test(test_a_forged_reset_steers_nothing),
		cmocka_unit_test(test_an_icmp_error_must_quote_the_syn),
	};

	return cmocka_run_group_tests(tests, set_up, tear_down);
}
