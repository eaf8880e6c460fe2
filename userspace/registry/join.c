/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * See join.h. Before: merge_word.c and merge.c name the endpoints. After: service_new(). What
 * comes out is what the control API accepts; must never depend on the order in which it was put in.
 */
#include "registry/join.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "model/address.h"

#define NOWHERE UINT16_MAX /* a zone or node for which there was no room */

int join_begin(struct join *j, const struct service *shape)
{
	if (!j->from)
		j->from = calloc(JOIN_FROM, sizeof(*j->from));
	if (!j->from)
		return -ENOMEM;
	j->shape = shape;
	j->n = j->n_from = 0;
	return 0;
}

void join_done(struct join *j)
{
	free(j->items);
	free(j->from);
	*j = (struct join){};
}

/* --- whose endpoints ---------------------------------------------------------------------- */

/* The index of the port in `s` that stands for port `p`; -1: none. */
static int find_port(const struct service *s, const struct service_port *p, bool only)
{
	for (size_t i = 0; *p->name && i < s->n_ports; i++)
		if (s->ports[i].proto == p->proto && !strcmp(s->ports[i].name, p->name))
			return (int)i;
	for (size_t i = 0; i < s->n_ports; i++)
		if (s->ports[i].proto == p->proto && s->ports[i].port == p->port)
			return (int)i;
	return only && s->n_ports == 1 && s->ports[0].proto == p->proto ? 0 : -1;
}

bool join_from(struct join *j, const struct service *s)
{
	struct join_from *f = &j->from[j->n_from];

	assert(j->n_from < JOIN_FROM);
	for (size_t i = 0; i < j->shape->n_ports; i++) {
		int at = (int)i;

		if (s != j->shape)
			at = find_port(s, &j->shape->ports[i], j->shape->n_ports == 1);
		if (at < 0)
			return false;
		f->port[i] = (uint8_t)at;
	}
	f->service = s;
	memset(f->zone, 0, (s->n_zones + 1) * sizeof(*f->zone));
	memset(f->node, 0, (s->n_nodes + 1) * sizeof(*f->node));
	j->n_from++;
	return true;
}

static bool is_reachable(const struct service *shape, const struct sn_addr *addr)
{
	if (shape->allocated || !shape->n_addresses)
		return true;
	for (size_t i = 0; i < shape->n_addresses; i++)
		if (address_is_v4(&shape->address[i]) == address_is_v4(addr))
			return true;
	return false;
}

static int make_room(struct join *j)
{
	size_t capacity = j->capacity ? 2 * j->capacity : 64;
	struct join_item *items;

	if (j->n < j->capacity)
		return 0;
	items = reallocarray(j->items, capacity, sizeof(*items));
	if (!items)
		return -ENOMEM;
	j->items = items;
	j->capacity = capacity;
	return 0;
}

int join_add(struct join *j, size_t endpoint, const struct join_mark *mark, bool *ret_added)
{
	const struct service *s = j->from[j->n_from - 1].service;

	*ret_added = false;
	if (!is_reachable(j->shape, &s->endpoints[endpoint].addr))
		return 0;
	if (make_room(j) < 0)
		return -ENOMEM;
	j->items[j->n++] = (struct join_item){
		.mark = *mark, .endpoint = (uint32_t)endpoint, .from = (uint8_t)(j->n_from - 1)};
	*ret_added = true;
	return 0;
}

/* --- order -------------------------------------------------------------------------------- */

/* "As asked for" is the number that its own service has for the port. */
static uint16_t target_of(const struct join *j, const struct join_item *item, size_t port)
{
	const struct join_from *f = &j->from[item->from];
	uint16_t target = service_target(f->service, item->endpoint, f->port[port]);

	if (!target)
		target = f->service->ports[f->port[port]].port;
	return target != SN_PORT_ANY ? target : j->shape->ports[port].port;
}

static const struct sn_addr *addr_of(const struct join *j, const struct join_item *item)
{
	return &j->from[item->from].service->endpoints[item->endpoint].addr;
}

static int compare_place(const struct join *j, const struct join_item *a, const struct join_item *b)
{
	int r = memcmp(addr_of(j, a), addr_of(j, b), sizeof(struct sn_addr));

	for (size_t i = 0; !r && i < j->shape->n_ports; i++)
		r = (int)target_of(j, a, i) - (int)target_of(j, b, i);
	return r;
}

/* Total: the same place twice in one service is told apart by where it stands there. */
static int compare_worth(const struct join_item *a, const struct join_item *b)
{
	int r = (int)a->mark.rank - (int)b->mark.rank;

	if (!r)
		r = (int)a->mark.source - (int)b->mark.source;
	if (!r)
		r = (int)a->from - (int)b->from;
	return r ? r : (a->endpoint > b->endpoint) - (a->endpoint < b->endpoint);
}

static int by_place(const void *x, const void *y, void *arg)
{
	int r = compare_place(arg, x, y);

	return r ? r : compare_worth(x, y);
}

static int by_worth(const void *x, const void *y, void *arg)
{
	const struct join_item *a = x, *b = y;
	int r = (int)a->drop - (int)b->drop;

	if (!r)
		r = (int)a->mark.rank - (int)b->mark.rank;
	if (!r)
		r = (int)a->mark.source - (int)b->mark.source;
	return r ? r : by_place(x, y, arg);
}

void join_sort(struct join *j)
{
	size_t n = 0;

	if (j->n)
		qsort_r(j->items, j->n, sizeof(*j->items), by_place, j);
	for (size_t i = 0; i < j->n; i++)
		if (!n || compare_place(j, &j->items[n - 1], &j->items[i]))
			j->items[n++] = j->items[i];
	j->n = n;
}

/* The first so many by worth stay, in the order of their places. */
static void fit(struct join *j, size_t left_out[LIMIT_REGISTRIES])
{
	size_t kept = 0;

	for (size_t i = 0; i < j->n; i++)
		kept += !j->items[i].drop;
	if (kept <= LIMIT_ENDPOINTS)
		return;
	qsort_r(j->items, j->n, sizeof(*j->items), by_worth, j);
	for (size_t i = LIMIT_ENDPOINTS; i < kept; i++)
		left_out[j->items[i].mark.source]++;
	j->n = LIMIT_ENDPOINTS;
	qsort_r(j->items, j->n, sizeof(*j->items), by_place, j);
}

/* --- the service -------------------------------------------------------------------------- */

struct making {
	struct service s;
	char *zones[LIMIT_SERVICE_ZONES], *nodes[LIMIT_SERVICE_NODES],
		*sources[LIMIT_SERVICE_SOURCES];
	uint8_t source[LIMIT_REGISTRIES]; /* by number: its place + 1 */
};

/* The place of a name + 1, remembered in `known`; 0: there was no room. */
static uint16_t find_place(char **names, size_t *n, size_t max, char *name, uint16_t *known)
{
	size_t i = 0;

	if (!*known) {
		while (i < *n && strcmp(names[i], name) != 0)
			i++;
		if (i == *n && i < max)
			names[(*n)++] = name;
		*known = i < max ? (uint16_t)(i + 1) : NOWHERE;
	}
	return *known == NOWHERE ? 0 : *known;
}

static uint8_t find_source(struct making *m, const char *const *tags, unsigned int source)
{
	if (!tags)
		return 0;
	if (!m->source[source]) {
		m->sources[m->s.n_sources++] = (char *)tags[source];
		m->source[source] = (uint8_t)m->s.n_sources;
	}
	return m->source[source];
}

static void make_endpoint(struct join *j, struct making *m, const char *const *tags,
			  const struct join_item *item)
{
	struct join_from *f = &j->from[item->from];
	const struct service *from = f->service;
	size_t n_ports = j->shape->n_ports, at = m->s.n_endpoints++;
	struct endpoint *e = &m->s.endpoints[at];

	*e = from->endpoints[item->endpoint];
	if (e->zone)
		e->zone = find_place(m->zones, &m->s.n_zones, LIMIT_SERVICE_ZONES,
				     from->zones[e->zone - 1], &f->zone[e->zone]);
	if (e->node)
		e->node = find_place(m->nodes, &m->s.n_nodes, LIMIT_SERVICE_NODES,
				     from->nodes[e->node - 1], &f->node[e->node]);
	e->weight = item->mark.weight;
	e->flags = item->mark.flags;
	e->source = find_source(m, tags, item->mark.source);
	for (size_t i = 0; i < n_ports; i++) {
		uint16_t target = target_of(j, item, i);

		m->s.targets[at * n_ports + i] = target == j->shape->ports[i].port ? 0 : target;
	}
}

int join_finish(struct join *j, const char *const *tags, size_t left_out[LIMIT_REGISTRIES],
		struct service **ret, uint64_t **ret_since)
{
	struct making m = {.s = *j->shape};
	_cleanup_free_ struct endpoint *endpoints = NULL;
	_cleanup_free_ uint16_t *targets = NULL;
	_cleanup_free_ uint64_t *since = NULL;
	int r;

	fit(j, left_out);
	endpoints = malloc((j->n + 1) * sizeof(*endpoints));
	targets = malloc((j->n * j->shape->n_ports + 1) * sizeof(*targets));
	since = malloc((j->n + 1) * sizeof(*since));
	if (!endpoints || !targets || !since)
		return -ENOMEM;
	m.s.endpoints = endpoints;
	m.s.targets = targets;
	m.s.zones = m.zones;
	m.s.nodes = m.nodes;
	m.s.sources = m.sources;
	m.s.n_endpoints = m.s.n_zones = m.s.n_nodes = m.s.n_sources = 0;
	for (size_t i = 0; i < j->n; i++) {
		if (j->items[i].drop)
			continue;
		since[m.s.n_endpoints] = j->items[i].mark.since;
		make_endpoint(j, &m, tags, &j->items[i]);
	}
	r = service_new(&m.s, ret);
	if (r >= 0 && ret_since)
		*ret_since = TAKE_PTR(since);
	return r;
}
