/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The services that names lead to: by namespace and name, by name alone, by address. Never changed
 * once built: the server swaps one for the next. Pure.
 */
#pragma once

#include "base/cleanup.h"
#include "model/service.h"

struct dns_table;

/* Takes a reference to each service; any order. -ENOMEM. */
int dns_table_new(struct service *const *services, size_t n, struct dns_table **ret);
struct dns_table *dns_table_free(struct dns_table *t); /* NULL is fine; returns NULL */
DEFINE_CLEANUP(struct dns_table *, dns_table_free);

/* Borrowed from the table. NULL: none. */
const struct service *dns_table_find(const struct dns_table *t, const char *namespace,
				     const char *name);
/* By name alone: that of namespace "default", else the only one of that name. *ret_ambiguous: there
 * are several, none of them in "default". */
const struct service *dns_table_find_short(const struct dns_table *t, const char *name,
					   bool *ret_ambiguous);
/* The service that has this virtual address; of several that share it, the first by namespace and
 * name. */
const struct service *dns_table_find_address(const struct dns_table *t, const struct sn_addr *addr);
bool dns_table_has_namespace(const struct dns_table *t, const char *namespace);
size_t dns_table_size(const struct dns_table *t);
