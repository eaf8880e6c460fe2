/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * See store.h. What is declared now: looked up, and replaced by a commit. Deciding is
 * store_plan.c's.
 */
#include "model/store.h"

#include <arpa/inet.h>
#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "model/store_state.h"

/* --- shelves ------------------------------------------------------------------------------ */

struct store_name store_shelf_name(enum object_kind kind, const void *item)
{
	const struct service *s = item;
	const struct policy *p = item;
	const struct registration *r = item;

	if (kind == OBJECT_SERVICE)
		return (struct store_name){s->namespace, s->name, s->source};
	if (kind == OBJECT_POLICY)
		return (struct store_name){p->namespace, p->name, p->source};
	return (struct store_name){r->namespace, r->name, r->source};
}

int store_shelf_compare(const struct store_name *a, const struct store_name *b)
{
	int r = strcmp(a->namespace, b->namespace);

	return r ? r : strcmp(a->name, b->name);
}

static int compare_at(const struct shelf *s, size_t i, const struct store_name *name)
{
	struct store_name here = store_shelf_name(s->kind, s->items[i]);

	return store_shelf_compare(&here, name);
}

size_t store_shelf_seek(const struct shelf *s, const struct store_name *name, size_t from,
			bool *ret_found)
{
	size_t low = from, step = 1, high = from;

	/* Doubling steps first: a sync names its objects in order, so the next one is near. */
	while (high < s->n && compare_at(s, high, name) < 0) {
		low = high + 1;
		high = low + step;
		step *= 2;
	}
	high = high < s->n ? high : s->n;
	while (low < high) {
		size_t middle = low + (high - low) / 2;

		if (compare_at(s, middle, name) < 0)
			low = middle + 1;
		else
			high = middle;
	}
	*ret_found = low < s->n && !compare_at(s, low, name);
	return low;
}

int store_shelf_reserve(struct shelf *s, size_t n)
{
	size_t capacity = s->capacity ? s->capacity : 16;
	void **items, **spare;

	if (n <= s->capacity)
		return 0;
	while (capacity < n)
		capacity += capacity / 2;
	items = reallocarray(s->items, capacity, sizeof(*items));
	if (!items)
		return -ENOMEM;
	s->items = items;
	spare = reallocarray(s->spare, capacity, sizeof(*spare));
	if (!spare)
		return -ENOMEM;
	s->spare = spare;
	s->capacity = capacity;
	return 0;
}

void store_shelf_unref(enum object_kind kind, void *item)
{
	if (kind == OBJECT_SERVICE)
		(void)service_unref(item);
	else if (kind == OBJECT_POLICY)
		(void)policy_unref(item);
	else
		(void)registration_unref(item);
}

void *store_shelf_ref(enum object_kind kind, void *item)
{
	return kind == OBJECT_SERVICE  ? (void *)service_ref(item)
	       : kind == OBJECT_POLICY ? (void *)policy_ref(item)
				       : (void *)registration_ref(item);
}

static void shelf_done(struct shelf *s)
{
	for (size_t i = 0; i < s->n; i++)
		store_shelf_unref(s->kind, s->items[i]);
	free(s->items);
	free(s->spare);
}

/* One change of a plan, of any kind. */
struct swap {
	void *old, *new;
};

static struct swap plan_swap(const struct shelf *s, const struct plan *p, size_t i)
{
	if (s->kind == OBJECT_SERVICE)
		return (struct swap){p->services[i].old, p->services[i].new};
	if (s->kind == OBJECT_POLICY)
		return (struct swap){p->policies[i].old, p->policies[i].new};
	return (struct swap){p->registrations[i].old, p->registrations[i].new};
}

/* Runs of untouched items are copied whole between the places where the plan changes something. */
static void shelf_apply(struct shelf *s, const struct plan *p, size_t n_swaps)
{
	size_t from = 0, to = 0;
	void **items;

	for (size_t i = 0; i < n_swaps; i++) {
		struct swap swap = plan_swap(s, p, i);
		struct store_name name = store_shelf_name(s->kind, swap.new ? swap.new : swap.old);
		bool found;
		size_t at = store_shelf_seek(s, &name, from, &found);

		assert(found == !!swap.old);
		memcpy(s->spare + to, s->items + from, (at - from) * sizeof(*s->items));
		to += at - from;
		from = at + found;
		if (found)
			store_shelf_unref(s->kind, s->items[at]);
		if (swap.new)
			s->spare[to++] = store_shelf_ref(s->kind, swap.new);
	}
	memcpy(s->spare + to, s->items + from, (s->n - from) * sizeof(*s->items));
	items = s->items;
	s->items = s->spare;
	s->spare = items;
	s->n = to + s->n - from;
}

/* --- sources ------------------------------------------------------------------------------ */

struct source *store_find_source(struct store *s, const char *name)
{
	for (size_t i = 0; i < s->n_sources; i++)
		if (!strcmp(s->source_names[i], name))
			return &s->sources[i];
	return NULL;
}

/* A source that declares nothing any more keeps its place, and its generation, until it is needed.
 */
static size_t find_empty(const struct store *s)
{
	size_t i;

	for (i = 0; i < s->n_sources; i++)
		if (!s->sources[i].n_services && !s->sources[i].n_policies &&
		    !s->sources[i].n_registrations)
			break;
	return i;
}

bool store_has_room(const struct store *s)
{
	return s->n_sources < LIMIT_SOURCES || find_empty(s) < s->n_sources;
}

struct source *store_add_source(struct store *s, const char *name)
{
	struct source *found = store_find_source(s, name);
	size_t i = s->n_sources;

	if (found)
		return found;
	if (i == LIMIT_SOURCES)
		i = find_empty(s);
	if (i == LIMIT_SOURCES || strlen(name) > LIMIT_SOURCE)
		return NULL;
	(void)snprintf(s->source_names[i], sizeof(s->source_names[i]), "%s", name);
	s->sources[i] = (struct source){.name = s->source_names[i]};
	s->n_sources += i == s->n_sources;
	return &s->sources[i];
}

const struct source *store_sources(const struct store *s, size_t *ret_n)
{
	*ret_n = s->n_sources;
	return s->sources;
}

uint64_t store_generation(const struct store *s, const char *source)
{
	for (size_t i = 0; i < s->n_sources; i++)
		if (!strcmp(s->source_names[i], source))
			return s->sources[i].generation;
	return 0;
}

int store_set_generation(struct store *s, const char *source, uint64_t generation)
{
	struct source *entry = store_add_source(s, source);

	if (!entry)
		return -E2BIG;
	entry->generation = generation;
	return 0;
}

/* --- commit ------------------------------------------------------------------------------- */

static void release_old(struct store *s, const struct plan *p)
{
	for (size_t i = 0; i < p->n_services; i++) {
		const struct service *old = p->services[i].old;

		for (size_t k = 0; old && k < old->n_addresses; k++)
			claim_release(&s->claims, old, &old->address[k]);
		s->n_frontends -= store_count_frontends(old);
		s->n_backends -= store_count_backends(old);
	}
}

static void hold_new(struct store *s, const struct plan *p)
{
	for (size_t i = 0; i < p->n_services; i++) {
		struct service *new = p->services[i].new;
		struct claim_conflict conflict;
		bool free = true;

		for (size_t k = 0; new &&k < new->n_addresses; k++)
			free = claim_hold(&s->claims, new, &new->address[k], &conflict) && free;
		assert(free);
		s->n_frontends += store_count_frontends(new);
		s->n_backends += store_count_backends(new);
	}
}

/* Owners never change: what is replaced or removed was this source's. */
static void update_source(struct source *source, const struct plan *p)
{
	for (size_t i = 0; i < p->n_services; i++) {
		source->n_services += !!p->services[i].new;
		source->n_services -= !!p->services[i].old;
	}
	for (size_t i = 0; i < p->n_policies; i++) {
		source->n_policies += !!p->policies[i].new;
		source->n_policies -= !!p->policies[i].old;
	}
	for (size_t i = 0; i < p->n_registrations; i++) {
		source->n_registrations += !!p->registrations[i].new;
		source->n_registrations -= !!p->registrations[i].old;
	}
	source->generation++;
	if (p->changed_ms)
		source->changed_ms = p->changed_ms;
}

void store_commit(struct store *s, struct plan *plan)
{
	struct source *source;

	assert(plan->serial == s->serial);
	if (!plan_size(plan))
		return;
	source = store_add_source(s, plan->source);
	assert(source);
	release_old(s, plan);
	hold_new(s, plan);
	if (plan->n_services)
		shelf_apply(&s->services, plan, plan->n_services);
	if (plan->n_policies)
		shelf_apply(&s->policies, plan, plan->n_policies);
	if (plan->n_registrations)
		shelf_apply(&s->registrations, plan, plan->n_registrations);
	update_source(source, plan);
	s->serial++;
}

void plan_done(struct plan *p)
{
	for (size_t i = 0; i < p->n_services; i++) {
		(void)service_unref(p->services[i].old);
		(void)service_unref(p->services[i].new);
	}
	for (size_t i = 0; i < p->n_policies; i++) {
		(void)policy_unref(p->policies[i].old);
		(void)policy_unref(p->policies[i].new);
	}
	for (size_t i = 0; i < p->n_registrations; i++) {
		(void)registration_unref(p->registrations[i].old);
		(void)registration_unref(p->registrations[i].new);
	}
	free(p->services);
	free(p->policies);
	free(p->registrations);
	free(p->source);
	*p = (struct plan){};
}

size_t plan_size(const struct plan *p)
{
	return p->n_services + p->n_policies + p->n_registrations;
}

static struct object object_of(enum object_kind kind, void *item)
{
	struct object o = {.kind = item ? kind : OBJECT_NONE};

	if (kind == OBJECT_SERVICE)
		o.service = item;
	else if (kind == OBJECT_POLICY)
		o.policy = item;
	else
		o.registration = item;
	return o;
}

enum object_kind plan_at(const struct plan *p, size_t i, struct object *ret_old,
			 struct object *ret_new)
{
	struct shelf of = {.kind = OBJECT_SERVICE};
	struct swap swap;

	if (i >= p->n_services) {
		i -= p->n_services;
		of.kind = OBJECT_POLICY;
		if (i >= p->n_policies) {
			i -= p->n_policies;
			of.kind = OBJECT_REGISTRATION;
		}
	}
	swap = plan_swap(&of, p, i);
	*ret_old = object_of(of.kind, swap.old);
	*ret_new = object_of(of.kind, swap.new);
	return of.kind;
}

/* --- looking up --------------------------------------------------------------------------- */

static void *find_item(const struct shelf *s, const char *namespace, const char *name)
{
	struct store_name wanted = {.namespace = namespace, .name = name};
	bool found;
	size_t at = store_shelf_seek(s, &wanted, 0, &found);

	return found ? s->items[at] : NULL;
}

struct service *store_find_service(const struct store *s, const char *namespace, const char *name)
{
	return find_item(&s->services, namespace, name);
}

struct policy *store_find_policy(const struct store *s, const char *namespace, const char *name)
{
	return find_item(&s->policies, namespace, name);
}

struct registration *store_find_registration(const struct store *s, const char *namespace,
					     const char *name)
{
	return find_item(&s->registrations, namespace, name);
}

uint64_t store_etag(const struct store *s, enum object_kind kind, const char *namespace,
		    const char *name)
{
	const struct registration *registration;
	const struct service *service;
	const struct policy *policy;

	if (kind == OBJECT_SERVICE) {
		service = store_find_service(s, namespace, name);
		return service ? service->etag : 0;
	}
	if (kind == OBJECT_POLICY) {
		policy = store_find_policy(s, namespace, name);
		return policy ? policy->etag : 0;
	}
	registration = store_find_registration(s, namespace, name);
	return registration ? registration->etag : 0;
}

struct service *store_find_frontend(const struct store *s, const struct sn_frontend *f,
				    size_t *ret_port)
{
	struct sn_frontend key = {.addr = f->addr, .port_be = f->port_be, .proto = f->proto};
	const struct claim *claim;

	if (!f->proto)
		return NULL;
	claim = claim_find(&s->claims, &key);
	if (!claim) {
		key.port_be = htons(SN_PORT_ANY);
		claim = claim_find(&s->claims, &key);
	}
	if (!claim)
		return NULL;
	*ret_port = claim->value;
	return claim->owner;
}

struct service *const *store_services(const struct store *s, size_t *ret_n)
{
	*ret_n = s->services.n;
	return (struct service *const *)s->services.items;
}

struct policy *const *store_policies(const struct store *s, size_t *ret_n)
{
	*ret_n = s->policies.n;
	return (struct policy *const *)s->policies.items;
}

struct registration *const *store_registrations(const struct store *s, size_t *ret_n)
{
	*ret_n = s->registrations.n;
	return (struct registration *const *)s->registrations.items;
}

/* --- life --------------------------------------------------------------------------------- */

int store_new(const struct store_config *config, struct store **ret)
{
	_cleanup_(store_freep) struct store *s = calloc(1, sizeof(*s));

	if (!s)
		return -ENOMEM;
	s->config = *config;
	s->services.kind = OBJECT_SERVICE;
	s->policies.kind = OBJECT_POLICY;
	s->registrations.kind = OBJECT_REGISTRATION;
	s->serial = 1;
	/* Where it lies in memory is not for strangers to know; nothing but speed depends on it. */
	s->claims.seed = (uintptr_t)s;
	s->allowed = calloc(config->n_allowed + 1, sizeof(*s->allowed));
	if (!s->allowed || claims_reserve(&s->claims, 1) < 0)
		return -ENOMEM;
	if (config->n_allowed)
		memcpy(s->allowed, config->allowed, config->n_allowed * sizeof(*s->allowed));
	s->config.allowed = s->allowed;
	*ret = TAKE_PTR(s);
	return 0;
}

struct store *store_free(struct store *s)
{
	if (!s)
		return NULL;
	shelf_done(&s->services);
	shelf_done(&s->policies);
	shelf_done(&s->registrations);
	claims_done(&s->claims);
	free(s->allowed);
	free(s);
	return NULL;
}
