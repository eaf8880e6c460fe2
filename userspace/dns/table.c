/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * See table.h. Three sorted arrays: a lookup is some fifteen comparisons with 10,000 services, and
 * a new table is made in milliseconds.
 */
#include "dns/table.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "model/address.h"

struct by_address {
	struct sn_addr addr;
	const struct service *service;
};

struct dns_table {
	struct service **full;        /* by namespace, name; owned */
	const struct service **brief; /* by name, namespace */
	struct by_address *addresses;
	size_t n, n_addresses;
};

static int compare_full(const struct service *a, const struct service *b)
{
	int r = strcmp(a->namespace, b->namespace);

	return r ? r : strcmp(a->name, b->name);
}

static int sort_full(const void *a, const void *b)
{
	return compare_full(*(struct service *const *)a, *(struct service *const *)b);
}

static int sort_brief(const void *a, const void *b)
{
	const struct service *p = *(struct service *const *)a, *q = *(struct service *const *)b;
	int r = strcmp(p->name, q->name);

	return r ? r : strcmp(p->namespace, q->namespace);
}

static int sort_address(const void *a, const void *b)
{
	const struct by_address *p = a, *q = b;
	int r = memcmp(&p->addr, &q->addr, sizeof(p->addr));

	return r ? r : compare_full(p->service, q->service);
}

static void take_addresses(struct dns_table *t)
{
	for (size_t i = 0; i < t->n; i++)
		for (size_t j = 0; j < t->full[i]->n_addresses; j++)
			t->addresses[t->n_addresses++] =
				(struct by_address){t->full[i]->address[j], t->full[i]};
}

static void sort_all(struct dns_table *t)
{
	if (!t->n)
		return;
	qsort(t->full, t->n, sizeof(*t->full), sort_full);
	qsort(t->brief, t->n, sizeof(*t->brief), sort_brief);
	if (t->n_addresses)
		qsort(t->addresses, t->n_addresses, sizeof(*t->addresses), sort_address);
}

int dns_table_new(struct service *const *services, size_t n, struct dns_table **ret)
{
	_cleanup_(dns_table_freep) struct dns_table *t = calloc(1, sizeof(*t));

	if (!t)
		return -ENOMEM;
	t->full = calloc(n + 1, sizeof(*t->full));
	t->brief = calloc(n + 1, sizeof(*t->brief));
	t->addresses = calloc(2 * n + 1, sizeof(*t->addresses));
	if (!t->full || !t->brief || !t->addresses)
		return -ENOMEM;
	for (; t->n < n; t->n++)
		t->brief[t->n] = t->full[t->n] = service_ref(services[t->n]);
	take_addresses(t);
	sort_all(t);
	*ret = TAKE_PTR(t);
	return 0;
}

struct dns_table *dns_table_free(struct dns_table *t)
{
	if (!t)
		return NULL;
	for (size_t i = 0; i < t->n; i++)
		service_unref(t->full[i]);
	free(t->full);
	free(t->brief);
	free(t->addresses);
	free(t);
	return NULL;
}

size_t dns_table_size(const struct dns_table *t)
{
	return t->n;
}

/* --- lookups ------------------------------------------------------------------------------ */

/* The first of `n` services that is not before the wanted one. */
static size_t bound(const struct service *const *all, size_t n, const struct service *want,
		    int (*compare)(const void *a, const void *b))
{
	size_t low = 0;

	while (low < n) {
		size_t middle = low + (n - low) / 2;

		if (compare(&all[middle], &want) < 0)
			low = middle + 1;
		else
			n = middle;
	}
	return low;
}

static size_t bound_full(const struct dns_table *t, const char *namespace, const char *name)
{
	struct service want = {.namespace = (char *)namespace, .name = (char *)name};

	return bound((const struct service *const *)t->full, t->n, &want, sort_full);
}

const struct service *dns_table_find(const struct dns_table *t, const char *namespace,
				     const char *name)
{
	size_t i = bound_full(t, namespace, name);

	if (i < t->n && !strcmp(t->full[i]->namespace, namespace) &&
	    !strcmp(t->full[i]->name, name))
		return t->full[i];
	return NULL;
}

bool dns_table_has_namespace(const struct dns_table *t, const char *namespace)
{
	size_t i = bound_full(t, namespace, "");

	return i < t->n && !strcmp(t->full[i]->namespace, namespace);
}

static bool is_called(const struct dns_table *t, size_t i, const char *name)
{
	return i < t->n && !strcmp(t->brief[i]->name, name);
}

const struct service *dns_table_find_short(const struct dns_table *t, const char *name,
					   bool *ret_ambiguous)
{
	const struct service *own = dns_table_find(t, "default", name);
	struct service want = {.namespace = (char *)"", .name = (char *)name};
	size_t i;

	*ret_ambiguous = false;
	if (own)
		return own;
	i = bound(t->brief, t->n, &want, sort_brief);
	if (!is_called(t, i, name))
		return NULL;
	*ret_ambiguous = is_called(t, i + 1, name);
	return *ret_ambiguous ? NULL : t->brief[i];
}

const struct service *dns_table_find_address(const struct dns_table *t, const struct sn_addr *addr)
{
	size_t low = 0, high = t->n_addresses;

	while (low < high) {
		size_t middle = low + (high - low) / 2;

		if (memcmp(&t->addresses[middle].addr, addr, sizeof(*addr)) < 0)
			low = middle + 1;
		else
			high = middle;
	}
	if (low < t->n_addresses && address_is_equal(&t->addresses[low].addr, addr))
		return t->addresses[low].service;
	return NULL;
}
