/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * agent/room: what the store says when it is full is understood, and only so much is left out.
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

#include "agent/room.h"
#include "declared.h"
#include "model/limits.h"

static bool learn(struct room *r, const char *limits)
{
	char text[600];
	yyjson_doc *doc;
	bool learned;

	(void)snprintf(text, sizeof(text), "{\"detail\":\"x\",\"errors\":%s}", limits);
	doc = yyjson_read(text, strlen(text), 0);
	assert_non_null(doc);
	learned = room_learn(r, yyjson_doc_get_root(doc));
	yyjson_doc_free(doc);
	return learned;
}

#define LIMIT(of, count, most)                                                                     \
	"{\"pointer\":\"\",\"detail\":\"y\",\"limit\":{\"of\":" of ",\"count\":" #count            \
	",\"most\":" #most "}}"

/* The store's own name for it, so that it cannot be changed there alone. */
static void test_a_full_store_is_understood(void **state)
{
	const struct problem_limit *limit;
	char word[64], text[200];
	struct declared d;
	struct room r;

	declared_init(&d);
	for (int i = 0; i < LIMIT_POLICIES; i++) {
		(void)snprintf(word, sizeof(word), "+%%p%d", i);
		assert_int_equal(declared_change(&d, "s", word), 0);
	}
	assert_int_equal(declared_change(&d, "s", "+%more, +%most"), -E2BIG);
	limit = &d.problems.items[0].limit;
	(void)snprintf(text, sizeof(text),
		       "[{\"limit\":{\"of\":\"%s\",\"count\":%zu,\"most\":%zu}}]", limit->of,
		       limit->count, limit->most);
	assert_true(learn(&r, text));
	assert_int_equal(r.policies, 2);
	assert_int_equal(r.frontends + r.backends + r.objects, 0);
	declared_done(&d);
}

static void test_each_limit_is_known_and_nothing_else(void **state)
{
	struct room r;

	assert_true(learn(&r, "[{\"detail\":\"z\"}," LIMIT("\"frontends\"", 16390, 16383) "," LIMIT(
				      "\"objects\"", 20001, 20000) "]"));
	assert_int_equal(r.frontends, 7);
	assert_int_equal(r.objects, 1);
	assert_true(learn(&r, "[" LIMIT("\"backends\"", 65540, 65535) "]"));
	assert_int_equal(r.backends, 5);
	assert_int_equal(r.frontends, 0);
	assert_false(learn(&r, "[" LIMIT("\"registrations\"", 20001, 20000) "]"));
	assert_false(learn(&r, "[" LIMIT("\"backends\"", 5, 5) "]"));
	assert_false(learn(&r, "[" LIMIT("\"backends\"", 5, 6) "]"));
	assert_false(learn(&r, "[" LIMIT("\"backends\"", -5, -6) "]"));
	assert_false(learn(&r, "[" LIMIT("[]", 5, 1) "]"));
	assert_false(learn(&r, "[{\"limit\":7},7,null]"));
	assert_false(learn(&r, "{}"));
	assert_int_equal(r.backends, 0);
}

static void test_what_frees_nothing_that_is_short_is_not_left_out(void **state)
{
	struct service s = {.n_addresses = 2, .n_ports = 3, .n_endpoints = 4},
		       pool = {.n_ports = 1};
	const struct object service = {.kind = OBJECT_SERVICE, .service = &s},
			    pooled = {.kind = OBJECT_SERVICE, .service = &pool},
			    policy = {.kind = OBJECT_POLICY};
	struct room r = {.frontends = 7, .backends = 12};

	assert_false(room_leave_out(&r, &policy));
	assert_true(room_leave_out(&r, &service));
	assert_int_equal(r.frontends, 1);
	assert_int_equal(r.backends, 0);
	assert_true(room_leave_out(&r, &pooled));
	assert_false(room_leave_out(&r, &pooled));
	assert_false(room_leave_out(&r, &service));
	r = (struct room){.objects = 2, .policies = 1};
	assert_true(room_leave_out(&r, &policy));
	assert_true(room_leave_out(&r, &pooled));
	assert_false(room_leave_out(&r, &policy));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_a_full_store_is_understood),
		cmocka_unit_test(test_each_limit_is_known_and_nothing_else),
		cmocka_unit_test(test_what_frees_nothing_that_is_short_is_not_left_out),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
