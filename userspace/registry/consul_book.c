/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * See consul_book.h. Before: consul_service.c and consul_words.c made the objects. After: consul.c
 * says what changed. It must never forget one voice because the other one fell silent.
 */
#include "registry/consul_book.h"

#include <errno.h>
#include <search.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

struct page {
	enum object_kind kind;
	char *namespace, *name;
	struct object voices[_CONSUL_VOICE_MAX]; /* OBJECT_NONE: it has none */
};

struct consul_book {
	void *tree; /* of pages; see tsearch(3) */
	size_t n;
};

int consul_book_new(struct consul_book **ret)
{
	struct consul_book *b = calloc(1, sizeof(*b));

	if (!b)
		return -ENOMEM;
	*ret = b;
	return 0;
}

static void page_free(void *page)
{
	struct page *p = page;

	for (size_t i = 0; i < _CONSUL_VOICE_MAX; i++)
		object_done(&p->voices[i]);
	free(p->namespace);
	free(p->name);
	free(p);
}

struct consul_book *consul_book_free(struct consul_book *b)
{
	if (b)
		tdestroy(b->tree, page_free);
	free(b);
	return NULL;
}

struct object consul_book_share(const struct object *o)
{
	struct object copy = {.kind = o->kind};

	if (o->service)
		copy.service = service_ref(o->service);
	if (o->policy)
		copy.policy = policy_ref(o->policy);
	return copy;
}

struct consul_title consul_book_title(const struct object *o)
{
	if (o->kind == OBJECT_SERVICE)
		return (struct consul_title){o->kind, o->service->namespace, o->service->name};
	return (struct consul_title){o->kind, o->policy->namespace, o->policy->name};
}

/* --- pages ------------------------------------------------------------------------------------ */

static int compare(const void *x, const void *y)
{
	const struct page *a = x, *b = y;
	int r = (int)a->kind - (int)b->kind;

	if (!r)
		r = strcmp(a->namespace, b->namespace);
	return r ? r : strcmp(a->name, b->name);
}

static struct page *find(const struct consul_book *b, const struct consul_title *t)
{
	struct page key = {t->kind, (char *)t->namespace, (char *)t->name, {}};
	struct page **at = tfind(&key, &b->tree, compare);

	return at ? *at : NULL;
}

static struct page *add(struct consul_book *b, const struct consul_title *t)
{
	struct page *p = calloc(1, sizeof(*p));

	if (!p)
		return NULL;
	p->kind = t->kind;
	p->namespace = strdup(t->namespace);
	p->name = strdup(t->name);
	if (!p->namespace || !p->name || !tsearch(p, &b->tree, compare)) {
		page_free(p);
		return NULL;
	}
	b->n++;
	return p;
}

static const struct object *now_of(const struct page *p)
{
	for (size_t i = 0; i < _CONSUL_VOICE_MAX; i++)
		if (p->voices[i].kind != OBJECT_NONE)
			return &p->voices[i];
	return NULL;
}

static void drop_if_empty(struct consul_book *b, struct page *p)
{
	if (now_of(p))
		return;
	(void)tdelete(p, &b->tree, compare);
	page_free(p);
	b->n--;
}

static bool is_equal(const struct object *a, const struct object *b)
{
	if (!a || !b)
		return a == b;
	return a->kind == OBJECT_SERVICE ? service_is_equal(a->service, b->service)
					 : policy_is_equal(a->policy, b->policy);
}

int consul_book_set(struct consul_book *b, enum consul_voice voice,
		    const struct consul_title *title, struct object *object,
		    struct consul_entry *ret)
{
	struct page *p = find(b, title);
	struct object before = {};
	const struct object *now;

	*ret = (struct consul_entry){};
	if (!p && !object)
		return 0;
	if (!p)
		p = add(b, title);
	if (!p) {
		object_done(object);
		return -ENOMEM;
	}
	now = now_of(p);
	if (now)
		before = consul_book_share(now);
	object_done(&p->voices[voice]);
	p->voices[voice] = object ? *object : (struct object){};
	ret->now = now_of(p);
	ret->changed = !is_equal(before.kind ? &before : NULL, ret->now);
	object_done(&before);
	drop_if_empty(b, p);
	return 0;
}

const struct object *consul_book_find(const struct consul_book *b, enum consul_voice voice,
				      const struct consul_title *title)
{
	const struct page *p = find(b, title);

	return p && p->voices[voice].kind ? &p->voices[voice] : NULL;
}

/* --- all -------------------------------------------------------------------------------------- */

struct gathering {
	struct object *objects;
	size_t n;
};

static void gather(const void *node, VISIT which, void *arg)
{
	const struct page *const *p = node;
	struct gathering *g = arg;

	if (which == postorder || which == leaf)
		g->objects[g->n++] = consul_book_share(now_of(*p));
}

int consul_book_all(const struct consul_book *b, struct object **ret, size_t *ret_n)
{
	struct gathering g = {.objects = calloc(b->n + 1, sizeof(*g.objects))};

	if (!g.objects)
		return -ENOMEM;
	twalk_r(b->tree, gather, &g);
	*ret = g.objects;
	*ret_n = g.n;
	return 0;
}
