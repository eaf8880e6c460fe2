/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * registry/eureka_decode and registry/eureka_apps: every shape of an answer, deltas, the hash code.
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

#include "registry/eureka_apps.h"
#include "unit/recorded.h"

#define ONE(id, status, more)                                                                      \
	"{\"instanceId\":\"" id "\",\"ipAddr\":\"10.1.0.1\",\"status\":\"" status "\","            \
	"\"port\":{\"$\":8080,\"@enabled\":\"true\"}" more "}"
#define ANSWER(apps) "{\"applications\":{\"apps__hashcode\":\"UP_1_\",\"application\":" apps "}}"
#define DELETED ",\"actionType\":\"DELETED\""

static int apply(struct eureka_apps *apps, const char *text, bool is_delta)
{
	struct eureka_answer answer;
	char error[JSON_ERROR];
	int r = eureka_decode(text, strlen(text), &answer, error);

	return r < 0 ? r : eureka_apps_apply(apps, &answer, is_delta, NULL);
}

static void assert_hash(const struct eureka_apps *apps, const char *hash)
{
	struct text_buffer b = {};

	eureka_apps_hash(apps, &b);
	assert_string_equal(b.data, hash);
	text_done(&b);
}

static void test_shapes(void **state)
{
	static const struct {
		const char *text;
		int r;
		size_t n;
	} cases[] = {
		{"", -EBADMSG, 0},
		{"{}", -EBADMSG, 0},
		{"{\"applications\":[]}", -EBADMSG, 0},
		{"{\"applications\":{}}", 0, 0},
		{ANSWER("[]"), 0, 0},
		{ANSWER("null"), 0, 0},
		{ANSWER("[{\"name\":\"A\"}]"), 0, 0},
		{ANSWER("{\"name\":\"A\",\"instance\":" ONE("a", "UP", "") "}"), 0, 1},
		{ANSWER("[{\"name\":\"A\",\"instance\":[" ONE("a", "UP", "") "]}]"), 0, 1},
		{ANSWER("[{\"name\":\"A\",\"instance\":[" ONE("a", "UP", "") "," ONE("b", "DOWN",
										     "") "]}]"),
		 0, 2},
		{ANSWER("[{\"name\":\"A\",\"instance\":[" ONE("a", "UP", "") "," ONE("a", "DOWN",
										     "") "]}]"),
		 0, 1},
		{ANSWER("[{\"name\":\"A\",\"instance\":[{},1,[]]},7]"), 0, 0},
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct eureka_apps apps = {};

		assert_int_equal(apply(&apps, cases[i].text, false), cases[i].r);
		assert_int_equal(apps.n, cases[i].n);
		eureka_apps_done(&apps);
	}
}

static void test_usable(void **state)
{
	static const struct {
		const char *instance;
		bool usable;
	} cases[] = {
		{ONE("a", "UP", ""), true},
		{ONE("a", "UP", ",\"metadata\":{\"@class\":\"java.util.Collections$EmptyMap\"}"),
		 true},
		{ONE("a", "UP", ",\"overriddenStatus\":\"UNKNOWN\""), true},
		{ONE("a", "UP", ",\"overriddenStatus\":\"OUT_OF_SERVICE\""), false},
		{ONE("a", "UP", ",\"overriddenstatus\":\"OUT_OF_SERVICE\""), false},
		{ONE("a", "STARTING", ""), false},
		{ONE("a", "NEW_WORD", ""), false},
		{"{\"hostName\":\"a\",\"status\":\"UP\",\"port\":{\"$\":1}}", false},
		{"{\"hostName\":\"a\",\"status\":\"UP\",\"ipAddr\":\"::2\",\"port\":{\"$\":\"1\"}}",
		 true},
		{"{\"hostName\":\"a\",\"status\":\"UP\",\"ipAddr\":\"::2\",\"port\":{\"$\":1,"
		 "\"@enabled\":\"false\"}}",
		 false},
		{"{\"hostName\":\"a\",\"status\":\"UP\",\"ipAddr\":\"::2\",\"port\":{\"$\":65536}}",
		 false},
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct eureka_apps apps = {};
		struct text_buffer b = {};

		text_append_format(&b, ANSWER("{\"name\":\"A\",\"instance\":%s}"),
				   cases[i].instance);
		assert_int_equal(apply(&apps, b.data, false), 0);
		assert_int_equal(apps.n, 1);
		assert_int_equal(eureka_instance_is_usable(&apps.instances[0]), cases[i].usable);
		eureka_apps_done(&apps);
		text_done(&b);
	}
}

static void test_a_repeated_delta_changes_nothing_and_the_hash_tells(void **state)
{
	static const char all[] =
		ANSWER("[{\"name\":\"A\",\"instance\":[" ONE("a", "UP", "") "," ONE(
			"b", "UP", "") "]},{\"name\":\"B\",\"instance\":" ONE("a", "DOWN",
									      "") "}]");
	static const char gone[] =
		ANSWER("{\"name\":\"B\",\"instance\":" ONE("a", "DOWN", DELETED) "}");
	static const char changed[] =
		ANSWER("{\"name\":\"A\",\"instance\":" ONE("b", "OUT_OF_SERVICE", "") "}");
	struct eureka_apps apps = {};

	assert_int_equal(apply(&apps, all, false), 0);
	assert_hash(&apps, "DOWN_1_UP_2_");
	for (unsigned int twice = 0; twice < 2; twice++) {
		assert_int_equal(apply(&apps, changed, true), 0);
		assert_hash(&apps, "DOWN_1_OUT_OF_SERVICE_1_UP_1_");
	}
	for (unsigned int twice = 0; twice < 2; twice++) {
		assert_int_equal(apply(&apps, gone, true), 0);
		assert_hash(&apps, "OUT_OF_SERVICE_1_UP_1_");
	}
	assert_int_equal(apps.n, 2);
	assert_int_equal(apply(&apps, "garbage", true), -EBADMSG);
	assert_int_equal(apps.n, 2);
	assert_int_equal(apply(&apps, ANSWER("[]"), false), 0);
	assert_hash(&apps, "");
	eureka_apps_done(&apps);
}

#define NAMED "\"instanceId\":\"a\",\"app\":\"A\",\"status\":\"UP\""
#define LEASE(length, renewed, up)                                                                 \
	"{\"instance\":{" NAMED ",\"leaseInfo\":{\"durationInSecs\":" length                       \
	",\"lastRenewalTimestamp\":" renewed ",\"serviceUpTimestamp\":" up "}}}"

static void test_one_instance_and_how_long_the_server_knows_it(void **state)
{
	static const struct {
		const char *text;
		int r;
		uint64_t memory_ms;
	} cases[] = {
		{"", -EBADMSG, 0},
		{"{}", -EBADMSG, 0},
		{"{\"instance\":[]}", -EBADMSG, 0},
		{"{\"instance\":{}}", -EBADMSG, 0},
		{"{\"instance\":{\"app\":\"A\",\"status\":\"UP\"}}", -EBADMSG, 0},
		{"{\"instance\":{\"instanceId\":\"a\",\"status\":\"UP\"}}", -EBADMSG, 0},
		{"{\"instance\":{" NAMED "}}", 0, 0},
		{LEASE("30", "1795937232491", "1795937202467"), 0, 24},
		{LEASE("\"30\"", "\"1795937232491\"", "\"1795937202467\""), 0, 24},
		{LEASE("30", "1795937202467", "1795937202467"), 0, 0},
		{LEASE("30", "1795937202467", "1795937202468"), 0, 0},
		{LEASE("30", "1795937232491", "0"), 0, 0},
		{LEASE("0", "1795937232491", "1"), 0, 0},
		{LEASE("-1", "1795937232491", "1"), 0, 0},
		{LEASE("18446744073709551615", "18446744073709551615", "1"), 0, 0},
		{LEASE("1", "18446744073709551615", "1"), 0, UINT64_MAX - 1001},
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		char error[JSON_ERROR] = "";
		struct eureka_one one = {};

		assert_int_equal(
			eureka_decode_one(cases[i].text, strlen(cases[i].text), &one, error),
			cases[i].r);
		assert_int_equal(one.memory_ms, cases[i].memory_ms);
		assert_true(cases[i].r == 0 || *error);
		if (cases[i].r == 0)
			assert_string_equal(one.instance.app, "A");
		eureka_instance_done(&one.instance);
	}
}

static void test_a_real_answer_about_one_instance(void **state)
{
	char error[JSON_ERROR];
	struct eureka_one one;
	size_t n;
	_cleanup_free_ char *text = recorded_read("eureka/eureka-instance.json", &n);

	assert_int_equal(eureka_decode_one(text, n, &one, error), 0);
	assert_string_equal(one.instance.app, "PAY");
	assert_string_equal(one.instance.id, "pay:10.1.0.2:8080");
	assert_int_equal(one.instance.status, EUREKA_OUT_OF_SERVICE);
	assert_false(eureka_instance_is_usable(&one.instance));
	assert_in_range(one.memory_ms, 1, 10000); /* its status was renewed, and that soon */
	eureka_instance_done(&one.instance);
}

static void read_answer(const char *name, struct eureka_answer *ret)
{
	char error[JSON_ERROR];
	size_t n;
	_cleanup_free_ char *text = recorded_read(name, &n);

	assert_int_equal(eureka_decode(text, n, ret, error), 0);
	assert_int_equal(ret->skipped, 0);
}

/* A real server's full answer and its delta, over each other, have the hash codes that it told. */
static void test_real_answers(void **state)
{
	static const char *const names[] = {"eureka/eureka-apps.json", "eureka/eureka-delta.json",
					    "eureka/eureka-delta.json"};
	struct eureka_apps apps = {};

	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		struct eureka_answer answer;
		char *told;

		read_answer(names[i], &answer);
		told = TAKE_PTR(answer.hashcode);
		assert_non_null(told);
		assert_int_equal(eureka_apps_apply(&apps, &answer, i > 0, NULL), 0);
		assert_int_equal(apps.n, 3);
		assert_hash(&apps, told);
		free(told);
	}
	assert_string_equal(apps.instances[0].app, "CART");
	assert_string_equal(apps.instances[1].zone, "a");
	assert_true(eureka_instance_is_usable(&apps.instances[1]));
	assert_false(eureka_instance_is_usable(&apps.instances[0]));
	assert_false(eureka_instance_is_usable(&apps.instances[2]));
	assert_int_equal(apps.instances[2].secure_port, 8443);
	eureka_apps_done(&apps);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_shapes),
		cmocka_unit_test(test_usable),
		cmocka_unit_test(test_one_instance_and_how_long_the_server_knows_it),
		cmocka_unit_test(test_real_answers),
		cmocka_unit_test(test_a_real_answer_about_one_instance),
		cmocka_unit_test(test_a_repeated_delta_changes_nothing_and_the_hash_tells),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
