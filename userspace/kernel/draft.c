/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * See entry.h: what each frontend of a service should become. Before publish.c, which gives the
 * drafts their room and applies them. Must change nothing that the kernel sees.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "kernel/entry.h"
#include "model/alias.h"

struct entry *entry_free(struct entry *e)
{
	if (!e)
		return NULL;
	service_unref(e->owner);
	free(e->members);
	free(e->former);
	free(e->past);
	free(e);
	return NULL;
}
struct entry *entry_find(const struct publish *p, const struct sn_frontend *key)
{
	struct entry *e;

	HASH_FIND(hh, p->entries, key, sizeof(*key), e);
	return e;
}

void entry_insert(struct publish *p, struct entry *e)
{
	HASH_ADD(hh, p->entries, key, sizeof(e->key), e);
	p->by_index[e->index] = e;
}

int entry_each_key(const struct service *s,
		   int (*visit)(void *arg, const struct sn_frontend *key, uint32_t port), void *arg)
{
	struct sn_frontend key = {};
	int r;

	for (size_t a = 0; a < s->n_addresses; a++)
		for (size_t i = 0; i < s->n_ports; i++) {
			key.addr = s->address[a];
			key.port_be = htons(s->ports[i].port);
			key.proto = s->ports[i].proto;
			r = visit(arg, &key, (uint32_t)i);
			if (r < 0)
				return r;
		}
	return 0;
}

void drafts_done(struct drafts *drafts)
{
	for (size_t i = 0; i < drafts->n; i++) {
		free(drafts->items[i].members);
		free(drafts->items[i].slots);
		if (drafts->items[i].is_new)
			entry_free(drafts->items[i].entry);
	}
	free(drafts->items);
	*drafts = (struct drafts){};
}

static struct draft *drafts_add(struct drafts *drafts)
{
	size_t allocated = drafts->allocated ? drafts->allocated * 2 : 16;
	struct draft *items;

	if (drafts->n == drafts->allocated) {
		items = realloc(drafts->items, allocated * sizeof(*items));
		if (!items)
			return NULL;
		drafts->items = items;
		drafts->allocated = allocated;
	}
	drafts->items[drafts->n] = (struct draft){};
	return &drafts->items[drafts->n++];
}

/* Fields that a client can tell apart: what identifies a backend inside its service. */
static bool is_same_backend(const struct sn_backend *a, const struct sn_backend *b)
{
	return !memcmp(&a->addr, &b->addr, sizeof(a->addr)) && a->port_be == b->port_be;
}

#define GIVEN UINT32_MAX /* no index: that backend has found its member */

static bool is_member(const struct publish *p, uint32_t backend, const struct sn_backend *want)
{
	return backend != GIVEN && is_same_backend(window_at(&p->k->backends, backend), want);
}

static uint32_t hash_backend(const struct sn_backend *b)
{
	uint32_t h = b->port_be;

	for (int i = 0; i < 4; i++)
		h = (h ^ b->addr.word_be[i]) * 0x9e3779b1u;
	return h ^ h >> 15;
}

/* Gives each wanted member the index it has already. Open addressing over the old members; an index
 * is given once, because two endpoints may be one backend at this port and differ at another. */
static int match_members(struct publish *p, struct draft *d)
{
	const struct entry *e = d->entry;
	uint32_t size = 16, at;
	uint32_t *table;

	while (size < e->n_members * 2)
		size *= 2;
	table = calloc(size, sizeof(*table));
	if (!table)
		return -ENOMEM;
	for (uint32_t i = 0; i < e->n_members; i++) {
		at = hash_backend(window_at(&p->k->backends, e->members[i].backend));
		while (table[at & (size - 1)])
			at++;
		table[at & (size - 1)] = e->members[i].backend;
	}
	for (uint32_t i = 0; i < d->n; i++) {
		at = hash_backend(&d->members[i].want);
		while (table[at & (size - 1)] &&
		       !is_member(p, table[at & (size - 1)], &d->members[i].want))
			at++;
		d->members[i].backend = table[at & (size - 1)];
		d->members[i].is_new = !d->members[i].backend;
		if (d->members[i].backend)
			table[at & (size - 1)] = GIVEN;
	}
	free(table);
	return 0;
}

static bool is_same_family(const struct sn_addr *a, const struct sn_addr *b)
{
	return address_is_v4(a) == address_is_v4(b);
}

static int draft_members(struct draft *d, const struct sn_addr *vip)
{
	const struct service *s = d->service;
	struct draft_member *m;

	d->members = calloc(s->n_endpoints ? s->n_endpoints : 1, sizeof(*d->members));
	if (!d->members)
		return -ENOMEM;
	for (size_t i = 0; i < s->n_endpoints; i++) {
		if (!is_same_family(&s->endpoints[i].addr, vip))
			continue;
		m = &d->members[d->n++];
		m->endpoint = (uint32_t)i;
		m->want.addr = s->endpoints[i].addr;
		m->want.port_be = htons(service_target(s, i, d->port));
		m->want.weight = s->endpoints[i].weight;
		m->want.zone = s->endpoints[i].zone;
		m->want.state = m->want.weight ? SN_BACKEND_ACTIVE : SN_BACKEND_DRAINING;
		d->n_active += m->want.weight > 0;
	}
	return 0;
}

struct draft_arg {
	struct publish *p;
	struct service *service;
	struct drafts *drafts;
};

static int draft_frontend(void *arg, const struct sn_frontend *key, uint32_t port)
{
	struct draft_arg *a = arg;
	struct draft *d = drafts_add(a->drafts);
	int r;

	if (!d)
		return -ENOMEM;
	d->service = a->service;
	d->port = port;
	d->entry = entry_find(a->p, key);
	if (!d->entry) {
		d->entry = calloc(1, sizeof(*d->entry));
		if (!d->entry)
			return -ENOMEM;
		d->entry->key = *key;
		d->is_new = true;
	}
	r = draft_members(d, &key->addr);
	if (r < 0)
		return r;
	return match_members(a->p, d);
}

int draft_service(struct publish *p, struct service *s, struct drafts *drafts)
{
	struct draft_arg arg = {.p = p, .service = s, .drafts = drafts};

	return entry_each_key(s, draft_frontend, &arg);
}

static uint16_t mean_weight(const struct alias_member *members, size_t n)
{
	uint64_t sum = 0;

	for (size_t i = 0; i < n; i++)
		sum += members[i].weight;
	return n && sum >= n ? (uint16_t)(sum / n) : 1;
}

/* The set in the kernel, if it is this service's and as long as ours. */
static const struct sn_slot *current_set(struct publish *p, const struct draft *d)
{
	const struct sn_service *service = window_at(&p->k->services, d->entry->index);
	const struct sn_set *set;

	if (d->is_new || !service->set)
		return NULL;
	set = window_at(&p->k->slots, service->set);
	return set_elements(set) == SN_SET_HEADER + d->n_active ? (const struct sn_slot *)set
								: NULL;
}

int draft_build_set(struct publish *p, struct draft *d)
{
	size_t n = d->n_active;
	_cleanup_free_ struct alias_member *active = calloc(n + 1, sizeof(*active));
	_cleanup_free_ uint64_t *work = calloc(n + 1, sizeof(*work));
	const struct sn_slot *current;
	struct sn_set *header;
	size_t k = 0;

	free(d->slots);
	d->slots = calloc(n + SN_SET_HEADER, sizeof(*d->slots));
	if (!active || !work || !d->slots)
		return -ENOMEM;
	for (uint32_t i = 0; i < d->n; i++)
		if (d->members[i].want.weight)
			active[k++] = (struct alias_member){.backend = d->members[i].backend,
							    .weight = d->members[i].want.weight};
	header = (struct sn_set *)d->slots;
	header->service = d->entry->index;
	header->total = (uint32_t)n;
	header->count[0] = (uint32_t)n;
	header->weight = mean_weight(active, n);
	if (n && alias_build(active, n, d->entry->index, d->slots + SN_SET_HEADER, work))
		header->uniform = 1;
	current = current_set(p, d);
	d->needs_set = !current || memcmp(current + SN_SET_HEADER, d->slots + SN_SET_HEADER,
					  n * sizeof(*d->slots)) != 0;
	return 0;
}
