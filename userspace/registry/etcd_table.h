/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The keys below a prefix of etcd, as services: PREFIX/SERVICE/KEY -> one endpoint. Lists are taken
 * whole, changes one by one, and what became another service since it was last said comes out.
 * Pure.
 *
 *   begin, put..., end (what was not put is gone) -> put, delete... -> next...
 */
#pragma once

#include "registry/draft.h"
#include "registry/etcd_decode.h"

struct etcd_table;

struct etcd_settings {
	const char *prefix; /* ends with "/", or is empty; borrowed, as the others */
	const char *namespace, *tag;
	const char *zone; /* of endpoints that say none; NULL: none */
	bool (*is_selected)(const void *arg, const char *name);
	const void *arg;
};

struct etcd_change {
	struct service *service; /* owned; NULL: it is gone */
	char name[LIMIT_NAME + 1];
};

int etcd_table_new(const struct etcd_settings *settings, struct etcd_table **ret);
struct etcd_table *etcd_table_free(struct etcd_table *t); /* NULL is fine; returns NULL */
DEFINE_CLEANUP(struct etcd_table *, etcd_table_free);

/* A list begins: what is put is there at once, and at the end what was not put since goes. A list
 * that is not ended takes nothing away. */
void etcd_table_begin(struct etcd_table *t);
void etcd_table_end(struct etcd_table *t);
/* -ENOMEM; -E2BIG: more than LIMIT_FOUND_ENDPOINTS keys; nothing was changed. A key beside the
 * prefix is passed over. */
int etcd_table_put(struct etcd_table *t, const struct etcd_kv *kv);
void etcd_table_delete(struct etcd_table *t, const struct etcd_kv *kv);
/* The next service that is not as it was said: 1 and the change; 0: none; -ENOMEM: later again. */
int etcd_table_next(struct etcd_table *t, struct etcd_change *ret);
/* All services, as a snapshot, which are then said. */
int etcd_table_all(struct etcd_table *t, struct service ***ret, size_t *ret_n);
/* For a second look. What the service is called in etcd, or was before it was gone (until the next
 * list, for the last so many); NULL: it is not known, or it has more names than one. */
const char *etcd_table_owner(const struct etcd_table *t, const char *name);
/* Whether these are all keys of the service, and say the same, and nothing is still to be said. */
bool etcd_table_is_same(const struct etcd_table *t, const char *name, const struct etcd_kv *kvs,
			size_t n);
/* Of one that is the same: the next change is what it is, or that it is gone. */
void etcd_table_again(struct etcd_table *t, const char *name);
/* How many keys; how many of them name no endpoint, or do not fit; about the last of those. */
size_t etcd_table_count(const struct etcd_table *t);
size_t etcd_table_left_out(const struct etcd_table *t, const char **ret_text);
