/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * See match.h. Before: what sinewd tells. After: registrar.c. It decides from what it is given
 * alone, and never guesses an address or a label.
 */
#include "register/match.h"

#include <errno.h>
#include <fnmatch.h>
#include <stdlib.h>
#include <string.h>

#include "model/address.h"
#include "model/limits.h"

struct making {
	const struct match_world *world;
	const struct registration *registration;
	size_t index; /* of the registration */
	unsigned int registry;
	struct match m;
};

const char *match_reason_name(enum match_reason r)
{
	static const char *const names[_MATCH_REASON_MAX] = {
		[MATCH_OK] = "ok",
		[MATCH_QUIET] = "no_listener",
		[MATCH_NO_REGISTRY] = "no_registry",
		[MATCH_READ_ONLY] = "read_only",
		[MATCH_NO_ADDRESS] = "no_address",
		[MATCH_NO_LABELS] = "no_labels",
		[MATCH_NO_POD] = "no_pod",
		[MATCH_TAKEN] = "taken",
		[MATCH_FULL] = "full",
	};

	return names[r];
}

const char *match_reason_text(enum match_reason r)
{
	static const char *const texts[_MATCH_REASON_MAX] = {
		[MATCH_OK] = "",
		[MATCH_QUIET] = "nothing of the workload listens at the port",
		[MATCH_NO_REGISTRY] = "agent.yaml has no registry of that name",
		[MATCH_READ_ONLY] = "a node only reads this kind of registry: register with its "
				    "own means",
		[MATCH_NO_ADDRESS] = "it listens at all addresses: give spec.address, or "
				     "node.address in agent.yaml, of the same family",
		[MATCH_NO_LABELS] = "labels of the container are not known: a registry of type "
				    "docker in agent.yaml tells them",
		[MATCH_NO_POD] = "a pod that listens is not known, or its address or container is "
				 "not: a registry of type kubernetes in agent.yaml tells this "
				 "node's pods if it may list and watch them",
		[MATCH_TAKEN] = "another Registration registers the same service at the same "
				"address and port",
		[MATCH_FULL] = "a limit is reached: too many instances on this node",
	};

	return texts[r];
}

/* The cgroup itself, or one below it. A `*` stays within one name. */
static bool is_in_cgroup(const char *pattern, const char *cgroup)
{
	return fnmatch(pattern, cgroup, FNM_NOESCAPE | FNM_PATHNAME | FNM_LEADING_DIR) == 0;
}

int match_pod(const struct registration *r, const struct pod *p, const char *container)
{
	const char *name;
	int is;

	if (strcmp(r->pod_namespace, p->namespace) != 0 ||
	    (*r->workload && fnmatch(r->workload, p->name, FNM_NOESCAPE) != 0))
		return 0;
	is = pod_has_labels(p, r->selects, r->n_selects);
	if (!is || !*r->pod_container)
		return is;
	name = container ? pod_find_container(p, container) : NULL;
	if (name && strcmp(name, r->pod_container) != 0)
		return 0;
	return name ? is : -EAGAIN;
}

static int is_of_pod(const struct making *k, const struct listener *l)
{
	const struct pod *p = l->pod ? k->world->pod(k->world->arg, l->pod) : NULL;

	return p ? match_pod(k->registration, p, l->container) : l->pod ? -EAGAIN : 0;
}

/* 1, 0; -EAGAIN: not known. */
static int is_of_workload(const struct making *k, const struct listener *l)
{
	const struct registration *r = k->registration;

	switch (r->by) {
	case REGISTRATION_BY_UNIT:
		return l->unit && !strcmp(r->workload, l->unit);
	case REGISTRATION_BY_CGROUP:
		return *l->cgroup && is_in_cgroup(r->workload, l->cgroup);
	case REGISTRATION_BY_CONTAINER:
		return l->container ? k->world->has_labels(k->world->arg, l->container, r->selects,
							   r->n_selects)
				    : 0;
	case REGISTRATION_BY_POD:
		return is_of_pod(k, l);
	}
	return 0;
}

/* A socket of all IPv4 addresses does not hear IPv6; the other way round it does. */
static bool is_heard_at(const struct listener *l, const struct sn_addr *addr)
{
	return address_is_v4(addr) || !address_is_v4(&l->addr);
}

/* Where others reach a pod, which is not where they reach its node. */
static const struct sn_addr *address_of_pod(const struct making *k, const struct listener *l)
{
	const struct pod *p = k->world->pod(k->world->arg, l->pod);

	for (size_t i = 0; p && i < p->n_addresses; i++)
		if (is_heard_at(l, &p->addresses[i]))
			return &p->addresses[i];
	return NULL;
}

/* What is announced; NULL: nobody said. */
static const struct sn_addr *address_of(const struct making *k, const struct listener *l)
{
	const struct registration *r = k->registration;
	const struct sn_addr *own = k->world->address;

	if (r->has_address)
		return &r->address;
	if (!listener_is_wildcard(l))
		return &l->addr;
	if (r->by == REGISTRATION_BY_POD)
		return address_of_pod(k, l);
	return own && is_heard_at(l, own) ? own : NULL;
}

static int compare(unsigned int registry, const char *id, const struct match_instance *b)
{
	int r = (registry > b->registry) - (registry < b->registry);

	return r ? r : strcmp(id, b->instance->id);
}

static size_t place_of(const struct making *k, const char *id, bool *ret_found)
{
	size_t low = 0, high = k->m.n;

	while (low < high) {
		size_t middle = low + (high - low) / 2;

		if (compare(k->registry, id, &k->m.items[middle]) > 0)
			low = middle + 1;
		else
			high = middle;
	}
	*ret_found = low < k->m.n && compare(k->registry, id, &k->m.items[low]) == 0;
	return low;
}

static int grow(struct match *m)
{
	size_t capacity = m->capacity ? 2 * m->capacity : 32;
	struct match_instance *grown;

	if (m->n < m->capacity)
		return 0;
	if (m->n >= LIMIT_INSTANCES)
		return -E2BIG;
	grown = reallocarray(m->items, capacity, sizeof(*grown));
	if (!grown)
		return -ENOMEM;
	m->items = grown;
	m->capacity = capacity;
	return 0;
}

/* A reason, or -ENOMEM. */
static int add(struct making *k, const struct sn_addr *addr)
{
	_cleanup_(instance_unrefp) struct instance *i = NULL;
	struct match *m = &k->m;
	bool found;
	size_t at;
	int r = instance_new(k->registration, addr, k->world->node, &i);

	if (r < 0)
		return r;
	at = place_of(k, i->id, &found);
	if (found)
		return m->items[at].registration == k->index ? MATCH_OK : MATCH_TAKEN;
	r = grow(m);
	if (r < 0)
		return r == -E2BIG ? MATCH_FULL : r;
	memmove(m->items + at + 1, m->items + at, (m->n - at) * sizeof(*m->items));
	m->items[at] = (struct match_instance){TAKE_PTR(i), k->registry, k->index};
	m->n++;
	return MATCH_OK;
}

/* A reason, or -ENOMEM. */
static int meet(struct making *k, const struct listener *l)
{
	bool by_pod = k->registration->by == REGISTRATION_BY_POD;
	const struct sn_addr *addr;
	int r = is_of_workload(k, l);

	k->m.doubt |= r < 0;
	if (r <= 0)
		return !r ? MATCH_QUIET : by_pod ? MATCH_NO_POD : MATCH_NO_LABELS;
	addr = address_of(k, l);
	if (addr)
		return add(k, addr);
	k->m.doubt |= by_pod;
	return by_pod ? MATCH_NO_POD : MATCH_NO_ADDRESS;
}

/* One that is registered is well, whatever the others lack; else the last lack that is one is told.
 */
static int make_one(struct making *k, const struct listener_table *listeners)
{
	const struct registration *r = k->registration;
	enum match_reason reason = MATCH_QUIET;
	const struct listener *l;
	size_t n;
	int is = k->world->registry(k->world->arg, r->registry);

	if (is < 0)
		return is == -EROFS ? MATCH_READ_ONLY : MATCH_NO_REGISTRY;
	k->registry = (unsigned int)is;
	l = listener_table_find(listeners, r->port, r->proto, &n);
	for (size_t i = 0; i < n; i++) {
		int one = meet(k, &l[i]);

		if (one < 0)
			return one;
		if (one == MATCH_OK || (one != MATCH_QUIET && reason != MATCH_OK))
			reason = (enum match_reason)one;
	}
	return (int)reason;
}

int match_make(struct registration *const *registrations, size_t n,
	       const struct listener_table *listeners, const struct match_world *world,
	       struct match *ret)
{
	struct making k = {.world = world};

	k.m.reasons = calloc(n ? n : 1, sizeof(*k.m.reasons));
	if (!k.m.reasons)
		return -ENOMEM;
	for (; k.index < n; k.index++) {
		int r;

		k.registration = registrations[k.index];
		r = make_one(&k, listeners);
		if (r < 0) {
			match_done(&k.m);
			return r;
		}
		k.m.reasons[k.index] = (enum match_reason)r;
		k.m.n_reasons++;
	}
	*ret = k.m;
	return 0;
}

void match_done(struct match *m)
{
	for (size_t i = 0; i < m->n; i++)
		instance_unref(m->items[i].instance);
	free(m->items);
	free(m->reasons);
	*m = (struct match){};
}
