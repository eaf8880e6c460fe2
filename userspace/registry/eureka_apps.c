/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The table of instances. Before it: eureka_decode.c. It never asks a server and never believes an
 * answer by half: a change is applied whole or not at all.
 */
#include "registry/eureka_apps.h"

#include <errno.h>
#include <string.h>

#include "model/limits.h"
#include "registry/eureka_lost.h"

static int compare(const struct eureka_instance *a, const struct eureka_instance *b)
{
	int r = strcmp(a->app, b->app);

	return r ? r : strcmp(a->id, b->id);
}

static int compare_order(const void *x, const void *y)
{
	const struct eureka_instance *a = x, *b = y;
	int r = compare(a, b);

	return r ? r : (a->order > b->order) - (a->order < b->order);
}

void eureka_apps_done(struct eureka_apps *a)
{
	for (size_t i = 0; i < a->n; i++)
		eureka_instance_done(&a->instances[i]);
	free(a->instances);
	*a = (struct eureka_apps){};
}

/* Of several that are the same instance the last one stays. */
static void sort(struct eureka_answer *a)
{
	size_t n = 0;

	if (a->n)
		qsort(a->instances, a->n, sizeof(*a->instances), compare_order);
	for (size_t i = 0; i < a->n; i++) {
		if (n && !compare(&a->instances[n - 1], &a->instances[i]))
			eureka_instance_done(&a->instances[--n]);
		a->instances[n++] = a->instances[i];
	}
	a->n = n;
}

/* How many there are afterwards; with `to`, moves them there. */
static size_t merge(struct eureka_apps *a, struct eureka_answer *b, struct eureka_instance *to)
{
	size_t i = 0, j = 0, n = 0;

	while (i < a->n || j < b->n) {
		int r = i == a->n   ? 1
			: j == b->n ? -1
				    : compare(&a->instances[i], &b->instances[j]);
		struct eureka_instance *from = r < 0 ? &a->instances[i] : &b->instances[j];

		if (to && r == 0)
			eureka_instance_done(&a->instances[i]);
		i += r <= 0;
		j += r >= 0;
		if (r >= 0 && from->deleted) {
			if (to)
				eureka_instance_done(from);
			continue;
		}
		if (to)
			to[n] = *from;
		n++;
	}
	return n;
}

int eureka_apps_apply(struct eureka_apps *a, struct eureka_answer *answer, bool is_delta,
		      struct eureka_lost *lost)
{
	struct eureka_apps none = {}, *before = is_delta ? a : &none;
	struct eureka_instance *to;
	size_t n;

	for (size_t i = 0; i < answer->n && !is_delta; i++)
		answer->instances[i].deleted = false; /* a word of deltas alone */
	sort(answer);
	n = merge(before, answer, NULL);
	to = n <= LIMIT_FOUND_ENDPOINTS ? calloc(n ? n : 1, sizeof(*to)) : NULL;
	if (!to) {
		eureka_answer_done(answer);
		return n <= LIMIT_FOUND_ENDPOINTS ? -ENOMEM : -E2BIG;
	}
	if (lost)
		eureka_lost_note(lost, a, answer, is_delta);
	(void)merge(before, answer, to);
	answer->n = 0; /* moved, each of them */
	eureka_answer_done(answer);
	before->n = 0;
	eureka_apps_done(a);
	*a = (struct eureka_apps){.instances = to, .n = n};
	return 0;
}

size_t eureka_apps_find(const struct eureka_apps *a, const char *app, size_t *ret_first)
{
	size_t from = 0, to = a->n, n = 0;

	while (from < to) {
		size_t at = from + (to - from) / 2;

		if (strcmp(a->instances[at].app, app) < 0)
			from = at + 1;
		else
			to = at;
	}
	while (from + n < a->n && !strcmp(a->instances[from + n].app, app))
		n++;
	*ret_first = from;
	return n;
}

void eureka_apps_hash(const struct eureka_apps *a, struct text_buffer *ret)
{
	size_t counts[_EUREKA_STATUS_MAX] = {};

	for (size_t i = 0; i < a->n; i++)
		counts[a->instances[i].status]++;
	text_append(ret, "");
	for (size_t i = 0; i < _EUREKA_STATUS_MAX; i++)
		if (counts[i])
			text_append_format(ret, "%s_%zu_",
					   eureka_status_name((enum eureka_status)i), counts[i]);
}

bool eureka_instance_is_usable(const struct eureka_instance *i)
{
	return i->status == EUREKA_UP && i->has_address && (i->port || i->secure_port) &&
	       (i->overridden == EUREKA_UNKNOWN || i->overridden == EUREKA_UP);
}
