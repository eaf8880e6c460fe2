/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A push under a test's hands: the exchange with sinewd and the merge are the test's own, time is
 * the loop's. Before: test_push*.c, one program each. Never decides what is right.
 */
#pragma once

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
	ret->urgent = ret->n_deletes;
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

static void on_refused(void *arg, enum object_kind kind, const char *name, const char *reason)
{
	(void)snprintf(arg, 200, "%s: %s", name, reason);
}
