/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * register/registrar, queue, entry and the writers: what registries are asked, in which order, and
 * what becomes of their answers. The exchanges are the test's own; time is the loop's.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <sinew/service.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "model/address.h"
#include "register/registrar.h"

/* --- exchanges that the test answers -----------------------------------------------------------
 */

#define ASKED_MAX 64

struct fetch {
	bool under_way;
	char what[300]; /* "PUT http://... body" without the body's rest */
	char *body;
	char authorization[100];
	void (*on_done)(void *arg, const struct fetch_result *result);
	void *arg;
};

static struct {
	struct fetch asked[ASKED_MAX];
	size_t n, begun_at[ASKED_MAX];
} wire;

int fetch_begin(struct fetcher *f, const struct fetch_request *q, struct fetch **ret)
{
	struct fetch *x = &wire.asked[wire.n];

	assert_true(wire.n < ASKED_MAX);
	wire.begun_at[wire.n++] = uv_hrtime() / 1000000;
	*x = (struct fetch){.under_way = true, .on_done = q->on_done, .arg = q->arg};
	(void)snprintf(x->what, sizeof(x->what), "%s %s", q->method, q->url);
	x->body = q->body ? strndup(q->body, q->length) : NULL;
	for (size_t i = 0; q->headers[i]; i++)
		if (strstr(q->headers[i], "uthorization: ") || strstr(q->headers[i], "Token: "))
			(void)snprintf(x->authorization, sizeof(x->authorization), "%s",
				       q->headers[i]);
	*ret = x;
	return 0;
}

struct fetch *fetch_cancel(struct fetch *x)
{
	if (x)
		x->under_way = false;
	return NULL;
}

const char *fetch_header(const struct fetch *fetch, const char *name)
{
	return NULL;
}

static size_t under_way(void)
{
	size_t n = 0;

	for (size_t i = 0; i < wire.n; i++)
		n += wire.asked[i].under_way;
	return n;
}

static void forget_asked(void)
{
	while (wire.n)
		free(wire.asked[--wire.n].body);
}

/* The first exchange under way that begins so; NULL: none does. */
static struct fetch *asked(const char *what)
{
	for (size_t i = 0; i < wire.n; i++)
		if (wire.asked[i].under_way && !strncmp(wire.asked[i].what, what, strlen(what)))
			return &wire.asked[i];
	return NULL;
}

static void answer(const char *what, unsigned int status, const char *body)
{
	struct fetch *x = asked(what);
	const struct fetch_result result = {
		.status = status, .error_text = "", .body = body, .length = strlen(body)};

	if (!x)
		print_error("nobody asked %s\n", what);
	assert_non_null(x);
	x->under_way = false;
	x->on_done(x->arg, &result);
}

static void answer_error(const char *what, int error)
{
	struct fetch *x = asked(what);
	const struct fetch_result result = {
		.error = error, .error_text = "nobody answers", .body = ""};

	assert_non_null(x);
	x->under_way = false;
	x->on_done(x->arg, &result);
}

/* --- the loop ----------------------------------------------------------------------------------
 */

static uv_loop_t loop;
static struct registrar *registrar;
static char said[4000]; /* what the host was told, "id state;" */
static bool left;

static struct registry_config configs[] = {
	{.name = (char *)"dc1", .type = (char *)"consul"},
	{.name = (char *)"e", .type = (char *)"eureka", .address = (char *)"http://e:1"},
	{.name = (char *)"k", .type = (char *)"etcd", .prefix = (char *)"svc/"},
	{.name = (char *)"k8s", .type = (char *)"kubernetes"},
	{.name = (char *)"bad", .type = (char *)"consul", .address = (char *)"http://a:b@c"},
};

static void on_changed(void *arg, const struct registrar_item *item, bool gone)
{
	size_t n = strlen(said);

	(void)snprintf(said + n, sizeof(said) - n, "%s %s;", item->id,
		       gone ? "gone" : record_state_name(item->state));
}

static void on_failing(void *arg, unsigned int registry, const char *text)
{
	size_t n = strlen(said);

	(void)snprintf(said + n, sizeof(said) - n, "%s %s;", configs[registry].name,
		       text ? "down" : "up");
}

static void on_left(void *arg)
{
	left = true;
}

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

static int open_all(size_t n)
{
	const struct registrar_config config = {configs, n, "n1"};
	const struct registrar_host host = {NULL, on_changed, on_failing, on_left};

	memset(&wire, 0, sizeof(wire));
	*said = '\0';
	left = false;
	assert_int_equal(uv_loop_init(&loop), 0);
	return registrar_new(&loop, NULL, &config, &host, &registrar);
}

static int set_up(void **state)
{
	return open_all(1);
}

static int set_up_all(void **state)
{
	return open_all(5);
}

static int tear_down(void **state)
{
	registrar_close(registrar);
	(void)uv_run(&loop, UV_RUN_DEFAULT);
	assert_int_equal(under_way(), 0);
	forget_asked();
	return uv_loop_close(&loop);
}

/* --- what is wanted ----------------------------------------------------------------------------
 */

static struct match wanted;
static char *tag;
static uint32_t ttl_ms = 15000;

static void want(unsigned int registry, const char *service)
{
	struct registration r = {.namespace = (char *)"shop",
				 .name = (char *)service,
				 .service = (char *)service,
				 .port = 80,
				 .proto = SN_PROTO_TCP,
				 .tags = &tag,
				 .n_tags = tag != NULL,
				 .ttl_ms = ttl_ms};
	struct sn_addr addr;

	wanted.items = reallocarray(wanted.items, wanted.n + 1, sizeof(*wanted.items));
	assert_int_equal(address_parse("10.0.0.5", &addr), 0);
	wanted.items[wanted.n] = (struct match_instance){.registry = registry};
	assert_int_equal(instance_new(&r, &addr, "n1", &wanted.items[wanted.n++].instance), 0);
}

/* Tells it, and forgets it. */
static void tell(bool whole)
{
	assert_int_equal(registrar_want(registrar, &wanted, whole), 0);
	match_done(&wanted);
	wait_ms(1);
}

#define CONSUL "http://127.0.0.1:8500/v1/agent/"
#define REGISTER "PUT " CONSUL "service/register"
#define LIST "GET " CONSUL "services?filter="
#define DROP(service) "PUT " CONSUL "service/deregister/sinew%3An1%3A" service "%3A10.0.0.5%3A80"
#define KEEP(service) "PUT " CONSUL "check/pass/service%3Asinew%3An1%3A" service "%3A10.0.0.5%3A80"
#define ID(service) "sinew:n1:" service ":10.0.0.5:80"
#define OWNED(service)                                                                             \
	"{\"x\":{\"ID\":\"" ID(service) "\",\"Service\":\"" service                                \
					"\",\"Meta\":{\"sinew-node\":\"n1\"}}}"

static void assert_said(const char *text)
{
	assert_string_equal(said, text);
	*said = '\0';
}

/* One instance that is there. */
static void begin_with(const char *service)
{
	wait_ms(1);
	answer(LIST, 200, "{}");
	want(0, service);
	tell(true);
	answer(REGISTER, 200, "");
	assert_int_equal(under_way(), 0);
	*said = '\0';
}

/* --- Consul ------------------------------------------------------------------------------------
 */

static void test_it_is_registered_and_removed(void **state)
{
	wait_ms(1);
	assert_string_equal(wire.asked[0].what,
			    LIST "Meta%5B%22sinew-node%22%5D%20%3D%3D%20%22n1%22");
	answer(LIST, 200, "{}");
	want(0, "pay");
	tell(true);
	assert_non_null(strstr(asked(REGISTER)->body, "\"ID\":\"" ID("pay") "\""));
	assert_said(ID("pay") " pending;");
	answer(REGISTER, 200, "");
	assert_said(ID("pay") " registered;");
	tell(true);
	assert_said(ID("pay") " leaving;");
	answer(DROP("pay"), 200, "");
	assert_said(ID("pay") " gone;");
	assert_int_equal(under_way(), 0);
}

static void test_it_is_kept_three_times_in_a_lease(void **state)
{
	uint64_t began = uv_hrtime() / 1000000;

	ttl_ms = 300;
	begin_with("pay");
	wait_ms(40);
	assert_null(asked(KEEP("pay")));
	wait_ms(80);
	answer(KEEP("pay"), 200, "");
	assert_in_range(wire.begun_at[wire.n - 1] - began, 95, 1000);
	wait_ms(120);
	answer(KEEP("pay"), 200, "");
	ttl_ms = 15000;
	assert_said("");
}

static void test_one_that_the_registry_lost_is_registered_anew(void **state)
{
	ttl_ms = 30;
	begin_with("pay");
	wait_ms(20);
	answer(KEEP("pay"), 404, "Unknown check ID");
	ttl_ms = 15000;
	assert_said(ID("pay") " pending;");
	answer(REGISTER, 200, "");
	assert_said(ID("pay") " registered;");
}

static void test_one_that_comes_back_while_it_is_removed_is_registered_after_that(void **state)
{
	begin_with("pay");
	tell(true);
	assert_non_null(asked(DROP("pay")));
	want(0, "pay");
	tell(true);
	assert_null(asked(REGISTER)); /* one thing at a time */
	answer(DROP("pay"), 200, "");
	answer(REGISTER, 200, "");
	assert_int_equal(under_way(), 0);
}

static void test_one_that_goes_while_it_is_registered_is_removed_after_that(void **state)
{
	wait_ms(1);
	answer(LIST, 200, "{}");
	want(0, "pay");
	tell(true);
	tell(true);
	answer_error(REGISTER, -ETIMEDOUT); /* perhaps it is there */
	wait_ms(250);
	answer(DROP("pay"), 404, "Unknown service ID");
	assert_int_equal(under_way(), 0);
	assert_non_null(strstr(said, ID("pay") " gone;"));
}

static void test_what_changed_is_told_and_a_refused_change_costs_nothing(void **state)
{
	ttl_ms = 300;
	begin_with("pay");
	tag = (char *)"v2";
	want(0, "pay");
	tell(true);
	assert_non_null(strstr(asked(REGISTER)->body, "\"v2\""));
	answer(REGISTER, 400, "bad tag");
	assert_said(ID("pay") " pending;" ID("pay") " failing;");
	wait_ms(120);
	answer(KEEP("pay"), 200, ""); /* it lives on as it was */
	tag = NULL;
	want(0, "pay");
	tell(true);
	ttl_ms = 15000;
	assert_int_equal(under_way(), 0); /* as it is there */
}

static void test_removals_come_first(void **state)
{
	begin_with("pay");
	forget_asked();
	for (char c = 'a'; c <= 'k'; c++)
		want(0, (char[]){c, 0});
	tell(true);
	assert_int_equal(under_way(), 8); /* so many at once */
	assert_true(asked(DROP("pay")) == &wire.asked[0]);
	while (under_way())
		answer("PUT", 200, "");
}

static void test_a_registry_that_is_down_is_asked_by_one_and_nothing_is_forgotten(void **state)
{
	begin_with("pay");
	want(0, "a");
	want(0, "b");
	tell(true);
	answer_error(DROP("pay"), -ECONNREFUSED);
	answer_error(REGISTER, -ECONNREFUSED);
	answer_error(REGISTER, -ECONNREFUSED);
	assert_int_equal(under_way(), 0);
	assert_non_null(strstr(said, "dc1 down;"));
	*said = '\0';
	for (int i = 0; i < 5; i++) {
		wait_ms(60);
		assert_true(under_way() <= 1);
		while (asked("PUT"))
			answer_error("PUT", -ECONNREFUSED);
	}
	for (int i = 0; i < 40 && !asked("PUT"); i++)
		wait_ms(100);
	answer("PUT", 200, "");
	assert_non_null(strstr(said, "dc1 up;"));
	for (int i = 0; i < 40; i++) {
		wait_ms(100);
		while (asked("PUT"))
			answer("PUT", 200, "");
	}
	assert_non_null(strstr(said, ID("pay") " gone;"));
	assert_non_null(strstr(said, ID("a") " registered;"));
	assert_non_null(strstr(said, ID("b") " registered;"));
}

static void test_one_that_breaks_the_server_does_not_stop_the_others(void **state)
{
	begin_with("a");
	want(0, "b");
	tell(true);
	for (int i = 0; i < 10; i++) { /* "a" is removed, the server says 500 to that */
		while (asked(DROP("a")))
			answer(DROP("a"), 500, "oops");
		while (asked(REGISTER))
			answer(REGISTER, 200, "");
		wait_ms(50);
	}
	assert_non_null(strstr(said, ID("b") " registered;"));
	assert_null(strstr(said, ID("a") " gone;"));
}

/* --- what was there before us ------------------------------------------------------------------
 */

static void test_what_an_agent_before_us_left_stays_until_all_is_known(void **state)
{
	wait_ms(1);
	answer(LIST, 200, OWNED("pay"));
	assert_said(ID("pay") " found;");
	answer(KEEP("pay"), 200, "");
	tell(false); /* sinewd has not told everything */
	assert_int_equal(under_way(), 0);
	want(0, "pay");
	tell(true);
	assert_said(ID("pay") " pending;");
	answer(REGISTER, 200, "");
	assert_said(ID("pay") " registered;");
	assert_int_equal(under_way(), 0);
}

static void test_what_nobody_wants_any_more_is_removed_once_all_is_known(void **state)
{
	wait_ms(1);
	answer(LIST, 200, OWNED("pay"));
	answer(KEEP("pay"), 200, "");
	tell(true);
	answer(DROP("pay"), 200, "");
	assert_non_null(strstr(said, ID("pay") " gone;"));
	assert_int_equal(under_way(), 0);
}

static void test_a_list_that_comes_late_removes_what_is_left_over(void **state)
{
	wait_ms(1);
	answer_error(LIST, -ECONNREFUSED);
	want(0, "a");
	tell(true);
	wait_ms(250);
	answer(REGISTER, 200, "");
	wait_ms(5);
	answer(LIST, 200, OWNED("pay"));
	answer(DROP("pay"), 200, "");
	assert_int_equal(under_way(), 0);
}

static void test_one_that_may_not_list_registers_all_the_same(void **state)
{
	wait_ms(1);
	answer(LIST, 403, "Permission denied");
	want(0, "a");
	tell(true);
	answer(REGISTER, 200, "");
	assert_int_equal(under_way(), 0); /* it is tried again, but seldom */
	assert_string_equal(registrar_failure(registrar, 0), "");
}

/* --- the end -----------------------------------------------------------------------------------
 */

static void test_leaving_takes_everything_out(void **state)
{
	begin_with("a");
	registrar_leave(registrar);
	assert_false(left);
	answer_error(DROP("a"), -ECONNRESET);
	assert_false(left);
	wait_ms(350);
	answer(DROP("a"), 200, "");
	assert_true(left);
	want(0, "a");
	tell(true); /* too late */
	assert_int_equal(under_way(), 0);
}

static void test_leaving_without_anything_is_done_at_once(void **state)
{
	registrar_leave(registrar);
	assert_true(left);
}

/* --- the other kinds ---------------------------------------------------------------------------
 */

static void test_who_can_be_written(void **state)
{
	assert_int_equal(registrar_find(registrar, "dc1"), 0);
	assert_int_equal(registrar_find(registrar, "k"), 2);
	assert_int_equal(registrar_find(registrar, "k8s"), -EROFS);
	assert_int_equal(registrar_find(registrar, "bad"), -EROFS);
	assert_int_equal(registrar_find(registrar, "x"), -ENOENT);
	assert_non_null(strstr(registrar_failure(registrar, 4), "credentials"));
}

static void test_eureka(void **state)
{
	wait_ms(1);
	answer("GET http://e:1/apps", 404, "");
	answer("GET http://e:1/eureka/apps", 200, "{\"applications\":{}}");
	want(1, "pay");
	tell(true);
	answer("POST http://e:1/eureka/apps/PAY", 204, "");
	tell(true);
	answer("DELETE http://e:1/eureka/apps/PAY/sinew%3An1%3Apay%3A10.0.0.5%3A80", 200, "");
	assert_null(asked("POST http://e"));
}

#define ETCD "POST http://127.0.0.1:2379/v3/"

static void test_etcd(void **state)
{
	ttl_ms = 30;
	wait_ms(1);
	answer(ETCD "kv/range", 200, "{\"header\":{}}");
	want(2, "pay");
	tell(true);
	assert_string_equal(asked(ETCD "lease/grant")->body, "{\"TTL\":\"1\"}");
	answer(ETCD "lease/grant", 200, "{\"ID\":\"77\",\"TTL\":\"1\"}");
	assert_non_null(strstr(asked(ETCD "kv/put")->body, "\"lease\":\"77\""));
	answer(ETCD "kv/put", 404, "{\"code\":5}"); /* it ended meanwhile */
	answer(ETCD "lease/grant", 200, "{\"ID\":\"78\"}");
	answer(ETCD "kv/put", 200, "{}");
	wait_ms(20);
	assert_string_equal(asked(ETCD "lease/keepalive")->body, "{\"ID\":\"78\"}");
	answer(ETCD "lease/keepalive", 200, "{\"result\":{\"ID\":\"78\",\"TTL\":\"1\"}}");
	wait_ms(20);
	answer(ETCD "lease/keepalive", 200, "{\"result\":{\"ID\":\"78\"}}"); /* it has ended */
	answer(ETCD "lease/grant", 200, "{\"ID\":\"79\"}");
	answer(ETCD "kv/put", 200, "{}");
	ttl_ms = 15000;
	tell(true);
	assert_string_equal(asked(ETCD "lease/revoke")->body, "{\"ID\":\"79\"}");
	answer(ETCD "lease/revoke", 200, "{}");
	assert_null(asked(ETCD));
}

static void test_etcd_with_another_lease_moves_the_key(void **state)
{
	wait_ms(1);
	answer(ETCD "kv/range", 200, "{}");
	want(2, "pay");
	tell(true);
	answer(ETCD "lease/grant", 200, "{\"ID\":\"77\"}");
	answer(ETCD "kv/put", 200, "{}");
	ttl_ms = 30000;
	want(2, "pay");
	tell(true);
	answer(ETCD "lease/grant", 200, "{\"ID\":\"78\"}");
	assert_non_null(strstr(asked(ETCD "kv/put")->body, "\"lease\":\"78\""));
	answer(ETCD "kv/put", 200, "{}");
	ttl_ms = 15000;
}

#define T(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)
#define T_ALL(f) cmocka_unit_test_setup_teardown(f, set_up_all, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(test_it_is_registered_and_removed),
		T(test_it_is_kept_three_times_in_a_lease),
		T(test_one_that_the_registry_lost_is_registered_anew),
		T(test_one_that_comes_back_while_it_is_removed_is_registered_after_that),
		T(test_one_that_goes_while_it_is_registered_is_removed_after_that),
		T(test_what_changed_is_told_and_a_refused_change_costs_nothing),
		T(test_removals_come_first),
		T(test_a_registry_that_is_down_is_asked_by_one_and_nothing_is_forgotten),
		T(test_one_that_breaks_the_server_does_not_stop_the_others),
		T(test_what_an_agent_before_us_left_stays_until_all_is_known),
		T(test_what_nobody_wants_any_more_is_removed_once_all_is_known),
		T(test_a_list_that_comes_late_removes_what_is_left_over),
		T(test_one_that_may_not_list_registers_all_the_same),
		T(test_leaving_takes_everything_out),
		T(test_leaving_without_anything_is_done_at_once),
		T_ALL(test_who_can_be_written),
		T_ALL(test_eureka),
		T_ALL(test_etcd),
		T_ALL(test_etcd_with_another_lease_moves_the_key),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
