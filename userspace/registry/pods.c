/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * See pods.h. Before: a source that was told of pods. After: the agent looks for the pod of a
 * cgroup. It must never choose between two that claim the same uid.
 */
#include "registry/pods.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

int pods_new(struct pods **ret)
{
	struct pods *p = calloc(1, sizeof(*p));

	if (!p)
		return -ENOMEM;
	p->items = calloc(LIMIT_PODS, sizeof(*p->items));
	if (!p->items) {
		free(p);
		return -ENOMEM;
	}
	*ret = p;
	return 0;
}

void pods_clear(struct pods *p)
{
	for (size_t i = 0; i < p->n; i++)
		pod_free(p->items[i].pod);
	p->n = p->left_out = 0;
	p->listed = false;
}

struct pods *pods_free(struct pods *p)
{
	if (!p)
		return NULL;
	pods_clear(p);
	free(p->items);
	free(p);
	return NULL;
}

/* The first one of that uid, or where it would be. */
static size_t place_of(const struct pods *p, const char *uid)
{
	size_t low = 0, high = p->n;

	while (low < high) {
		size_t middle = low + (high - low) / 2;

		if (strcmp(p->items[middle].pod->uid, uid) < 0)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

static bool has_uid(const struct pods *p, size_t at, const char *uid)
{
	return at < p->n && !strcmp(p->items[at].pod->uid, uid);
}

static void drop(struct pods *p, size_t at)
{
	pod_free(p->items[at].pod);
	p->n--;
	memmove(p->items + at, p->items + at + 1, (p->n - at) * sizeof(*p->items));
}

static void drop_named(struct pods *p, const char *namespace, const char *name)
{
	for (size_t i = 0; i < p->n; i++)
		if (!strcmp(p->items[i].pod->name, name) &&
		    !strcmp(p->items[i].pod->namespace, namespace)) {
			drop(p, i);
			return;
		}
}

/* Of those that lists are without. */
static void make_room(struct pods *p)
{
	for (size_t i = 0; i < p->n; i++)
		if (p->items[i].missed_ms) {
			drop(p, i);
			return;
		}
}

int pods_put(struct pods *p, struct pod *pod)
{
	bool is_new = !has_uid(p, place_of(p, pod->uid), pod->uid);
	size_t at;

	drop_named(p, pod->namespace, pod->name);
	if (p->n == LIMIT_PODS)
		make_room(p);
	if (p->n == LIMIT_PODS) {
		p->left_out++;
		pod_free(pod);
		return -E2BIG;
	}
	at = place_of(p, pod->uid);
	memmove(p->items + at + 1, p->items + at, (p->n - at) * sizeof(*p->items));
	p->items[at] = (struct pods_item){.pod = pod, .seen = p->seen};
	p->n++;
	return is_new;
}

void pods_delete(struct pods *p, const char *namespace, const char *name)
{
	drop_named(p, namespace, name);
}

void pods_begin(struct pods *p)
{
	p->seen++;
	p->left_out = 0;
}

void pods_end(struct pods *p, uint64_t now_ms)
{
	for (size_t i = p->n; i > 0; i--) {
		struct pods_item *item = &p->items[i - 1];

		if (item->seen == p->seen)
			continue;
		if (!item->missed_ms)
			item->missed_ms = now_ms;
		else if (now_ms - item->missed_ms >= PODS_LINGER_MS)
			drop(p, i - 1);
	}
	p->listed = true;
}

const struct pod *pods_find(const struct pods *p, const char *uid)
{
	size_t at = place_of(p, uid);

	return has_uid(p, at, uid) && !has_uid(p, at + 1, uid) ? p->items[at].pod : NULL;
}
