/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What Services, EndpointSlices and Nodes come to together. It must never forget an endpoint that
 * any slice of a service still names, whoever owns that slice.
 */
#include "registry/kubernetes_join.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "model/address.h"
#include "model/limits.h"
#include "registry/kubernetes_build.h"

#define GHOSTS 64 /* of one service */

int kubernetes_join_new(const char *tag, const char *zone, struct kubernetes_join **ret)
{
	_cleanup_(kubernetes_join_freep) struct kubernetes_join *j = calloc(1, sizeof(*j));

	if (!j || draft_new(&j->draft) < 0)
		return -ENOMEM;
	j->tag = tag;
	j->zone = zone;
	*ret = TAKE_PTR(j);
	return 0;
}

void kubernetes_join_set_node(struct kubernetes_join *j, const char *name)
{
	j->node = name;
}

struct kubernetes_join *kubernetes_join_free(struct kubernetes_join *j)
{
	if (!j)
		return NULL;
	for (size_t i = 0; i < _KUBERNETES_KIND_MAX; i++)
		kubernetes_table_done(&j->tables[i]);
	draft_free(j->draft);
	free(j);
	return NULL;
}

/* --- what is to be told ---------------------------------------------------------------------- */

static void touch(struct kubernetes_join *j, struct kubernetes_row *service, uint64_t due_ms)
{
	if (!service->dirty) {
		service->dirty = true;
		service->due_ms = due_ms;
		service->next_dirty = j->dirty;
		j->dirty = service;
	} else if (due_ms < service->due_ms) {
		service->due_ms = due_ms;
	}
}

/* Takes what a slice was: what it had may be on its way to another one. Without memory for that it
 * is gone at once. */
static void haunt(struct kubernetes_row *service, struct kubernetes_object *was, uint64_t now_ms)
{
	struct kubernetes_ghost *ghost = was ? calloc(1, sizeof(*ghost)) : NULL;
	size_t n = 1;

	if (!ghost) {
		kubernetes_object_free(was);
		return;
	}
	*ghost = (struct kubernetes_ghost){service->ghosts, was, now_ms + KUBERNETES_SETTLE_MS};
	service->ghosts = ghost;
	while (ghost->next && n++ < GHOSTS)
		ghost = ghost->next;
	while (ghost->next) {
		struct kubernetes_ghost *oldest = ghost->next;

		ghost->next = oldest->next;
		kubernetes_object_free(oldest->object);
		free(oldest);
	}
}

static bool takes_new(const struct kubernetes_object *slice, size_t hint,
		      const struct sn_addr *addr)
{
	if (hint < slice->n_endpoints && address_is_equal(&slice->endpoints[hint].addr, addr))
		return !slice->endpoints[hint].draining;
	for (size_t i = 0; i < slice->n_endpoints; i++) {
		if (address_is_equal(&slice->endpoints[i].addr, addr))
			return !slice->endpoints[i].draining;
	}
	return false;
}

/* Whether an endpoint that took connections does so no more. */
static bool did_shrink(const struct kubernetes_object *old, const struct kubernetes_object *new)
{
	for (size_t i = 0; i < old->n_endpoints; i++) {
		if (!old->endpoints[i].draining && !takes_new(new, i, &old->endpoints[i].addr))
			return true;
	}
	return false;
}

/* --- objects --------------------------------------------------------------------------------- */

static void unlink_slice(struct kubernetes_row *slice)
{
	struct kubernetes_row **at;

	if (!slice->owner)
		return;
	at = &slice->owner->slices;
	while (*at != slice)
		at = &(*at)->sibling;
	*at = slice->sibling;
	slice->owner = slice->sibling = NULL;
}

static void drop_slice(struct kubernetes_join *j, struct kubernetes_row *slice, uint64_t now_ms)
{
	struct kubernetes_row *owner = slice->owner;

	unlink_slice(slice);
	if (slice->object)
		j->endpoints -= slice->object->n_endpoints;
	if (owner) {
		haunt(owner, TAKE_PTR(slice->object), now_ms);
		touch(j, owner, now_ms + KUBERNETES_SETTLE_MS);
	}
	kubernetes_table_drop(&j->tables[KUBERNETES_SLICE], slice);
}

/* Its service's row, or NULL if it names none. -ENOMEM. */
static int find_owner(struct kubernetes_join *j, const struct kubernetes_object *o,
		      struct kubernetes_row **ret)
{
	*ret = NULL;
	if (!o->service || o->unusable)
		return 0;
	*ret = kubernetes_table_get(&j->tables[KUBERNETES_SERVICE],
				    kubernetes_text(o, o->namespace),
				    kubernetes_text(o, o->service));
	return *ret ? 0 : -ENOMEM;
}

/* Takes o. */
static int put_slice(struct kubernetes_join *j, struct kubernetes_row *row,
		     struct kubernetes_object *o, uint64_t now_ms)
{
	struct kubernetes_row *owner, *before = row->owner;
	struct kubernetes_object *was = row->object;
	bool shrank, gained;

	if (find_owner(j, o, &owner) < 0) {
		kubernetes_object_free(o);
		return -ENOMEM;
	}
	shrank = before && (before != owner || did_shrink(was, o));
	gained = before != owner || (owner && did_shrink(o, was));
	if (before != owner) {
		unlink_slice(row);
		row->owner = owner;
		row->sibling = owner ? owner->slices : NULL;
		if (owner)
			owner->slices = row;
	}
	j->endpoints += o->n_endpoints;
	j->endpoints -= was ? was->n_endpoints : 0;
	row->object = o;
	if (before && before != owner)
		touch(j, before, now_ms + KUBERNETES_SETTLE_MS);
	if (owner)
		touch(j, owner, now_ms + (shrank && !gained ? KUBERNETES_SETTLE_MS : 0));
	if (shrank)
		haunt(before, was, now_ms);
	else
		kubernetes_object_free(was);
	return 0;
}

static void touch_node_ports(struct kubernetes_join *j, uint64_t now_ms)
{
	const struct kubernetes_table *t = &j->tables[KUBERNETES_SERVICE];

	for (struct kubernetes_row *row = kubernetes_table_next(t, NULL); row && j->told;
	     row = kubernetes_table_next(t, row))
		touch(j, row, now_ms);
}

static bool is_this_node(const struct kubernetes_join *j, const char *name)
{
	return j->node && !strcmp(name, j->node);
}

/* `node` NULL: on any. */
static bool is_on_node(const struct kubernetes_object *slice, const char *node)
{
	for (size_t i = 0; slice && i < slice->n_endpoints; i++) {
		const struct kubernetes_endpoint *e = &slice->endpoints[i];

		if (!e->zone && e->node &&
		    (!node || !strcmp(kubernetes_text(slice, e->node), node)))
			return true;
	}
	return false;
}

/* Endpoints without a zone of their own have that of their node; NULL: of each. */
static void touch_node(struct kubernetes_join *j, const char *node, uint64_t now_ms)
{
	const struct kubernetes_table *slices = &j->tables[KUBERNETES_SLICE];

	for (struct kubernetes_row *s = kubernetes_table_next(slices, NULL); s && j->told;
	     s = kubernetes_table_next(slices, s)) {
		if (s->owner && is_on_node(s->object, node))
			touch(j, s->owner, now_ms);
	}
}

/* Of a ConfigMap; what others hold is bounded by their number. */
static size_t map_bytes(const struct kubernetes_object *o)
{
	return o && o->kind == KUBERNETES_CONFIGMAP ? o->n_text : 0;
}

static void count_map(struct kubernetes_join *j, const struct kubernetes_object *old,
		      const struct kubernetes_object *new)
{
	j->map_bytes += map_bytes(new);
	j->map_bytes -= map_bytes(old);
	j->maps_freed_room |= map_bytes(old) > map_bytes(new) && j->maps_lack_room;
}

/* Takes o. */
static void put_other(struct kubernetes_join *j, struct kubernetes_row *row,
		      struct kubernetes_object *o, uint64_t now_ms)
{
	const struct kubernetes_object *old = row->object;
	bool moved = o->kind == KUBERNETES_NODE &&
		     (!old || strcmp(kubernetes_text(old, old->zone), kubernetes_text(o, o->zone)));

	j->policies |= o->kind == KUBERNETES_CONFIGMAP || kubernetes_is_balanced(o) ||
		       (old && kubernetes_is_balanced(old));
	count_map(j, old, o);
	kubernetes_object_free(row->object);
	row->object = o;
	if (o->kind == KUBERNETES_SERVICE)
		touch(j, row, now_ms);
	else if (moved)
		touch_node(j, kubernetes_text(o, o->name), now_ms);
	if (o->kind == KUBERNETES_NODE && is_this_node(j, kubernetes_text(o, o->name)))
		touch_node_ports(j, now_ms);
}

/* Of `all` there may be `limit`; what shrinks always fits. */
static bool fits(size_t all, size_t had, size_t has, size_t limit)
{
	return has <= had || all - had + has <= limit;
}

static bool has_room(const struct kubernetes_join *j, const struct kubernetes_row *row,
		     const struct kubernetes_object *o)
{
	const struct kubernetes_object *was = row ? row->object : NULL;

	if (!row && j->tables[o->kind].n >= KUBERNETES_OBJECTS)
		return false;
	return fits(j->endpoints, was ? was->n_endpoints : 0, o->n_endpoints,
		    LIMIT_FOUND_ENDPOINTS) &&
	       fits(j->map_bytes, map_bytes(was), map_bytes(o), KUBERNETES_MAPS);
}

int kubernetes_join_put(struct kubernetes_join *j, struct kubernetes_object *o, uint64_t now_ms)
{
	struct kubernetes_table *t = &j->tables[o->kind];
	const char *namespace = kubernetes_text(o, o->namespace),
		   *name = kubernetes_text(o, o->name);
	struct kubernetes_row *row = kubernetes_table_find(t, namespace, name);

	if (row)
		row->seen = t->seen;
	if (row && row->object && o->revision && row->object->revision == o->revision) {
		kubernetes_object_free(o);
		return 0;
	}
	j->left_out += o->left_out;
	if (!has_room(j, row, o)) {
		j->left_out++;
		j->maps_lack_room |= o->kind == KUBERNETES_CONFIGMAP;
		kubernetes_object_free(o);
		return -E2BIG;
	}
	if (!row)
		row = kubernetes_table_get(t, namespace, name);
	if (!row) {
		kubernetes_object_free(o);
		return -ENOMEM;
	}
	row->seen = t->seen;
	if (o->kind == KUBERNETES_SLICE)
		return put_slice(j, row, o, now_ms);
	put_other(j, row, o, now_ms);
	return 0;
}

static void drop(struct kubernetes_join *j, enum kubernetes_kind kind, struct kubernetes_row *row,
		 uint64_t now_ms)
{
	if (kind == KUBERNETES_SLICE) {
		drop_slice(j, row, now_ms);
	} else if (kind == KUBERNETES_SERVICE) {
		j->policies |= row->object && kubernetes_is_balanced(row->object);
		/* Its row goes once that is told. */
		row->object = kubernetes_object_free(row->object);
		touch(j, row, now_ms);
	} else {
		bool own = kind == KUBERNETES_NODE && row->object &&
			   is_this_node(j, kubernetes_text(row->object, row->object->name));

		j->policies |= kind == KUBERNETES_CONFIGMAP;
		count_map(j, row->object, NULL);
		kubernetes_table_drop(&j->tables[kind], row);
		if (own)
			touch_node_ports(j, now_ms);
	}
}

void kubernetes_join_delete(struct kubernetes_join *j, const struct kubernetes_object *o,
			    uint64_t now_ms)
{
	struct kubernetes_row *row = kubernetes_table_find(
		&j->tables[o->kind], kubernetes_text(o, o->namespace), kubernetes_text(o, o->name));

	if (!row)
		return;
	if (o->kind == KUBERNETES_NODE && row->object->zone)
		touch_node(j, kubernetes_text(o, o->name), now_ms);
	drop(j, o->kind, row, now_ms);
}

void kubernetes_join_begin(struct kubernetes_join *j, enum kubernetes_kind kind)
{
	j->tables[kind].seen++;
	if (kind == KUBERNETES_CONFIGMAP)
		j->maps_lack_room = j->maps_freed_room = false;
}

bool kubernetes_join_wants_maps(const struct kubernetes_join *j)
{
	return j->maps_freed_room;
}

void kubernetes_join_end(struct kubernetes_join *j, enum kubernetes_kind kind, uint64_t now_ms)
{
	const struct kubernetes_table *t = &j->tables[kind];
	struct kubernetes_row *row = kubernetes_table_next(t, NULL), *next;
	bool moved = false;

	for (; row; row = next) {
		next = kubernetes_table_next(t, row);
		if (!row->object || row->seen == t->seen)
			continue;
		moved |= kind == KUBERNETES_NODE && row->object->zone;
		drop(j, kind, row, now_ms);
	}
	/* Once for all nodes that went: each on its own would look at every endpoint. */
	if (moved)
		touch_node(j, NULL, now_ms);
}

/* --- telling --------------------------------------------------------------------------------- */

static void forget(struct kubernetes_join *j, struct kubernetes_row *row)
{
	if (!row->object && !row->slices && !row->told)
		kubernetes_table_drop(&j->tables[KUBERNETES_SERVICE], row);
}

static uint64_t next_ghost(const struct kubernetes_row *row)
{
	uint64_t until = UINT64_MAX;

	for (const struct kubernetes_ghost *g = row->ghosts; g; g = g->next)
		until = g->until_ms < until ? g->until_ms : until;
	return until;
}

/* All of a Service, behind what is in `objects` already. */
static int build_all(struct kubernetes_join *j, struct kubernetes_row *row, struct object *objects,
		     size_t *n)
{
	row->told = 0;
	for (unsigned int part = 0; part < kubernetes_parts(j); part++) {
		if (kubernetes_build(j, row, part, &objects[*n].service) < 0)
			return -ENOMEM;
		if (!objects[*n].service)
			continue;
		objects[(*n)++].kind = OBJECT_SERVICE;
		row->told |= 1u << part;
	}
	return 0;
}

int kubernetes_join_all(struct kubernetes_join *j, struct object **ret, size_t *ret_n)
{
	const struct kubernetes_table *t = &j->tables[KUBERNETES_SERVICE];
	struct object *objects = calloc(t->n * kubernetes_parts(j) + 1, sizeof(*objects));
	struct kubernetes_row *row, *next;
	size_t n = 0;

	if (!objects)
		return -ENOMEM;
	for (row = kubernetes_table_next(t, NULL); row; row = kubernetes_table_next(t, row)) {
		if (build_all(j, row, objects, &n) < 0) {
			object_free_list(objects, n);
			return -ENOMEM;
		}
	}
	for (row = kubernetes_table_next(t, NULL); row; row = next) {
		next = kubernetes_table_next(t, row);
		row->dirty = false;
		kubernetes_row_bury(row, UINT64_MAX);
		forget(j, row);
	}
	j->dirty = j->later = NULL;
	j->told = true;
	*ret = objects;
	*ret_n = n;
	return 0;
}

/* 1: that part has something to tell. */
static int tell_part(struct kubernetes_join *j, struct kubernetes_row *row, unsigned int part,
		     struct kubernetes_change *ret)
{
	bool was = row->told & 1u << part;
	int r = kubernetes_build(j, row, part, &ret->service);

	if (r < 0)
		return r;
	row->told &= ~(1u << part);
	if (ret->service) {
		row->told |= 1u << part;
		return 1;
	}
	return was && !kubernetes_build_is_taken(j, row, part) &&
	       kubernetes_build_name(row, part, ret->namespace, ret->name) >= 0;
}

/* 1: it has something to tell, and more if row->part is not 0; 0: no more. */
static int tell(struct kubernetes_join *j, struct kubernetes_row *row,
		struct kubernetes_change *ret)
{
	int r = 0;

	while (r == 0 && row->part < kubernetes_parts(j))
		r = tell_part(j, row, row->part++, ret);
	if (r <= 0 || row->part == kubernetes_parts(j))
		row->part = 0;
	return r;
}

static void push(struct kubernetes_row **list, struct kubernetes_row *row)
{
	row->next_dirty = *list;
	*list = row;
}

/* Each row is looked at once until all is told, however many are not due yet. */
int kubernetes_join_next(struct kubernetes_join *j, uint64_t now_ms, struct kubernetes_change *ret)
{
	struct kubernetes_row *row;
	int r;

	*ret = (struct kubernetes_change){};
	while ((row = j->dirty)) {
		j->dirty = row->next_dirty;
		if (row->due_ms > now_ms) {
			push(&j->later, row);
			continue;
		}
		kubernetes_row_bury(row, now_ms);
		r = tell(j, row, ret);
		if (r < 0 || row->part) {
			push(&j->dirty, row);
			return r;
		}
		if (row->ghosts) {
			row->due_ms = next_ghost(row);
			push(&j->later, row);
		} else {
			row->dirty = false;
			forget(j, row);
		}
		if (r > 0)
			return 1;
	}
	j->dirty = TAKE_PTR(j->later);
	return 0;
}

uint64_t kubernetes_join_due(const struct kubernetes_join *j)
{
	const struct kubernetes_row *const lists[] = {j->dirty, j->later};
	uint64_t due = 0;

	for (size_t i = 0; i < ARRAY_SIZE(lists); i++) {
		for (const struct kubernetes_row *row = lists[i]; row; row = row->next_dirty) {
			if (!due || row->due_ms < due)
				due = row->due_ms;
		}
	}
	return due;
}

void kubernetes_join_again(struct kubernetes_join *j, struct kubernetes_row *service,
			   uint64_t now_ms)
{
	touch(j, service, now_ms);
}

bool kubernetes_join_take_policies(struct kubernetes_join *j)
{
	bool changed = j->policies;

	j->policies = false;
	return changed;
}

const struct kubernetes_object *kubernetes_join_visit(const struct kubernetes_join *j,
						      enum kubernetes_kind kind,
						      const struct kubernetes_row **at)
{
	*at = kubernetes_table_next(&j->tables[kind], *at);
	return *at ? (*at)->object : NULL;
}

void kubernetes_join_count(const struct kubernetes_join *j, struct kubernetes_join_counts *ret)
{
	*ret = (struct kubernetes_join_counts){
		.endpoints = j->endpoints,
		.left_out = j->left_out,
		.partial = j->partial,
	};
	for (size_t i = 0; i < _KUBERNETES_KIND_MAX; i++)
		ret->objects[i] = j->tables[i].n;
}
