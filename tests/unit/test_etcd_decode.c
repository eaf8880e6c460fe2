/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * registry/etcd_decode: a real server's answers, what is refused, and endpoints as gRPC naming
 * writes them.
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

#include "model/address.h"
#include "registry/etcd_decode.h"
#include "unit/recorded.h"

#define HEADER "\"header\":{\"cluster_id\":\"7\",\"revision\":\"9\",\"raft_term\":\"2\"}"

/* What a server told in tests/fuzz/corpus/etcd; the caller frees. */
static char *read_answer(const char *name)
{
	char path[64];
	size_t n;

	(void)snprintf(path, sizeof(path), "etcd/etcd-%s.json", name);
	return recorded_read(path, &n);
}

static void decode_notice(const char *name, struct etcd_notice *ret)
{
	_cleanup_free_ char *text = read_answer(name);
	char error[JSON_ERROR];

	assert_int_equal(etcd_decode_notice(text, strlen(text), ret, error), 0);
}

static void test_a_real_range(void **state)
{
	_cleanup_free_ char *text = read_answer("range"), *none = read_answer("none");
	char error[JSON_ERROR];
	struct etcd_range a;

	assert_int_equal(etcd_decode_range(text, strlen(text), &a, error), 0);
	assert_int_equal(a.n, 2);
	assert_int_equal(a.count, 2);
	assert_false(a.more);
	assert_int_equal(a.header.revision, 3);
	assert_int_equal(a.header.term, 2);
	assert_true(a.header.cluster > UINT32_MAX);
	assert_string_equal(a.kvs[0].key, "services/pay/a");
	assert_string_equal(a.kvs[1].value,
			    "{\"Op\":0,\"Addr\":\"[fd00::1]:8080\",\"Metadata\":null}");
	assert_int_equal(a.kvs[1].revision, 3);
	etcd_range_done(&a);
	assert_int_equal(etcd_decode_range(none, strlen(none), &a, error), 0);
	assert_int_equal(a.n + a.count, 0);
	etcd_range_done(&a);
}

static void test_a_real_watch(void **state)
{
	struct etcd_notice n;

	decode_notice("watch-0", &n);
	assert_true(n.created && !n.cancelled && !n.n && !n.has_refusal);
	assert_int_equal(n.header.revision, 7);
	etcd_notice_done(&n);
	decode_notice("watch-1", &n);
	assert_int_equal(n.n, 1);
	assert_false(n.kvs[0].deleted);
	assert_int_equal(n.kvs[0].revision, 8);
	etcd_notice_done(&n);
	decode_notice("watch-2", &n);
	assert_true(n.kvs[0].deleted);
	assert_int_equal(n.kvs[0].value_length, 0);
	etcd_notice_done(&n);
	decode_notice("watch-3", &n);
	assert_true(n.has_refusal && !n.cancelled);
	assert_int_equal(n.refusal.code, 14);
	etcd_notice_done(&n);
	decode_notice("compacted-1", &n);
	assert_true(n.cancelled);
	assert_int_equal(n.compacted, 7);
	etcd_notice_done(&n);
	decode_notice("denied", &n);
	assert_true(n.created && n.cancelled && !n.compacted);
	assert_int_equal(n.refusal.code, 7);
	assert_string_equal(n.refusal.text, "etcdserver: permission denied");
	etcd_notice_done(&n);
}

static void test_refusals_of_each_age_of_the_gateway(void **state)
{
	static const struct {
		const char *text, *says;
		unsigned int code;
	} cases[] = {
		{"{\"code\":16, \"message\":\"etcdserver: invalid auth token\"}",
		 "etcdserver: invalid auth token", 16},
		{"{\"error\":\"old\",\"code\":11}", "old", 11},
		{"{\"grpc_code\":14,\"http_code\":503,\"message\":\"a\\nb\"}", "a b", 14},
		{"<html>", "", 0},
		{"{\"code\":16", "", 0},
		{"CommonName of client\xff is\n", "CommonName of client? is", 0},
		{"", "", 0},
		{"{\"code\":99}", "", 2},
		{"{\"code\":-1}", "", 0},
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct etcd_refusal why;

		etcd_decode_refusal(cases[i].text, strlen(cases[i].text), &why);
		assert_int_equal(why.code, cases[i].code);
		assert_string_equal(why.text, cases[i].says);
	}
}

static void test_half_an_answer_is_none(void **state)
{
	static const char *const bad[] = {
		"",
		"{}",
		"[]",
		"{\"header\":{}",
		"{" HEADER ",\"kvs\":{}}",
		"{" HEADER ",\"kvs\":[{}]}",
		"{" HEADER ",\"kvs\":[1]}",
		"{" HEADER ",\"kvs\":[{\"key\":\"YQ\"}]}",
		"{" HEADER ",\"kvs\":[{\"key\":\"YQ==\",\"value\":\"?\"}]}",
		"{" HEADER ",\"kvs\":[{\"key\":\"YQ==\",\"mod_revision\":\"x\"}]}",
		"{" HEADER ",\"kvs\":[{\"key\":\"YQ==\"},{\"key\":\"\"}]}",
		"{" HEADER ",\"count\":\"-1\"}",
		"{\"header\":{\"revision\":\"99999999999999999999\"}}",
	};
	char error[JSON_ERROR];

	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		struct etcd_range a;

		*error = '\0';
		assert_int_equal(etcd_decode_range(bad[i], strlen(bad[i]), &a, error), -EBADMSG);
		assert_true(*error);
	}
}

static void test_lines_that_are_none(void **state)
{
	static const char *const bad[] = {
		"{}",
		"{\"result\":{}}",
		"{\"result\":{" HEADER
		",\"events\":[{\"type\":\"MOVE\",\"kv\":{\"key\":\"YQ==\"}}]}}",
		"{\"result\":{" HEADER ",\"events\":[{}]}}",
		"{\"result\":{" HEADER ",\"events\":7}}",
	};
	char error[JSON_ERROR];

	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		struct etcd_notice n;

		assert_int_equal(etcd_decode_notice(bad[i], strlen(bad[i]), &n, error), -EBADMSG);
	}
}

static void test_tokens_are_words(void **state)
{
	static const char *const bad[] = {"{}", "{\"token\":\"\"}", "{\"token\":\"a\\r\\nb\"}",
					  "{\"token\":7}", "{\"token\":\"a\\u0000b\"}"};
	_cleanup_free_ char *token = NULL, *text = read_answer("token");
	char error[JSON_ERROR];

	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		assert_int_equal(etcd_decode_token(bad[i], strlen(bad[i]), &token, error),
				 -EBADMSG);
	assert_int_equal(etcd_decode_token(text, strlen(text), &token, error), 0);
	assert_string_equal(token, "GzTBuyMmDpDZMrhM.18");
}

static void test_endpoints(void **state)
{
	static const struct {
		const char *text, *address, *zone;
		int weight; /* -1: it is none */
		uint16_t port;
	} cases[] = {
		{"{\"Op\":0,\"Addr\":\"10.0.0.1:80\",\"Metadata\":null}", "10.0.0.1", "", 100, 80},
		{"{\"Addr\":\"[fd00::1]:80\",\"Metadata\":\"...\"}", "fd00::1", "", 100, 80},
		{"{\"Addr\":\"1.2.3.4\"}", "1.2.3.4", "", 100, 0},
		{"{\"Addr\":\"10.0.0.1:80\",\"Metadata\":{\"weight\":3,\"zone\":\"a\"}}",
		 "10.0.0.1", "a", 3, 80},
		{"{\"Addr\":\"10.0.0.1:80\",\"Metadata\":{\"weight\":\"70000\"}}", "10.0.0.1", "",
		 65535, 80},
		{"{\"Addr\":\"10.0.0.1:80\",\"Metadata\":{\"weight\":0}}", "10.0.0.1", "", 0, 80},
		{"{\"Addr\":\"10.0.0.1:80\",\"Metadata\":[1]}", "10.0.0.1", "", 100, 80},
		{"{\"Addr\":\"10.0.0.1:80\",\"Metadata\":{\"weight\":null,\"zone\":3}}", "10.0.0.1",
		 "", 100, 80},
		{"{\"Op\":1,\"Addr\":\"10.0.0.1:80\"}", "", "", -1, 0},
		{"{\"Addr\":\"host:80\"}", "", "", -1, 0},
		{"{\"Addr\":\"0.0.0.0:80\"}", "", "", -1, 0},
		{"{\"Addr\":\"10.0.0.1:65536\"}", "", "", -1, 0},
		{"{\"addr\":\"10.0.0.1:80\"}", "", "", -1, 0},
		{"10.0.0.1:80", "", "", -1, 0},
		{"", "", "", -1, 0},
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct etcd_endpoint e;
		char address[ADDRESS_TEXT];
		int r = etcd_decode_endpoint(cases[i].text, strlen(cases[i].text), &e);

		assert_int_equal(r, cases[i].weight < 0 ? -EBADMSG : 0);
		if (r < 0)
			continue;
		assert_string_equal(address_format(&e.addr, address), cases[i].address);
		assert_int_equal(e.port, cases[i].port);
		assert_int_equal(e.weight, cases[i].weight);
		assert_string_equal(e.zone, cases[i].zone);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_a_real_range),
		cmocka_unit_test(test_a_real_watch),
		cmocka_unit_test(test_refusals_of_each_age_of_the_gateway),
		cmocka_unit_test(test_half_an_answer_is_none),
		cmocka_unit_test(test_lines_that_are_none),
		cmocka_unit_test(test_tokens_are_words),
		cmocka_unit_test(test_endpoints),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
