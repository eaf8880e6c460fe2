/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A registrar whose exchanges the test answers, on a loop of its own: for test_registrar.c and
 * test_writer.c, which link it instead of net/fetch.c. Time is the loop's.
 */
#pragma once

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
#include <unistd.h>

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

static inline size_t under_way(void)
{
	size_t n = 0;

	for (size_t i = 0; i < wire.n; i++)
		n += wire.asked[i].under_way;
	return n;
}

static inline void forget_asked(void)
{
	while (wire.n)
		free(wire.asked[--wire.n].body);
}

/* The first exchange under way that begins so; NULL: none does. */
static inline struct fetch *asked(const char *what)
{
	for (size_t i = 0; i < wire.n; i++)
		if (wire.asked[i].under_way && !strncmp(wire.asked[i].what, what, strlen(what)))
			return &wire.asked[i];
	return NULL;
}

static inline void answer(const char *what, unsigned int status, const char *body)
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

static inline void on_changed(void *arg, const struct registrar_item *item, bool gone)
{
	size_t n = strlen(said);

	(void)snprintf(said + n, sizeof(said) - n, "%s %s;", item->id,
		       gone ? "gone" : record_state_name(item->state));
}

static inline void on_failing(void *arg, unsigned int registry, const char *text)
{
	size_t n = strlen(said);

	(void)snprintf(said + n, sizeof(said) - n, "%s %s;", configs[registry].name,
		       text ? "down" : "up");
}

static inline void on_left(void *arg)
{
	left = true;
}

static inline void on_bell(uv_timer_t *timer)
{
	uv_stop(timer->loop);
}

static inline void wait_ms(uint64_t ms)
{
	uv_timer_t bell;

	uv_update_time(&loop);
	assert_int_equal(uv_timer_init(&loop, &bell), 0);
	assert_int_equal(uv_timer_start(&bell, on_bell, ms, 0), 0);
	(void)uv_run(&loop, UV_RUN_DEFAULT);
	uv_close((uv_handle_t *)&bell, NULL);
	(void)uv_run(&loop, UV_RUN_NOWAIT);
}

static inline int open_all(size_t n)
{
	const struct registrar_config config = {configs, n, "n1"};
	const struct registrar_host host = {NULL, on_changed, on_failing, on_left};

	memset(&wire, 0, sizeof(wire));
	*said = '\0';
	left = false;
	assert_int_equal(uv_loop_init(&loop), 0);
	return registrar_new(&loop, NULL, &config, &host, &registrar);
}

static inline int set_up(void **state)
{
	return open_all(1);
}

static inline int set_up_all(void **state)
{
	return open_all(5);
}

static inline int tear_down(void **state)
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

static inline void want(unsigned int registry, const char *service)
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
static inline void tell(bool whole)
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

static inline void assert_said(const char *text)
{
	assert_string_equal(said, text);
	*said = '\0';
}

/* One instance that is there. */
static inline void begin_with(const char *service)
{
	wait_ms(1);
	answer(LIST, 200, "{}");
	want(0, service);
	tell(true);
	answer(REGISTER, 200, "");
	assert_int_equal(under_way(), 0);
	*said = '\0';
}
