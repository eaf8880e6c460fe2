/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * kernel/netlink, kernel/interface and kernel/filter: what messages of the kernel mean, and what is
 * made of such as are cut short.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <linux/if_arp.h>
#include <linux/pkt_cls.h>
#include <linux/rtnetlink.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "kernel/filter.h"
#include "kernel/interface.h"

/* --- messages, made by hand ----------------------------------------------------------------- */

struct message {
	char bytes[2048];
	size_t n, begin; /* of the message that is being made */
};

static void add_bytes(struct message *m, const void *bytes, size_t n)
{
	assert_true(m->n + NLMSG_ALIGN(n) <= sizeof(m->bytes));
	if (n)
		memcpy(m->bytes + m->n, bytes, n);
	m->n += NLMSG_ALIGN(n);
}

static void begin(struct message *m, uint16_t type, const void *head, size_t n)
{
	const struct nlmsghdr header = {.nlmsg_type = type};

	m->begin = m->n;
	add_bytes(m, &header, sizeof(header));
	add_bytes(m, head, n);
}

static void end(struct message *m)
{
	uint32_t length = (uint32_t)(m->n - m->begin);

	memcpy(m->bytes + m->begin, &length, sizeof(length));
}

static void add_attribute(struct message *m, uint16_t type, const void *value, size_t n)
{
	const struct nlattr header = {.nla_len = (uint16_t)(sizeof(header) + n), .nla_type = type};

	add_bytes(m, &header, sizeof(header));
	add_bytes(m, value, n);
}

static void add_link(struct message *m, uint16_t type, uint8_t family, int index)
{
	static const char info[] = "\x09\0\x01\0veth\0\0\0\0"; /* IFLA_INFO_KIND */
	const struct ifinfomsg head = {
		.ifi_family = family, .ifi_type = ARPHRD_ETHER, .ifi_index = index};

	begin(m, type, &head, sizeof(head));
	add_attribute(m, IFLA_IFNAME, "eth7", 5);
	add_attribute(m, IFLA_LINKINFO | NLA_F_NESTED, info, 12);
	end(m);
}

static void add_filter(struct message *m, uint32_t handle, const char *kind, const char *name)
{
	const struct tcmsg head = {
		.tcm_ifindex = 7, .tcm_handle = handle, .tcm_info = 49152u << 16 | 3};
	struct message options = {};
	uint32_t id = 1234;

	add_attribute(&options, TCA_BPF_ID, &id, sizeof(id));
	add_attribute(&options, TCA_BPF_NAME, name, strlen(name) + 1);
	begin(m, RTM_NEWTFILTER, &head, sizeof(head));
	add_attribute(m, TCA_OPTIONS, options.bytes, options.n);
	add_attribute(m, TCA_KIND, kind, strlen(kind) + 1);
	end(m);
}

/* --- interfaces ----------------------------------------------------------------------------- */

struct heard {
	size_t n[3];
	struct interface last;
};

static void on_news(void *arg, enum interface_news news, const struct interface *i)
{
	struct heard *h = arg;

	h->n[news]++;
	if (i)
		h->last = *i;
}

static struct heard hear(const struct message *m, size_t n)
{
	struct heard h = {};
	char *copy = malloc(n + 1); /* to its end and no further */

	assert_non_null(copy);
	memcpy(copy, m->bytes, n);
	interface_parse((struct netlink_part){copy, n}, on_news, &h);
	free(copy);
	return h;
}

static void test_an_interface_comes_and_goes(void **state)
{
	struct message m = {};
	struct heard h;

	add_link(&m, RTM_NEWLINK, AF_UNSPEC, 7);
	add_link(&m, RTM_DELLINK, AF_UNSPEC, 8);
	begin(&m, NLMSG_DONE, NULL, 0);
	end(&m);
	h = hear(&m, m.n);
	assert_int_equal(h.n[INTERFACE_IS], 1);
	assert_int_equal(h.n[INTERFACE_WENT], 1);
	assert_int_equal(h.n[INTERFACE_ALL], 1);
	assert_int_equal(h.last.index, 8);
	assert_string_equal(h.last.name, "eth7");
	assert_string_equal(h.last.kind, "veth");
	assert_true(interface_has_header(&h.last));
}

static void test_a_port_that_leaves_its_bridge_is_still_there(void **state)
{
	struct message m = {};
	struct heard h;

	add_link(&m, RTM_DELLINK, AF_BRIDGE, 7);
	add_link(&m, RTM_NEWLINK, AF_BRIDGE, 7);
	h = hear(&m, m.n);
	assert_int_equal(h.n[INTERFACE_WENT] + h.n[INTERFACE_IS], 0);
}

static void test_only_some_types_have_a_header(void **state)
{
	static const struct {
		uint16_t type;
		bool has;
	} types[] = {{ARPHRD_ETHER, true},   {ARPHRD_LOOPBACK, true}, {ARPHRD_NONE, false},
		     {ARPHRD_TUNNEL, false}, {ARPHRD_CAN, false},     {ARPHRD_RAWIP, false}};

	for (size_t i = 0; i < sizeof(types) / sizeof(types[0]); i++)
		assert_int_equal(interface_has_header(&(struct interface){.type = types[i].type}),
				 types[i].has);
}

static void test_cut_short_anywhere_is_no_harm(void **state)
{
	struct message m = {};

	add_link(&m, RTM_NEWLINK, AF_UNSPEC, 7);
	for (size_t n = 0; n < m.n; n++)
		assert_int_equal(hear(&m, n).n[INTERFACE_IS], 0);
	assert_int_equal(hear(&m, m.n).n[INTERFACE_IS], 1);
}

static void test_lengths_that_lie_are_not_believed(void **state)
{
	static const uint16_t lengths[] = {0, 1, 3, 4, 200, 0xffff};
	struct message m = {};
	struct heard h;

	add_link(&m, RTM_NEWLINK, AF_UNSPEC, 7);
	for (size_t i = 0; i < sizeof(lengths) / sizeof(lengths[0]); i++) {
		/* of the first attribute, the name */
		memcpy(m.bytes + sizeof(struct nlmsghdr) + sizeof(struct ifinfomsg), &lengths[i],
		       sizeof(lengths[i]));
		h = hear(&m, m.n);
		assert_int_equal(h.n[INTERFACE_IS], 1);
		assert_string_equal(h.last.name, "");
	}
}

static void test_a_text_without_an_end_is_ended(void **state)
{
	const struct netlink_attribute a = {.value = {"abcdefgh", 8}};
	char four[4], sixteen[16];

	netlink_text(&a, four, sizeof(four));
	assert_string_equal(four, "abc");
	netlink_text(&a, sixteen, sizeof(sixteen));
	assert_string_equal(sixteen, "abcdefgh");
	netlink_text(&(struct netlink_attribute){.value = {"", 0}}, four, sizeof(four));
	assert_string_equal(four, "");
}

/* --- filters -------------------------------------------------------------------------------- */

static bool parse_one(const struct message *m, struct filter *ret)
{
	struct netlink_part left = {m->bytes, m->n};
	struct netlink_message one;

	assert_true(netlink_next_message(&left, &one));
	return filter_parse(&one, ret);
}

static void test_a_filter_of_a_program(void **state)
{
	struct message m = {};
	struct filter f;

	add_filter(&m, 1, "bpf", "someone_elses:[1234]");
	assert_true(parse_one(&m, &f));
	assert_int_equal(f.handle, 1);
	assert_int_equal(f.priority, 49152);
	assert_int_equal(f.program, 1234);
	assert_string_equal(f.name, "someone_elses");
}

static void test_a_filter_of_another_kind(void **state)
{
	struct message m = {};
	struct filter f;

	add_filter(&m, 1, "flower", "x");
	assert_true(parse_one(&m, &f));
	assert_int_equal(f.program, 0);
	assert_string_equal(f.name, "flower");
}

static void test_a_priority_is_no_filter(void **state)
{
	struct message m = {}, other = {};
	struct filter f;

	add_filter(&m, 0, "bpf", "x");
	assert_false(parse_one(&m, &f));
	add_link(&other, RTM_NEWLINK, AF_UNSPEC, 7);
	assert_false(parse_one(&other, &f));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_an_interface_comes_and_goes),
		cmocka_unit_test(test_a_port_that_leaves_its_bridge_is_still_there),
		cmocka_unit_test(test_only_some_types_have_a_header),
		cmocka_unit_test(test_cut_short_anywhere_is_no_harm),
		cmocka_unit_test(test_lengths_that_lie_are_not_believed),
		cmocka_unit_test(test_a_text_without_an_end_is_ended),
		cmocka_unit_test(test_a_filter_of_a_program),
		cmocka_unit_test(test_a_filter_of_another_kind),
		cmocka_unit_test(test_a_priority_is_no_filter),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
