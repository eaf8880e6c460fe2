/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Fallback that leads in a circle: service A's policy names B, B's policy names A. Before:
 * store_plan.c made the drafts. After: a plan that would close a circle is refused whole. Services
 * that are named but not declared lead nowhere; that is no error, they may come later.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/text.h"
#include "model/store_draft.h"

/* A service as it will be, that falls back to something. */
struct node {
	const struct service *service;
	const struct policy *policy;
	size_t next; /* of its fallback services, the one to be followed next */
	size_t up;   /* the node that led here, while on the way */
	enum { NODE_NEW, NODE_ON_THE_WAY, NODE_DONE } state;
};

struct graph {
	struct node *nodes; /* sorted by namespace and name */
	size_t n;
};

#define NO_NODE SIZE_MAX

/* --- what will be ------------------------------------------------------------------------- */

static const struct policy *find_policy(const struct planner *p, const struct service *s)
{
	struct store_name name = {.namespace = s->namespace, .name = s->policy};
	const struct draft *d = store_plan_find(&p->policies, &name);

	if (d)
		return d->given ? d->given->policy : NULL;
	return store_find_policy(p->store, s->namespace, s->policy);
}

static void add_node(const struct planner *p, struct graph *g, const struct service *s)
{
	const struct policy *policy = find_policy(p, s);

	if (policy && policy->n_fallback)
		g->nodes[g->n++] = (struct node){.service = s, .policy = policy, .up = NO_NODE};
}

/* Both are sorted by name; a draft stands for the store's service of that name. */
static void add_nodes(const struct planner *p, struct graph *g)
{
	const struct shelf *shelf = &p->store->services;
	size_t next = 0;

	for (size_t i = 0; i <= p->services.n; i++) {
		const struct draft *d = i < p->services.n ? &p->services.items[i] : NULL;
		bool found = false;
		size_t at = d ? store_shelf_seek(shelf, &d->name, next, &found) : shelf->n;

		for (; next < at; next++)
			add_node(p, g, shelf->items[next]);
		next += found;
		if (d && d->given)
			add_node(p, g, d->given->service);
	}
}

static bool any_fallback(const struct planner *p)
{
	for (size_t i = 0; i < p->policies.n; i++)
		if (p->policies.items[i].given && p->policies.items[i].given->policy->n_fallback)
			return true;
	for (size_t i = 0; i < p->store->policies.n; i++)
		if (((const struct policy *)p->store->policies.items[i])->n_fallback)
			return true;
	return false;
}

/* --- the way ------------------------------------------------------------------------------ */

static int compare_node(const void *key, const void *item)
{
	const struct policy_fallback *f = key;
	const struct service *s = ((const struct node *)item)->service;
	int r = strcmp(f->namespace, s->namespace);

	return r ? r : strcmp(f->name, s->name);
}

static size_t find_node(const struct graph *g, const struct policy_fallback *f)
{
	const struct node *found = bsearch(f, g->nodes, g->n, sizeof(*g->nodes), compare_node);

	return found ? (size_t)(found - g->nodes) : NO_NODE;
}

/*
 * One step from `at`: to the next fallback service that leads on, or back up when there is none.
 * Returns where it is then; *ret_closed is set to a node that was come upon a second time.
 */
static size_t step(struct graph *g, size_t at, size_t *ret_closed)
{
	struct node *node = &g->nodes[at];
	size_t to;

	if (node->next == node->policy->n_fallback) {
		node->state = NODE_DONE;
		return node->up;
	}
	to = find_node(g, &node->policy->fallback[node->next++]);
	if (to == NO_NODE || g->nodes[to].state == NODE_DONE)
		return at;
	if (g->nodes[to].state == NODE_ON_THE_WAY) {
		*ret_closed = to;
		return at;
	}
	g->nodes[to].state = NODE_ON_THE_WAY;
	g->nodes[to].up = at;
	return to;
}

/* The draft that a person has to look at: of a service in the circle, or of its policy. */
static struct draft *find_cause(struct planner *p, const struct node *node)
{
	struct store_name name = {.namespace = node->service->namespace};
	struct draft *d;

	name.name = node->service->name;
	d = store_plan_find(&p->services, &name);
	if (d)
		return d;
	name.name = node->policy->name;
	return store_plan_find(&p->policies, &name);
}

/* The circle is `at` and what led there, up to `closed`; told in the direction of falling back. */
static int refuse_circle(struct planner *p, const struct graph *g, size_t at, size_t closed)
{
	const struct node *first = &g->nodes[closed];
	struct draft *cause = NULL;
	struct text_buffer tail = {};

	for (size_t i = at;; i = g->nodes[i].up) {
		const struct node *node = &g->nodes[i];
		_cleanup_free_ char *rest = text_take(&tail);

		text_append_format(&tail, " -> %s/%s (policy %s)%s", node->service->namespace,
				   node->service->name, node->policy->name, rest ? rest : "");
		if (find_cause(p, node))
			cause = find_cause(p, node);
		if (i == closed)
			break;
	}
	if (tail.no_memory) {
		text_done(&tail);
		return -ENOMEM;
	}
	if (cause && at == closed)
		store_plan_refuse(p, cause, -EINVAL,
				  "service %s/%s would fall back to itself, by policy %s; give it "
				  "a policy without that fallback",
				  first->service->namespace, first->service->name,
				  first->policy->name);
	else if (cause)
		store_plan_refuse(p, cause, -EINVAL, "fallback would lead in a circle:%s -> %s/%s",
				  tail.data + 3, first->service->namespace, first->service->name);
	text_done(&tail);
	return 0;
}

/* Every way from `at` on. The node that closes a circle is set, and the last one before it
 * returned; NO_NODE: there is none. */
static size_t walk(struct graph *g, size_t at, size_t *ret_closed)
{
	g->nodes[at].state = NODE_ON_THE_WAY;
	while (at != NO_NODE) {
		size_t from = at;

		at = step(g, at, ret_closed);
		if (*ret_closed != NO_NODE)
			return from;
	}
	return NO_NODE;
}

int store_fallback_plan(struct planner *p)
{
	_cleanup_free_ struct node *nodes = NULL;
	struct graph g = {};

	if (!any_fallback(p))
		return 0;
	nodes = calloc(p->store->services.n + p->services.n + 1, sizeof(*nodes));
	if (!nodes)
		return -ENOMEM;
	g.nodes = nodes;
	add_nodes(p, &g);
	for (size_t i = 0; i < g.n; i++) {
		size_t closed = NO_NODE, last = NO_NODE;

		if (g.nodes[i].state == NODE_NEW)
			last = walk(&g, i, &closed);
		if (last != NO_NODE)
			return refuse_circle(p, &g, last, closed);
	}
	return 0;
}
