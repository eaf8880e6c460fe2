/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Exchanges that the test answers, in the place of net/fetch.c: a program includes it once. For
 * those who ask several things at a time, with credentials.
 */
#pragma once

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "net/fetch.h"

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
