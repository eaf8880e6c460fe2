/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * See room.h. Between push.c and refused.c. Must never ask to leave out what helps nothing.
 */
#include "agent/room.h"

#include <string.h>

static size_t *find_figure(struct room *r, const char *of)
{
	const struct {
		const char *of;
		size_t *figure;
	} known[] = {{"frontends", &r->frontends},
		     {"backends", &r->backends},
		     {"policies", &r->policies},
		     {"objects", &r->objects}};

	for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++)
		if (!strcmp(of, known[i].of))
			return known[i].figure;
	return NULL;
}

static bool learn(struct room *r, yyjson_val *limit)
{
	const char *of = yyjson_get_str(yyjson_obj_get(limit, "of"));
	yyjson_val *count = yyjson_obj_get(limit, "count"), *most = yyjson_obj_get(limit, "most");
	size_t *figure = NULL;

	if (of && yyjson_is_uint(count) && yyjson_is_uint(most) &&
	    yyjson_get_uint(count) > yyjson_get_uint(most))
		figure = find_figure(r, of);
	if (figure)
		*figure = yyjson_get_uint(count) - yyjson_get_uint(most);
	return figure;
}

bool room_learn(struct room *r, yyjson_val *problem)
{
	yyjson_val *errors = yyjson_obj_get(problem, "errors"), *error;
	bool learned = false;
	size_t i, max;

	*r = (struct room){};
	yyjson_arr_foreach (errors, i, max, error)
		learned |= learn(r, yyjson_obj_get(error, "limit"));
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
		helps |= take(&r->frontends, (s->n_addresses ?: 1) * s->n_ports);
		helps |= take(&r->backends, s->n_endpoints * s->n_ports);
	}
	return helps;
}
