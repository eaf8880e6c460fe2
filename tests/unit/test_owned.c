/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * register/owned: which of a registry's instances are this node's, and nobody else's.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/base64.h"
#include "base/cleanup.h"
#include "register/owned.h"

#define ID "sinew:n1:pay:10.0.0.5:8080"

typedef int decode_fn(const char *text, size_t length, const char *node, struct owned_list *ret,
		      char ret_error[static JSON_ERROR]);

/* Of each: the first one's id, or NULL for none, or an error. */
struct one {
	const char *text;
	int r;
	size_t n;
};

static void check(decode_fn *decode, const struct one *cases, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		char error[JSON_ERROR] = "";
		struct owned_list list = {};

		assert_int_equal(decode(cases[i].text, strlen(cases[i].text), "n1", &list, error),
				 cases[i].r);
		if (cases[i].r < 0)
			assert_string_not_equal(error, "");
		assert_int_equal(list.n, cases[i].n);
		if (list.n)
			assert_string_equal(list.items[0].id, ID);
		owned_list_done(&list);
	}
}

#define CONSUL(id, node)                                                                           \
	"{\"x\":{\"ID\":\"" id "\",\"Service\":\"pay\",\"Meta\":{\"sinew-node\":\"" node "\"}}}"

static void test_consul(void **state)
{
	static const struct one cases[] = {
		{"", -EBADMSG, 0},
		{"[]", -EBADMSG, 0},
		{"{}", 0, 0},
		{"{\"x\":7,\"y\":{}}", 0, 0},
		{CONSUL(ID, "n1"), 0, 1},
		{CONSUL(ID, "n2"), 0, 0},                            /* another node's */
		{CONSUL("sinew:n11:pay:10.0.0.5:8080", "n1"), 0, 0}, /* no id of ours */
		{CONSUL("web-1", "n1"), 0, 0},
		{"{\"x\":{\"ID\":\"" ID "\",\"Service\":\"pay\"}}", 0, 0},
		{"{\"x\":{\"ID\":\"" ID "\",\"Meta\":{\"sinew-node\":\"n1\"}}}", 0, 0},
	};

	check(owned_decode_consul, cases, ARRAY_SIZE(cases));
}

#define EUREKA(node)                                                                               \
	"{\"instanceId\":\"" ID "\",\"app\":\"PAY\",\"metadata\":{\"sinew-node\":\"" node "\"}}"
#define APPS(x) "{\"applications\":{\"application\":" x "}}"

static void test_eureka(void **state)
{
	static const struct one cases[] = {
		{"{}", -EBADMSG, 0},
		{APPS("[]"), 0, 0},
		{APPS("{\"name\":\"PAY\",\"instance\":" EUREKA("n1") "}"), 0, 1},
		{APPS("[{\"name\":\"PAY\",\"instance\":[" EUREKA("n2") "," EUREKA("n1") "]}]"), 0,
		 1},
		{APPS("[{\"name\":\"PAY\",\"instance\":[7,[],{}]},7]"), 0, 0},
	};

	check(owned_decode_eureka, cases, ARRAY_SIZE(cases));
}

static char *etcd(const char *value, const char *lease)
{
	char *encoded = base64_encode(value, strlen(value)), *text;

	assert_true(
		asprintf(&text,
			 "{\"header\":{},\"kvs\":[{\"key\":\"a\",\"value\":\"%s\",\"lease\":%s},"
			 "{\"value\":\"!\",\"lease\":\"1\"},7]}",
			 encoded, lease) > 0);
	free(encoded);
	return text;
}

static void test_etcd(void **state)
{
	static const char ours[] = "{\"Op\":0,\"Metadata\":{\"sinew-node\":\"n1\",\"sinew-id\":"
				   "\"" ID "\"}}";
	static const struct {
		const char *value, *lease;
		size_t n;
	} cases[] = {
		{ours, "\"7587888888888888888\"", 1},
		{ours, "7587888888888888888", 1},
		{ours, "\"0\"", 0}, /* a person's: it has no lease */
		{ours, "\"x\"", 0},
		{"{\"Metadata\":{\"sinew-node\":\"n2\",\"sinew-id\":\"" ID "\"}}", "\"1\"", 0},
		{"{\"Metadata\":{\"sinew-node\":\"n1\"}}", "\"1\"", 0},
		{"no JSON", "\"1\"", 0},
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		char *text = etcd(cases[i].value, cases[i].lease), error[JSON_ERROR];
		struct owned_list list = {};

		assert_int_equal(owned_decode_etcd(text, strlen(text), "n1", &list, error), 0);
		assert_int_equal(list.n, cases[i].n);
		if (list.n) {
			assert_string_equal(list.items[0].id, ID);
			assert_string_equal(list.items[0].service, "pay");
			assert_true(list.items[0].lease == 7587888888888888888ull);
		}
		owned_list_done(&list);
		free(text);
	}
	check(owned_decode_etcd,
	      (const struct one[]){
		      {"{\"header\":{}}", 0, 0}, {"{\"kvs\":7}", -EBADMSG, 0}, {"[]", -EBADMSG, 0}},
	      3);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_consul),
		cmocka_unit_test(test_eureka),
		cmocka_unit_test(test_etcd),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
