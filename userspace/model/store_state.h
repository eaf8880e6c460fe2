/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What the store is made of, for store.c (looks it up, commits) and store_plan.c (decides). Only
 * they include this.
 */
#pragma once

#include "model/claim.h"
#include "model/limits.h"
#include "model/store.h"

/* All objects of one kind, sorted by namespace and name. */
struct shelf {
	enum object_kind kind;
	void **items; /* struct service * and the like, one reference each */
	void **spare; /* as large; a commit writes there and swaps */
	size_t n, capacity;
};

struct store {
	struct store_config config;
	struct prefix *allowed;
	struct claims claims;
	struct shelf services, policies, registrations;
	size_t n_frontends,
		n_backends; /* of the datapath, counted as LIMIT_SERVICES and LIMIT_BACKENDS */
	struct source sources[LIMIT_SOURCES];
	char source_names[LIMIT_SOURCES][LIMIT_SOURCE + 1];
	size_t n_sources;
	uint64_t serial; /* +1 for each commit */
};

/* What every object has. */
struct store_name {
	const char *namespace, *name, *source;
};
/* References to any kind of object. */
void *store_shelf_ref(enum object_kind kind, void *item);
void store_shelf_unref(enum object_kind kind, void *item);
struct store_name store_shelf_name(enum object_kind kind, const void *item);
int store_shelf_compare(const struct store_name *a, const struct store_name *b);
/* Position of the first item not before `name`, at or behind `from`; quick when it is near. */
size_t store_shelf_seek(const struct shelf *s, const struct store_name *name, size_t from,
			bool *ret_found);
/* Room for so many items, so that a commit needs none. -ENOMEM. */
int store_shelf_reserve(struct shelf *s, size_t n);

struct source *store_find_source(struct store *s, const char *name);
/* An entry of that name, made if need be; NULL: there is no room. */
struct source *store_add_source(struct store *s, const char *name);
bool store_has_room(const struct store *s);

/* Of one service in the datapath. */
static inline size_t store_count_frontends(const struct service *s)
{
	return s ? s->n_addresses * s->n_ports : 0;
}

static inline size_t store_count_backends(const struct service *s)
{
	return s ? s->n_endpoints * s->n_ports : 0;
}
