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

struct entry *entry_free(struct entry *e)
{
	if (!e)
		return NULL;
	service_unref(e->owner);
	for (uint32_t i = 0; i < e->n_via; i++)
		service_unref(e->via[i]);
	free(e->via);
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

static void draft_done(struct draft *d)
{
	for (uint32_t i = 0; i < d->n_via; i++)
		service_unref(d->via[i]);
	free(d->via);
	free(d->members);
	free(d->slots);
	if (d->is_new)
		entry_free(d->entry);
}

void drafts_done(struct drafts *drafts)
{
	for (size_t i = 0; i < drafts->n; i++)
		draft_done(&drafts->items[i]);
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
bool draft_is_same_backend(const struct sn_backend *a, const struct sn_backend *b)
{
	return !memcmp(&a->addr, &b->addr, sizeof(a->addr)) && a->port_be == b->port_be;
}

/* Known to be another one, though at the same address and port. What was read from the kernel at
 * start is taken for what is declared: instances are in the state files, not in the maps. */
static bool is_other_instance(const struct draft *d, const struct member *was,
			      const struct draft_member *m)
{
	const struct entry *e = d->entry;
	const struct service *before = was->via ? e->via[was->via - 1] : e->owner;
	const struct service *now = m->via ? d->via[m->via - 1] : d->service;

	return before && was->endpoint < before->n_endpoints &&
	       service_is_other(before, was->endpoint, now, m->endpoint);
}

#define GIVEN UINT32_MAX /* no place: that member has been found */

static bool is_member(const struct publish *p, const struct draft *d, uint32_t place,
		      const struct draft_member *m)
{
	const struct member *was;

	if (place == GIVEN)
		return false;
	was = &d->entry->members[place - 1];
	return draft_is_same_backend(window_at(&p->k->backends, was->backend), &m->want) &&
	       !is_other_instance(d, was, m);
}

uint32_t draft_hash_backend(const struct sn_backend *b)
{
	uint32_t h = b->port_be;

	for (int i = 0; i < 4; i++)
		h = (h ^ b->addr.word_be[i]) * 0x9e3779b1u;
	return h ^ h >> 15;
}

/* Gives each wanted member the index it has already. Open addressing over the places of the old
 * members, + 1; an index is given once, because two endpoints may be one backend at this port and
 * differ at another. */
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
		at = draft_hash_backend(window_at(&p->k->backends, e->members[i].backend));
		while (table[at & (size - 1)])
			at++;
		table[at & (size - 1)] = i + 1;
	}
	for (uint32_t i = 0; i < d->n; i++) {
		struct draft_member *m = &d->members[i];
		uint32_t *place;

		for (at = draft_hash_backend(&m->want);; at++) {
			place = &table[at & (size - 1)];
			if (!*place || is_member(p, d, *place, m))
				break;
		}
		m->is_new = !*place;
		if (m->is_new)
			continue;
		m->backend = e->members[*place - 1].backend;
		*place = GIVEN;
	}
	free(table);
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
	d->policy = declared_policy(a->drafts->declared, a->service);
	d->port = port;
	d->entry = entry_find(a->p, key);
	if (!d->entry) {
		d->entry = calloc(1, sizeof(*d->entry));
		if (!d->entry)
			return -ENOMEM;
		d->entry->key = *key;
		d->is_new = true;
	}
	r = draft_members(a->p, d, a->drafts->declared);
	if (r < 0)
		return r;
	return match_members(a->p, d);
}

int draft_service(struct publish *p, struct service *s, struct drafts *drafts)
{
	struct draft_arg arg = {.p = p, .service = s, .drafts = drafts};

	return entry_each_key(s, draft_frontend, &arg);
}
