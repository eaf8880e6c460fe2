/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What several registries say of a service, as one service; and what became of it since last time.
 * Before: merge.c took words. After: the change goes to the control API. Must never lose a change:
 * what could not be made is made the next time.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "registry/merge_state.h"

enum rank { RANK_NAMED, RANK_DRAINED, RANK_SUSPECT };

/* --- one service of all ------------------------------------------------------------------- */

static int add_part_endpoints(struct merge *m, const struct merge_part *p)
{
	struct merge_source *s = &m->sources[p->source];
	const struct service *from = p->now.believed;
	int r = 0;

	if (s->stale == STALE_FAIL)
		return 0;
	if (!join_from(&m->join, from)) {
		s->refused += from->n_endpoints;
		return 0;
	}
	for (size_t i = 0; r >= 0 && i < from->n_endpoints; i++) {
		struct join_mark mark = {.source = s->order,
					 .flags = from->endpoints[i].flags,
					 .weight = from->endpoints[i].weight};
		bool added = true;

		if (s->stale == STALE_DRAIN)
			mark.weight = 0;
		mark.rank = mark.flags & ENDPOINT_SUSPECT ? RANK_SUSPECT
			    : s->stale == STALE_DRAIN     ? RANK_DRAINED
							  : RANK_NAMED;
		r = join_add(&m->join, i, &mark, &added);
		s->refused += !added;
	}
	return r;
}

static int build_service(struct merge *m, const struct merge_node *node, struct service **ret)
{
	size_t left_out[LIMIT_REGISTRIES] = {0};
	const struct merge_part *p = node->parts;
	const char *tags[LIMIT_REGISTRIES];
	int r;

	while (p && !p->now.believed)
		p = p->next_part;
	if (!p)
		return 0;
	r = join_begin(&m->join, p->now.believed);
	for (; p && r >= 0; p = p->next_part)
		if (p->now.believed)
			r = add_part_endpoints(m, p);
	if (r < 0)
		return r;
	join_sort(&m->join);
	for (unsigned int i = 0; i < LIMIT_REGISTRIES; i++)
		tags[m->sources[i].order] = m->sources[i].tag;
	r = join_finish(&m->join, tags, left_out, ret, NULL);
	for (unsigned int i = 0; r >= 0 && i < LIMIT_REGISTRIES; i++)
		m->sources[i].refused += left_out[m->sources[i].order];
	return r;
}

static int build(struct merge *m, struct merge_node *node)
{
	const struct merge_part *p = node->parts;
	int r = 0;

	if (node->was_built)
		return 0;
	if (node->kind == OBJECT_SERVICE) {
		r = build_service(m, node, &node->fresh.service);
	} else {
		while (p && !p->now.policy)
			p = p->next_part;
		node->fresh.policy = p ? policy_ref(p->now.policy) : NULL;
	}
	if (r < 0)
		return r;
	node->fresh.kind = node->fresh.service || node->fresh.policy ? node->kind : OBJECT_NONE;
	node->was_built = true;
	return 0;
}

/* --- nodes -------------------------------------------------------------------------------- */

static void drop_parts(struct merge_node *node, bool all)
{
	struct merge_part **at = &node->parts, *p;

	while ((p = *at)) {
		if (!all && (p->now.believed || p->now.policy)) {
			at = &p->next_part;
			continue;
		}
		*at = p->next_part;
		merge_words_done(&p->now);
		merge_words_done(&p->next);
		free(p);
	}
}

void merge_node_free(struct merge_node *node)
{
	drop_parts(node, true);
	object_done(&node->merged);
	object_done(&node->fresh);
	free(node);
}

static bool is_changed(const struct merge_node *node)
{
	const struct object *a = &node->merged, *b = &node->fresh;

	if (a->kind != b->kind)
		return true;
	if (a->kind == OBJECT_SERVICE)
		return !service_is_equal(a->service, b->service);
	return a->kind == OBJECT_POLICY && !policy_is_equal(a->policy, b->policy);
}

/* --- the change --------------------------------------------------------------------------- */

static void share(const struct object *o, struct merge_change *c)
{
	struct object *copy = &c->upserts[c->n_upserts++];

	*copy = (struct object){.kind = o->kind};
	copy->service = service_ref(o->service);
	copy->policy = policy_ref(o->policy);
}

static int add_delete(const struct merge_node *node, struct merge_change *c)
{
	const struct service *s = node->merged.service;
	const struct policy *p = node->merged.policy;
	char *namespace = strdup(s ? s->namespace : p->namespace);
	char *name = strdup(s ? s->name : p->name);

	if (!namespace || !name) {
		free(namespace);
		free(name);
		return -ENOMEM;
	}
	c->deletes[c->n_deletes++] = (struct object_name){node->kind, namespace, name};
	return 0;
}

void merge_change_done(struct merge_change *c)
{
	(void)object_free_list(c->upserts, c->n_upserts);
	for (size_t i = 0; i < c->n_deletes; i++) {
		free((char *)c->deletes[i].namespace);
		free((char *)c->deletes[i].name);
	}
	free(c->deletes);
	*c = (struct merge_change){};
}

/* Only what differs; equal ones keep the object that was told. */
static int collect(struct merge *m, struct merge_change *c)
{
	size_t n = 0;
	int r = 0;

	for (struct merge_node *node = m->dirty; node && r >= 0; node = node->next_dirty, n++)
		r = build(m, node);
	if (r < 0)
		return r;
	c->upserts = calloc(n + 1, sizeof(*c->upserts));
	c->deletes = calloc(n + 1, sizeof(*c->deletes));
	if (!c->upserts || !c->deletes)
		return -ENOMEM;
	for (struct merge_node *node = m->dirty; node && r >= 0; node = node->next_dirty) {
		if (!is_changed(node))
			continue;
		if (node->fresh.kind != OBJECT_NONE)
			share(&node->fresh, c);
		else
			r = add_delete(node, c);
	}
	return r;
}

/* What was built is what has been told. Cannot fail. */
static void commit(struct merge *m, bool taken)
{
	struct merge_node *node = m->dirty, *next;

	if (taken) {
		m->dirty = NULL;
		m->urgent = false;
	}
	for (; node; node = next) {
		next = node->next_dirty;
		if (taken && is_changed(node)) {
			object_done(&node->merged);
			node->merged = node->fresh;
			node->fresh = (struct object){};
		}
		object_done(&node->fresh);
		node->fresh = (struct object){};
		node->was_built = false;
		if (!taken)
			continue;
		node->dirty = false;
		drop_parts(node, false);
		if (node->parts || node->merged.kind != OBJECT_NONE)
			continue;
		HASH_DEL(m->nodes, node);
		merge_node_free(node);
	}
}

bool merge_has_change(const struct merge *m, bool *ret_urgent)
{
	*ret_urgent = m->urgent;
	return m->dirty;
}

int merge_take(struct merge *m, uint64_t now_ms, struct merge_change *ret)
{
	struct merge_change c = {};
	int r;

	merge_settle(m);
	c.urgent = m->urgent;
	r = collect(m, &c);
	commit(m, r >= 0);
	if (r < 0)
		merge_change_done(&c);
	else
		*ret = c;
	return r;
}

int merge_take_all(struct merge *m, uint64_t now_ms, struct merge_change *ret)
{
	struct merge_change c = {};
	struct object *upserts = calloc(HASH_COUNT(m->nodes) + 1, sizeof(*upserts));
	int r = upserts ? merge_take(m, now_ms, &c) : -ENOMEM;

	if (r < 0) {
		free(upserts);
		return r;
	}
	*ret = (struct merge_change){.upserts = upserts,
				     .deletes = TAKE_PTR(c.deletes),
				     .n_deletes = c.n_deletes,
				     .urgent = c.urgent};
	c.n_deletes = 0;
	merge_change_done(&c);
	for (struct merge_node *node = m->nodes; node; node = node->hh.next)
		if (node->merged.kind != OBJECT_NONE)
			share(&node->merged, ret);
	return 0;
}
