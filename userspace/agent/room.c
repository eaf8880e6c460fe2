/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * See room.h. Between push.c and refused.c. Must never ask to leave out what helps nothing.
 */
#include "agent/room.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#define BETWEEN "; at most "

static size_t *find_figure(struct room *r, const char *what, size_t n)
{
	const struct {
		const char *what;
		size_t *figure;
	} known[] = {{"addresses and ports of services", &r->addresses},
		     {"backends", &r->backends},
		     {"policies", &r->policies},
		     {"objects", &r->objects}};

	for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++)
		if (n == strlen(known[i].what) && !strncmp(what, known[i].what, n))
			return known[i].figure;
	return NULL;
}

static bool learn(struct room *r, const char *text)
{
	const char *what, *end = strstr(text, BETWEEN);
	unsigned long long n, most;
	size_t *figure;
	char *rest;

	if (!end || !isdigit((unsigned char)*text) || !isdigit((unsigned char)end[strlen(BETWEEN)]))
		return false;
	n = strtoull(text, &rest, 10);
	most = strtoull(end + strlen(BETWEEN), NULL, 10);
	what = rest + 1;
	if (*rest != ' ' || what > end || n <= most)
		return false;
	figure = find_figure(r, what, (size_t)(end - what));
	if (figure)
		*figure = (size_t)(n - most);
	return figure;
}

bool room_learn(struct room *r, yyjson_val *problem)
{
	yyjson_val *errors = yyjson_obj_get(problem, "errors"), *error;
	bool learned = false;
	size_t i, max;

	*r = (struct room){};
	if (!yyjson_is_arr(errors))
		return learn(r, yyjson_get_str(yyjson_obj_get(problem, "detail")) ?: "");
	yyjson_arr_foreach (errors, i, max, error)
		learned |= learn(r, yyjson_get_str(yyjson_obj_get(error, "detail")) ?: "");
	return learned;
}

static bool take(size_t *figure, size_t n)
{
	size_t taken = n < *figure ? n : *figure;

	*figure -= taken;
	return taken;
}

/* One that gets its address from sinewd has at least one. */
bool room_leave_out(struct room *r, const struct object *o)
{
	const struct service *s = o->service;
	bool helps = take(&r->objects, 1);

	if (o->kind == OBJECT_POLICY)
		helps |= take(&r->policies, 1);
	if (o->kind == OBJECT_SERVICE) {
		helps |= take(&r->addresses, (s->n_addresses ?: 1) * s->n_ports);
		helps |= take(&r->backends, s->n_endpoints * s->n_ports);
	}
	return helps;
}
