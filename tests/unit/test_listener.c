/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * register/listener: lines of sinewd's stream, and the set that they make.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <sinew/service.h>
#include <stdio.h>
#include <string.h>

#include "base/cleanup.h"
#include "model/address.h"
#include "model/limits.h"
#include "register/listener.h"

#define WORDS "\"address\":\"127.0.0.1\",\"port\":8080,\"protocol\":\"tcp\""
#define LINE(type, members) "{\"type\":\"" type "\",\"listener\":{" members "}}"

static int decode(const char *line, enum listener_event *event, struct listener *l)
{
	char error[JSON_ERROR] = "";
	int r = listener_decode_event(line, strlen(line), event, l, error);

	if (r == -EBADMSG)
		assert_string_not_equal(error, "");
	return r;
}

static void test_lines(void **state)
{
	static const struct {
		const char *line;
		int r;
		enum listener_event event;
	} cases[] = {
		{"", -EBADMSG, 0},
		{"{", -EBADMSG, 0},
		{"[]", -EBADMSG, 0},
		{"{}", -EBADMSG, 0},
		{"{\"type\":7}", -EBADMSG, 0},
		{"{\"type\":\"SYNCED\"}", 0, LISTENER_SYNCED},
		{"{\"type\":\"HEARTBEAT\",\"time\":\"x\"}", 0, LISTENER_OTHER},
		{"{\"type\":\"MOVED\",\"listener\":{}}", 0, LISTENER_OTHER},
		{"{\"type\":\"ADDED\"}", -EBADMSG, 0},
		{LINE("ADDED", WORDS), -EBADMSG, 0}, /* nobody: no cookie */
		{LINE("ADDED", "\"cookie\":1," WORDS), 0, LISTENER_ADDED},
		{LINE("DELETED", "\"cookie\":1," WORDS), 0, LISTENER_DELETED},
		{LINE("ADDED", "\"cookie\":-1," WORDS), -EBADMSG, 0},
		{LINE("ADDED", "\"cookie\":\"1\"," WORDS), -EBADMSG, 0},
		{LINE("ADDED", "\"cookie\":1,\"address\":\"::1\",\"port\":0"), -EBADMSG, 0},
		{LINE("ADDED", "\"cookie\":1,\"address\":\"::1\",\"port\":65536"), -EBADMSG, 0},
		{LINE("ADDED", "\"cookie\":1,\"address\":\"here\",\"port\":1"), -EBADMSG, 0},
		{LINE("ADDED", "\"cookie\":1,\"address\":\"::1\",\"port\":1,\"protocol\":\"x\""),
		 -EBADMSG, 0},
		{LINE("ADDED", "\"cookie\":1,\"address\":\"::1\",\"port\":65535"), 0,
		 LISTENER_ADDED},
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		enum listener_event event = LISTENER_OTHER;
		struct listener l = {};

		assert_int_equal(decode(cases[i].line, &event, &l), cases[i].r);
		assert_int_equal(event, cases[i].event);
		listener_done(&l);
	}
}

static void test_members(void **state)
{
	enum listener_event event;
	struct listener l, other;
	char text[ADDRESS_TEXT];

	assert_int_equal(decode(LINE("ADDED", "\"cookie\":18446744073709551615," WORDS
					      ",\"cgroup\":\"/a/b\",\"unit\":\"b.service\","
					      "\"container\":\"0123\",\"pod\":\"p\""),
				&event, &l),
			 0);
	assert_true(l.cookie == UINT64_MAX);
	assert_string_equal(address_format_port(&l.addr, l.port, text), "127.0.0.1:8080");
	assert_int_equal(l.proto, SN_PROTO_TCP);
	assert_string_equal(l.cgroup, "/a/b");
	assert_string_equal(l.unit, "b.service");
	assert_string_equal(l.container, "0123");
	assert_string_equal(l.pod, "p");
	assert_false(listener_is_wildcard(&l));
	assert_int_equal(listener_copy(&l, &other), 0);
	listener_done(&l);
	assert_string_equal(other.unit, "b.service");
	assert_string_equal(other.pod, "p");
	listener_done(&other);
	assert_int_equal(decode(LINE("ADDED", "\"cookie\":1,\"address\":\"0.0.0.0\",\"port\":1"),
				&event, &l),
			 0);
	assert_true(listener_is_wildcard(&l));
	assert_string_equal(l.cgroup, "");
	assert_null(l.unit);
	listener_done(&l);
}

static struct listener make(uint64_t cookie, uint16_t port, uint8_t proto)
{
	char line[200];
	enum listener_event event;
	struct listener l;

	(void)snprintf(line, sizeof(line),
		       LINE("ADDED", "\"cookie\":%llu,\"address\":\"127.0.0.1\",\"port\":%u,"
				     "\"protocol\":\"%s\",\"cgroup\":\"/c%llu\""),
		       (unsigned long long)cookie, port, proto == SN_PROTO_TCP ? "tcp" : "udp",
		       (unsigned long long)cookie);
	assert_int_equal(decode(line, &event, &l), 0);
	return l;
}

static int add(struct listener_table *t, uint64_t cookie, uint16_t port, uint8_t proto)
{
	struct listener l = make(cookie, port, proto);

	return listener_table_add(t, &l);
}

static bool drop(struct listener_table *t, uint64_t cookie, uint16_t port, uint8_t proto)
{
	struct listener l = make(cookie, port, proto);
	bool was = listener_table_remove(t, &l);

	listener_done(&l);
	return was;
}

static void test_a_port_is_gone_with_its_last_socket(void **state)
{
	struct listener_table t = {};
	const struct listener *first;
	size_t n;

	assert_int_equal(add(&t, 3, 80, SN_PROTO_TCP), 0);
	assert_int_equal(add(&t, 1, 80, SN_PROTO_TCP), 0);
	assert_int_equal(add(&t, 2, 80, SN_PROTO_UDP), 0);
	assert_int_equal(add(&t, 4, 79, SN_PROTO_TCP), 0);
	assert_int_equal(add(&t, 5, 81, SN_PROTO_TCP), 0);
	assert_int_equal(add(&t, 1, 80, SN_PROTO_TCP), 0); /* once more: the same */
	assert_int_equal(t.n, 5);
	first = listener_table_find(&t, 80, SN_PROTO_TCP, &n);
	assert_int_equal(n, 2);
	assert_int_equal(first[0].cookie + first[1].cookie, 4);
	assert_true(drop(&t, 1, 80, SN_PROTO_TCP));
	assert_false(drop(&t, 1, 80, SN_PROTO_TCP));
	assert_non_null(listener_table_find(&t, 80, SN_PROTO_TCP, &n));
	assert_int_equal(n, 1);
	assert_true(drop(&t, 3, 80, SN_PROTO_TCP));
	assert_null(listener_table_find(&t, 80, SN_PROTO_TCP, &n));
	assert_int_equal(n, 0);
	assert_non_null(listener_table_find(&t, 80, SN_PROTO_UDP, &n));
	listener_table_done(&t);
}

static void test_the_set_is_bounded(void **state)
{
	struct listener_table t = {};

	for (uint64_t i = 0; i < LIMIT_LISTENERS; i++)
		assert_int_equal(add(&t, i, 80, SN_PROTO_TCP), 0);
	assert_int_equal(add(&t, LIMIT_LISTENERS, 80, SN_PROTO_TCP), -E2BIG);
	assert_int_equal(add(&t, 7, 80, SN_PROTO_TCP), 0);
	assert_int_equal(t.n, LIMIT_LISTENERS);
	listener_table_done(&t);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_lines),
		cmocka_unit_test(test_members),
		cmocka_unit_test(test_a_port_is_gone_with_its_last_socket),
		cmocka_unit_test(test_the_set_is_bounded),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
