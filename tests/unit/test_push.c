/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * agent/push: what sinewd is told, when, and what becomes of its answers. The exchange and the
 * merge are the test's own; time is the loop's.
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

#include "agent/push.h"

/* --- an exchange that the test answers ---------------------------------------------------------
 */

static struct {
	unsigned int begun;
	uint64_t at_ms; /* of the last one */
	bool under_way;
	char method[8], match[100], url[100];
	char *body;
	void (*on_done)(void *arg, const struct fetch_result *result);
	void *arg;
	const char *etag;
} wire;

int fetch_begin(struct fetcher *f, const struct fetch_request *request, struct fetch **ret)
{
	assert_false(wire.under_way); /* one at a time */
	wire.begun++;
	wire.at_ms = uv_hrtime() / 1000000;
	wire.under_way = true;
	wire.on_done = request->on_done;
	wire.arg = request->arg;
	(void)snprintf(wire.method, sizeof(wire.method), "%s", request->method);
	(void)snprintf(wire.url, sizeof(wire.url), "%s", request->url);
	(void)snprintf(wire.match, sizeof(wire.match), "%s", request->headers[1] ?: "");
	free(wire.body);
	wire.body = strndup(request->body, request->length);
	*ret = (struct fetch *)&wire;
	return 0;
}

struct fetch *fetch_cancel(struct fetch *fetch)
{
	wire.under_way = false;
	return NULL;
}

const char *fetch_header(const struct fetch *fetch, const char *name)
{
	return strcmp(name, "ETag") == 0 ? wire.etag : NULL;
}

static uv_loop_t loop;

static void answer(unsigned int status, const char *body)
{
	const struct fetch_result result = {.status = status,
					    .error_text = "",
					    .body = body,
					    .length = strlen(body),
					    .fetch = (struct fetch *)&wire};

	assert_true(wire.under_way);
	wire.under_way = false;
	uv_update_time(&loop); /* as it is when a real answer comes */
	wire.on_done(wire.arg, &result);
}

static void answer_error(int error)
{
	const struct fetch_result result = {
		.error = error, .error_text = "nobody answers", .body = ""};

	assert_true(wire.under_way);
	wire.under_way = false;
	uv_update_time(&loop); /* as it is when a real answer comes */
	wire.on_done(wire.arg, &result);
}

/* --- a merge of services "a", "b" ... ----------------------------------------------------------
 */

static struct {
	const char *all, *changed, *gone; /* a letter each */
} store;

static struct object object_of(char name)
{
	char text[2] = {name, 0};
	struct service_port port = {.name = (char *)"", .port = 80, .proto = SN_PROTO_TCP};
	const struct service draft = {.namespace = (char *)"default",
				      .name = text,
				      .source = (char *)"consul/dc1",
				      .policy = (char *)"default",
				      .ports = &port,
				      .n_ports = 1};
	struct object o = {.kind = OBJECT_SERVICE};

	assert_int_equal(service_new(&draft, &o.service), 0);
	return o;
}

static int take(const char *names, const char *gone, struct merge_change *ret)
{
	*ret = (struct merge_change){.upserts = calloc(strlen(names) + 1, sizeof(struct object)),
				     .deletes =
					     calloc(strlen(gone) + 1, sizeof(struct object_name))};
	for (; *names; names++)
		ret->upserts[ret->n_upserts++] = object_of(*names);
	for (; *gone; gone++) {
		const char text[2] = {*gone, 0};

		ret->deletes[ret->n_deletes++] =
			(struct object_name){OBJECT_SERVICE, strdup("default"), strdup(text)};
	}
	store.changed = store.gone = "";
	return 0;
}

int merge_take(struct merge *m, uint64_t now_ms, struct merge_change *ret)
{
	return take(store.changed, store.gone, ret);
}

int merge_take_all(struct merge *m, uint64_t now_ms, struct merge_change *ret)
{
	return take(store.all, store.gone, ret);
}

void merge_change_done(struct merge_change *c)
{
	(void)object_free_list(c->upserts, c->n_upserts);
	for (size_t i = 0; i < c->n_deletes; i++) {
		free((char *)c->deletes[i].namespace);
		free((char *)c->deletes[i].name);
	}
	free(c->deletes);
}

/* --- the loop ----------------------------------------------------------------------------------
 */

static struct push *push;

static void on_bell(uv_timer_t *timer)
{
	uv_stop(timer->loop);
}

static void wait_ms(uint64_t ms)
{
	uv_timer_t bell;

	uv_update_time(&loop);
	assert_int_equal(uv_timer_init(&loop, &bell), 0);
	assert_int_equal(uv_timer_start(&bell, on_bell, ms, 0), 0);
	(void)uv_run(&loop, UV_RUN_DEFAULT);
	uv_close((uv_handle_t *)&bell, NULL);
	(void)uv_run(&loop, UV_RUN_NOWAIT);
}

static int set_up(void **state)
{
	const struct push_config config = {.socket = "/nowhere", .coalesce_ms = 50};

	memset(&wire, 0, sizeof(wire));
	wire.etag = "\"7\"";
	store.all = "ab";
	store.changed = store.gone = "";
	assert_int_equal(uv_loop_init(&loop), 0);
	return push_new(&loop, NULL, NULL, &config, &push);
}

static int tear_down(void **state)
{
	push_close(push);
	(void)uv_run(&loop, UV_RUN_DEFAULT);
	free(wire.body);
	return uv_loop_close(&loop);
}

static bool says(const char *name)
{
	char text[40];

	(void)snprintf(text, sizeof(text), "\"name\":\"%s\"", name);
	return strstr(wire.body, text) != NULL;
}

static void start(void)
{
	push_start(push, true);
	wait_ms(5);
	assert_string_equal(wire.method, "PUT");
	answer(200, "{}");
	assert_true(push_status(push)->synced);
	wire.begun = 0;
}

static void test_nothing_is_sent_before_a_registry_has_spoken(void **state)
{
	push_kick(push, true);
	wait_ms(60);
	assert_int_equal(wire.begun, 0);
	push_start(push, true);
	wait_ms(5);
	assert_int_equal(wire.begun, 1);
	assert_string_equal(wire.method, "PUT");
	assert_true(says("a") && says("b"));
}

static void test_until_all_have_spoken_nothing_is_removed(void **state)
{
	push_start(push, false);
	wait_ms(5);
	assert_string_equal(wire.method, "PATCH");
	assert_true(says("a"));
	answer(200, "{}");
	assert_false(push_status(push)->synced);
	push_start(push, true);
	wait_ms(5);
	assert_string_equal(wire.method, "PUT");
}

static bool removes(const char *name)
{
	const char *deletes = strstr(wire.body, "\"delete\":");
	char text[40];

	(void)snprintf(text, sizeof(text), "\"name\":\"%s\"", name);
	return deletes && strstr(deletes, text);
}

/* One registry has spoken, the other never does: sinewd is told changes. */
static void start_partly(void)
{
	push_start(push, false);
	wait_ms(5);
	assert_string_equal(wire.method, "PATCH");
	assert_null(strstr(wire.url, "?"));
	answer(200, "{}");
	wire.begun = 0;
}

static void remove_partly(const char *name)
{
	store.gone = name;
	push_kick(push, true);
	wait_ms(5);
	assert_int_equal(wire.begun, 1);
	assert_true(removes(name));
	assert_non_null(strstr(wire.url, "/v1/sources/agent?ignoreNotFound=true"));
}

static void answer_status(int how)
{
	if (how < 0)
		answer_error(how);
	else
		answer((unsigned int)how,
		       "{\"errors\":[{\"pointer\":\"/upsert/0\",\"detail\":\"no\"}]}");
}

static void test_until_all_have_spoken_a_removal_that_failed_is_told_again(void **state)
{
	const int failures[] = {-ECONNREFUSED, -ETIMEDOUT, -ECONNRESET, 500, 503, 507, 412, 404};

	start_partly();
	for (size_t i = 0; i < sizeof(failures) / sizeof(failures[0]); i++) {
		wire.begun = 0;
		store.all = "ac";
		store.changed = "c";
		push_kick(push, true);
		wait_ms(5);
		answer(200, "{}");
		wire.begun = 0;
		store.all = "a";
		remove_partly("c");
		answer_status(failures[i]);
		wait_ms(70);
		assert_int_equal(wire.begun, 2);
		assert_string_equal(wire.method, "PATCH");
		assert_non_null(strstr(wire.url, "?ignoreNotFound=true"));
		assert_true(says("a") && removes("c"));
		answer(200, "{}");
	}
}

/* All or nothing: what is refused for another's sake has not gone. */
static void test_a_removal_in_a_refused_change_is_told_again(void **state)
{
	start_partly();
	store.changed = "b";
	remove_partly("c");
	answer_status(422);
	wait_ms(5);
	assert_int_equal(wire.begun, 2);
	assert_false(says("b"));
	assert_true(says("a") && removes("c"));
}

/* sinewd answers before it has written: killed then, it has what it had. */
static void test_a_sinewd_that_lost_a_removal_is_told_again(void **state)
{
	start_partly();
	remove_partly("c");
	answer(200, "{}");
	store.changed = "a";
	push_kick(push, true);
	wait_ms(5);
	assert_false(removes("c"));
	answer(412, "{}");
	wait_ms(5);
	assert_true(says("a") && says("b") && removes("c"));
	answer(200, "{}");
}

static void test_what_came_again_is_not_removed(void **state)
{
	start_partly();
	remove_partly("b");
	answer_error(-ETIMEDOUT);
	store.all = "a";
	store.gone = "d"; /* meanwhile */
	wait_ms(70);
	assert_true(removes("b") && removes("d"));
	answer_error(-ETIMEDOUT);
	store.all = "ab";
	wait_ms(150);
	assert_int_equal(wire.begun, 3);
	assert_true(says("b") && !removes("b") && removes("d"));
	answer(200, "{}");
	push_start(push, true); /* now what nobody names goes anyway */
	wait_ms(5);
	assert_string_equal(wire.method, "PUT");
	assert_false(removes("d"));
	assert_null(strstr(wire.url, "?"));
	answer_error(-ETIMEDOUT);
	wait_ms(70);
	assert_string_equal(wire.method, "PUT");
}

static void test_a_removal_that_is_refused_does_not_keep_the_rest(void **state)
{
	start_partly();
	remove_partly("c");
	answer(422, "{\"errors\":[{\"pointer\":\"\",\"detail\":"
		    "\"service default/c: in use\"}]}");
	wait_ms(5);
	assert_int_equal(wire.begun, 2);
	assert_true(says("a") && says("b"));
	assert_false(removes("c"));
	answer(200, "{}");
	assert_int_equal(push_status(push)->refused, 1);
	wire.begun = 0;
	remove_partly("c"); /* once more by itself: another chance */
}

static void test_changes_are_gathered_and_urgent_ones_are_not(void **state)
{
	uint64_t before;

	start();
	before = uv_hrtime() / 1000000;
	store.changed = "a";
	uv_update_time(&loop);
	push_kick(push, false);
	wait_ms(5);
	push_kick(push, false);
	wait_ms(100);
	assert_int_equal(wire.begun, 1);
	assert_in_range(wire.at_ms - before, 30, 1000); /* the start was at most 20 ms ago */
	assert_string_equal(wire.method, "PATCH");
	assert_string_equal(wire.match, "If-Match: \"7\"");
	assert_true(says("a"));
	store.gone = "b";
	push_kick(push, true);
	wait_ms(5);
	assert_int_equal(wire.begun, 1); /* one request at a time */
	answer(200, "{}");
	wait_ms(5);
	assert_int_equal(wire.begun, 2);
	assert_non_null(strstr(wire.body, "\"delete\":[{\"kind\":\"Service\","
					  "\"namespace\":\"default\",\"name\":\"b\"}]"));
}

static void test_the_first_change_after_a_quiet_time_is_not_kept_waiting(void **state)
{
	uint64_t first;

	start();
	wait_ms(60);
	store.changed = "a";
	push_kick(push, false);
	(void)uv_run(&loop, UV_RUN_NOWAIT); /* the next turn, however long that takes here */
	assert_int_equal(wire.begun, 1);
	first = wire.at_ms;
	answer(200, "{}");
	store.changed = "b";
	push_kick(push, false);
	wait_ms(100);
	assert_int_equal(wire.begun, 2);
	assert_in_range(wire.at_ms - first, 45, 1000);
}

static void test_a_sinewd_that_lost_count_is_told_all(void **state)
{
	start();
	store.changed = "a";
	push_kick(push, true);
	wait_ms(5);
	answer(412, "{}");
	wait_ms(5);
	assert_string_equal(wire.method, "PUT");
	assert_true(says("a") && says("b"));
}

static void test_an_absent_sinewd_is_tried_again_and_told_all(void **state)
{
	uint64_t before;

	start();
	store.changed = "a";
	push_kick(push, true);
	wait_ms(5);
	before = uv_hrtime() / 1000000;
	answer_error(-ECONNREFUSED);
	assert_false(push_status(push)->synced);
	assert_non_null(strstr(push_status(push)->error, "nobody answers"));
	push_kick(push, true); /* news do not shorten the wait */
	wait_ms(100);
	assert_int_equal(wire.begun, 2);
	assert_in_range(wire.at_ms - before, 45, 1000);
	assert_string_equal(wire.method, "PUT");
	answer(200, "{}");
	assert_true(push_status(push)->synced);
	assert_string_equal(push_status(push)->error, "");
}

static void on_refused(void *arg, enum object_kind kind, const char *name, const char *reason)
{
	(void)snprintf(arg, 200, "%s: %s", name, reason);
}

static void test_who_could_not_reach_sinewd_makes_it_look_at_once(void **state)
{
	push_look(push); /* nothing has been told: there is nothing to look after */
	wait_ms(5);
	assert_int_equal(wire.begun, 0);
	start();
	wait_ms(60);
	assert_int_equal(wire.begun, 0);
	push_look(push);
	wait_ms(5);
	assert_int_equal(wire.begun, 1);
	push_look(push); /* it is being asked */
	answer_error(-ECONNREFUSED);
	assert_false(push_status(push)->synced);
	push_look(push); /* nor does that shorten the wait */
	(void)uv_run(&loop, UV_RUN_NOWAIT);
	assert_int_equal(wire.begun, 1);
}

static void test_one_refused_object_does_not_keep_the_rest(void **state)
{
	char said[200] = "";

	push_start(push, true);
	wait_ms(5);
	answer(422, "{\"detail\":\"x\",\"errors\":[{\"pointer\":\"/items/1/spec/address\","
		    "\"detail\":\"not allowed\"}]}");
	wait_ms(5);
	assert_int_equal(wire.begun, 2);
	assert_true(says("a"));
	assert_false(says("b"));
	answer(200, "{}");
	assert_int_equal(push_status(push)->refused, 1);
	push_visit_refused(push, on_refused, said);
	assert_string_equal(said, "default/b: not allowed");
	store.changed = "b"; /* it is different now: another chance */
	push_kick(push, true);
	wait_ms(5);
	assert_true(says("b"));
	assert_int_equal(push_status(push)->refused, 0);
}

static void test_an_object_refused_in_words_is_left_out_too(void **state)
{
	push_start(push, true);
	wait_ms(5);
	answer(409, "{\"detail\":\"x\",\"errors\":[{\"pointer\":\"\",\"detail\":"
		    "\"service default/a: source manifest owns it\"}]}");
	wait_ms(5);
	assert_false(says("a"));
	assert_true(says("b"));
}

/* Two clusters with the same range of addresses, say: sinewd names twenty of a request. */
static void test_however_many_are_refused_the_rest_is_sent(void **state)
{
	char text[4096];

	push_start(push, true);
	for (int i = 0; i < 400; i += 20) {
		int n = snprintf(text, sizeof(text), "{\"detail\":\"x\",\"errors\":[");

		for (int k = i; k < i + 20; k++)
			n += snprintf(text + n, sizeof(text) - (size_t)n,
				      "%s{\"pointer\":\"\",\"detail\":\"service default/s%d: no\"}",
				      k > i ? "," : "", k);
		(void)snprintf(text + n, sizeof(text) - (size_t)n, "]}");
		wait_ms(1);
		answer(409, text);
	}
	wait_ms(1);
	assert_true(says("a"));
	answer(200, "{}");
	assert_true(push_status(push)->synced);
	assert_int_equal(push_status(push)->refused, 400);
}

static void test_a_refusal_that_names_nothing_is_no_endless_loop(void **state)
{
	uint64_t before;

	push_start(push, true);
	wait_ms(5);
	before = uv_hrtime() / 1000000;
	answer(422, "{\"detail\":\"a limit\"}");
	assert_non_null(strstr(push_status(push)->error, "a limit"));
	wait_ms(100);
	assert_int_equal(wire.begun, 2);
	assert_in_range(wire.at_ms - before, 45, 1000);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_nothing_is_sent_before_a_registry_has_spoken,
						set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_until_all_have_spoken_nothing_is_removed,
						set_up, tear_down),
		cmocka_unit_test_setup_teardown(
			test_until_all_have_spoken_a_removal_that_failed_is_told_again, set_up,
			tear_down),
		cmocka_unit_test_setup_teardown(test_a_removal_in_a_refused_change_is_told_again,
						set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_a_sinewd_that_lost_a_removal_is_told_again,
						set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_what_came_again_is_not_removed, set_up,
						tear_down),
		cmocka_unit_test_setup_teardown(
			test_a_removal_that_is_refused_does_not_keep_the_rest, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_changes_are_gathered_and_urgent_ones_are_not,
						set_up, tear_down),
		cmocka_unit_test_setup_teardown(
			test_the_first_change_after_a_quiet_time_is_not_kept_waiting, set_up,
			tear_down),
		cmocka_unit_test_setup_teardown(test_a_sinewd_that_lost_count_is_told_all, set_up,
						tear_down),
		cmocka_unit_test_setup_teardown(test_an_absent_sinewd_is_tried_again_and_told_all,
						set_up, tear_down),
		cmocka_unit_test_setup_teardown(
			test_who_could_not_reach_sinewd_makes_it_look_at_once, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_one_refused_object_does_not_keep_the_rest,
						set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_an_object_refused_in_words_is_left_out_too,
						set_up, tear_down),
		cmocka_unit_test_setup_teardown(
			test_a_refusal_that_names_nothing_is_no_endless_loop, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_however_many_are_refused_the_rest_is_sent,
						set_up, tear_down),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
