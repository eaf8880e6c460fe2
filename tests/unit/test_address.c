/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * model/address: text and 16 bytes, both ways, and who lies in which prefix.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <arpa/inet.h>
#include <cmocka.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/cleanup.h"
#include "model/address.h"

static struct sn_addr addr(const char *text)
{
	struct sn_addr a;

	if (address_parse(text, &a) < 0)
		fail_msg("%s is no address", text);
	return a;
}

/* RFC 5952, section 4 and 5, and what it makes of each other writing. */
static void test_format_rfc5952(void **state)
{
	static const char *const cases[][2] = {
		{"10.0.0.5", "10.0.0.5"},
		{"::ffff:10.0.0.5", "10.0.0.5"},
		{"0:0:0:0:0:ffff:a00:5", "10.0.0.5"},
		{"2001:0DB8:0000:0000:0001:0000:0000:0001", "2001:db8::1:0:0:1"},
		{"2001:db8:0:0:1:0:0:0", "2001:db8:0:0:1::"},
		{"2001:db8:0:1:1:1:1:1", "2001:db8:0:1:1:1:1:1"},
		{"2001:DB8::ABCD", "2001:db8::abcd"},
		{"::", "::"},
		{"::1", "::1"},
		{"1::", "1::"},
		{"fd73:696e:6577::1", "fd73:696e:6577::1"},
		{"0.0.0.0", "0.0.0.0"},
	};
	char buf[ADDRESS_TEXT];

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct sn_addr a = addr(cases[i][0]);

		assert_string_equal(address_format(&a, buf), cases[i][1]);
	}
}

static void test_parse_refuses(void **state)
{
	static const char *const bad[] = {
		"",
		"10",
		"10.0.0",
		"10.0.0.256",
		"10.0.0.1.1",
		"10.0.0.01",
		"010.0.0.1",
		" 10.0.0.1",
		"10.0.0.1 ",
		"10.0.0.1:80",
		"[::1]",
		"::1%lo",
		"fe80::1%1",
		"1::2::3",
		"12345::",
		"g::",
		"localhost",
		"0x7f.1",
		"::ffff:10.0.0.256",
		"1:2:3:4:5:6:7",
		"1:2:3:4:5:6:7:8:9",
		":",
		":1",
	};

	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		struct sn_addr a, before;

		memset(&a, 0xa5, sizeof(a));
		before = a;
		if (address_parse(bad[i], &a) != -EINVAL)
			fail_msg("\"%s\" was taken", bad[i]);
		assert_memory_equal(&a, &before, sizeof(a));
	}
}

static uint32_t random_word(uint64_t *state)
{
	*state = *state * 6364136223846793005ull + 1442695040888963407ull;
	return (uint32_t)(*state >> 32);
}

/* Every address, also with runs of zeros, comes back from its text; and its text from itself. */
static void test_round_trip(void **state)
{
	uint64_t seed = 42;

	for (unsigned int i = 0; i < 50000; i++) {
		char text[ADDRESS_TEXT], again[ADDRESS_TEXT], with_port[ADDRESS_TEXT];
		uint32_t zero = random_word(&seed);
		uint16_t port = (uint16_t)random_word(&seed), port_back;
		struct sn_addr a = {}, back;
		uint16_t *groups = (uint16_t *)&a;

		for (unsigned int g = 0; g < 8; g++)
			groups[g] = zero >> g & 1 ? 0 : (uint16_t)random_word(&seed);
		if (zero >> 8 & 1)
			a = (struct sn_addr){{0, 0, htonl(0xffff), a.word_be[3]}};
		assert_int_equal(address_parse(address_format(&a, text), &back), 0);
		assert_true(address_is_equal(&a, &back));
		assert_string_equal(address_format(&back, again), text);
		(void)address_format_port(&a, port, with_port);
		assert_int_equal(address_parse_port(with_port, &back, &port_back), 0);
		assert_true(address_is_equal(&a, &back));
		assert_int_equal(port, port_back);
	}
}

static void test_port(void **state)
{
	static const struct {
		const char *text, *address;
		int r;
		uint16_t port;
	} cases[] = {
		{"10.0.0.1:80", "10.0.0.1", 0, 80},
		{"10.0.0.1", "10.0.0.1", 0, 0},
		{"10.0.0.1:0", "10.0.0.1", 0, 0},
		{"10.0.0.1:65535", "10.0.0.1", 0, 65535},
		{"[fd00::1]:80", "fd00::1", 0, 80},
		{"[fd00::1]", "fd00::1", 0, 0},
		{"fd00::1", "fd00::1", 0, 0},
		{"10.0.0.1:65536", NULL, -EINVAL, 0},
		{"10.0.0.1:", NULL, -EINVAL, 0},
		{"10.0.0.1:080", NULL, -EINVAL, 0},
		{"10.0.0.1:+80", NULL, -EINVAL, 0},
		{"10.0.0.1:80x", NULL, -EINVAL, 0},
		{"10.0.0.1:99999999999999999999", NULL, -EINVAL, 0},
		{"[fd00::1", NULL, -EINVAL, 0},
		{"[fd00::1]80", NULL, -EINVAL, 0},
		{"[10.0.0.1]:80", NULL, -EINVAL, 0},
		{"[]:80", NULL, -EINVAL, 0},
		{":80", NULL, -EINVAL, 0},
		{"", NULL, -EINVAL, 0},
		{"[", NULL, -EINVAL, 0},
		{"11111111111111111111111111111111111111111111111111111:1", NULL, -EINVAL, 0},
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct sn_addr a = addr("1.2.3.4"), want;
		uint16_t port = 7;
		int r = address_parse_port(cases[i].text, &a, &port);

		if (r != cases[i].r)
			fail_msg("\"%s\": %d", cases[i].text, r);
		want = addr(cases[i].address ? cases[i].address : "1.2.3.4");
		assert_true(address_is_equal(&a, &want));
		assert_int_equal(port, cases[i].address ? cases[i].port : 7);
	}
}

static void test_prefix_text(void **state)
{
	static const struct {
		const char *text, *back;
		unsigned int bits;
	} cases[] = {
		{"10.0.0.0/8", "10.0.0.0/8", 104},
		{"10.1.2.3/8", "10.0.0.0/8", 104}, /* host bits go */
		{"10.1.2.3", "10.1.2.3/32", 128},
		{"0.0.0.0/0", "0.0.0.0/0", 96},
		{"fd00::/8", "fd00::/8", 8},
		{"fd73:696e:6577::1/64", "fd73:696e:6577::/64", 64},
		{"::/0", "::/0", 0},
		{"::1", "::1/128", 128},
		{"::ffff:10.0.0.0/104", "10.0.0.0/8", 104},
		{"127.255.255.255/9", "127.128.0.0/9", 105},
	};
	static const char *const bad[] = {"10.0.0.0/33", "fd00::/129", "10.0.0.0/",  "10.0.0.0/-1",
					  "10.0.0.0/08", "/8",         "10.0.0/8",   "10.0.0.0/8/8",
					  "10.0.0.0/ 8", "",           "10.0.0.0/8x"};
	char buf[ADDRESS_TEXT];
	struct prefix p;

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		assert_int_equal(prefix_parse(cases[i].text, &p), 0);
		assert_int_equal(p.bits, cases[i].bits);
		assert_string_equal(prefix_format(&p, buf), cases[i].back);
	}
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		if (prefix_parse(bad[i], &p) != -EINVAL)
			fail_msg("\"%s\" was taken", bad[i]);
}

/* The longest texts fit. */
static void test_longest(void **state)
{
	const char *text = "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff";
	struct sn_addr a = addr(text);
	struct prefix p = {.addr = a, .bits = 128};
	char buf[ADDRESS_TEXT], want[64];

	(void)snprintf(want, sizeof(want), "[%s]:65535", text);
	assert_string_equal(address_format_port(&a, 65535, buf), want);
	(void)snprintf(want, sizeof(want), "%s/128", text);
	assert_string_equal(prefix_format(&p, buf), want);
}

static bool contains(const char *prefix, const char *address)
{
	struct sn_addr a = addr(address);
	struct prefix p;

	assert_int_equal(prefix_parse(prefix, &p), 0);
	return prefix_contains(&p, &a);
}

static void test_prefix_contains(void **state)
{
	assert_true(contains("127.128.0.0/9", "127.128.0.0"));
	assert_true(contains("127.128.0.0/9", "127.255.255.255"));
	assert_false(contains("127.128.0.0/9", "127.127.255.255"));
	assert_false(contains("127.128.0.0/9", "128.0.0.0"));
	assert_true(contains("10.0.0.5", "10.0.0.5"));
	assert_false(contains("10.0.0.5", "10.0.0.4"));
	assert_true(contains("fc00::/7", "fdff::1"));
	assert_false(contains("fc00::/7", "fe00::1"));
	assert_true(contains("fd00::/64", "fd00::ffff:ffff:ffff:ffff"));
	assert_false(contains("fd00::/64", "fd00:0:0:1::"));
	/* The families do not contain one another. */
	assert_true(contains("0.0.0.0/0", "255.255.255.255"));
	assert_true(contains("::/0", "fd00::1"));
	assert_false(contains("::/0", "10.0.0.1"));
	assert_false(contains("0.0.0.0/0", "::1"));
	assert_false(contains("::/80", "10.0.0.1"));
}

/* Against the bits, one by one. */
static void test_prefix_contains_is_the_bits(void **state)
{
	uint64_t seed = 7;

	for (unsigned int i = 0; i < 20000; i++) {
		struct sn_addr a = {{random_word(&seed) | htonl(1u << 31), random_word(&seed),
				     random_word(&seed), random_word(&seed)}},
			       b = a;
		unsigned int bits = random_word(&seed) % 129, flip = random_word(&seed) % 128;
		char text[ADDRESS_TEXT], prefix[64];
		struct prefix p;

		((uint8_t *)&b)[flip / 8] ^= (uint8_t)(0x80u >> flip % 8);
		(void)snprintf(prefix, sizeof(prefix), "%s/%u", address_format(&a, text), bits);
		assert_int_equal(prefix_parse(prefix, &p), 0);
		assert_true(prefix_contains(&p, &a));
		assert_int_equal(prefix_contains(&p, &b), flip >= bits);
	}
}

static void test_special_and_target(void **state)
{
	static const struct {
		const char *text;
		bool special, target;
	} cases[] = {
		{"0.0.0.0", true, false},
		{"0.1.2.3", true, false},
		{"10.0.0.1", false, true},
		{"127.0.0.1", true, true},
		{"169.254.169.254", true, true},
		{"169.253.0.1", false, true},
		{"224.0.0.1", true, false},
		{"239.255.255.255", true, false},
		{"223.255.255.255", false, true},
		{"240.0.0.1", false, true},
		{"255.255.255.255", true, false},
		{"::", true, false},
		{"::1", true, true},
		{"::2", false, true},
		{"fe80::1", true, true},
		{"febf::1", true, true},
		{"fec0::1", false, true},
		{"ff02::1", true, false},
		{"fd00::1", false, true},
		{"2001:db8::1", false, true},
		{"::ffff:127.0.0.1", true, true},
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct sn_addr a = addr(cases[i].text);

		if (address_is_special(&a) != cases[i].special ||
		    address_is_target(&a) != cases[i].target)
			fail_msg("%s", cases[i].text);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_format_rfc5952),
		cmocka_unit_test(test_parse_refuses),
		cmocka_unit_test(test_round_trip),
		cmocka_unit_test(test_port),
		cmocka_unit_test(test_prefix_text),
		cmocka_unit_test(test_longest),
		cmocka_unit_test(test_prefix_contains),
		cmocka_unit_test(test_prefix_contains_is_the_bits),
		cmocka_unit_test(test_special_and_target),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
