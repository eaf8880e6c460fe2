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
#include "unit/wire.h"

/* --- the loop ----------------------------------------------------------------------------------
 */

static uv_loop_t loop;
static struct registrar *registrar;
static char said[4000]; /* what the host was told, "id state;" */
static bool left;
static unsigned int opened;

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

static inline void on_failing(void *arg, const char *registry, const char *text)
{
	size_t n = strlen(said);

	(void)snprintf(said + n, sizeof(said) - n, "%s %s;", registry, text ? "down" : "up");
}

static inline void on_left(void *arg)
{
	left = true;
}

static inline void on_opened(void *arg)
{
	opened++;
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
	const struct registrar_host host = {
		.changed = on_changed, .failing = on_failing, .opened = on_opened, .left = on_left};

	memset(&wire, 0, sizeof(wire));
	*said = '\0';
	left = false;
	assert_int_equal(uv_loop_init(&loop), 0);
	opened = 0;
	assert_int_equal(registrar_new(&loop, NULL, "n1", &host, &registrar), 0);
	for (unsigned int i = 0; i < n; i++)
		assert_int_equal(registrar_set(registrar, i, &configs[i]), 0);
	return 0;
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
