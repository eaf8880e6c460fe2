/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The backends of one frontend by level of preference: the service's own, near ones before far ones
 * if its policy says so, then those of its fallback services, and behind all of them those that are
 * suspect. Within draft.c, before the members are matched with the backends that the kernel has.
 *
 * Suspects come last, after the fallbacks, too: their registry took them back, and that may be
 * true. Where nothing but suspects is left, their levels are what they were, so a registry that
 * lost everything changes nothing. There are SN_LEVELS in all: what would be behind them is in the
 * last.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "kernel/entry.h"

static bool is_same_family(const struct sn_addr *a, const struct sn_addr *b)
{
	return address_is_v4(a) == address_is_v4(b);
}

/* `index`: as endpoints name their place, 0: none. A place that nobody named is near nothing. */
static bool is_here(char *const *names, uint16_t index, const char *here)
{
	return index && here && *here && !strcmp(names[index - 1], here);
}

static uint8_t own_level(const struct publish *p, const struct draft *d, const struct endpoint *e)
{
	const struct service *s = d->service;
	const struct kernel *k = p->k;
	uint8_t level = 0;

	if (!d->policy || d->policy->prefer == POLICY_PREFER_NONE)
		return 0;
	if (d->policy->prefer == POLICY_PREFER_NODE)
		level = is_here(s->nodes, e->node, k->node)   ? 0
			: is_here(s->zones, e->zone, k->zone) ? 1
							      : 2;
	else if (k->zone && *k->zone) /* else all are as far */
		level = is_here(s->zones, e->zone, k->zone) ? 0 : 1;
	return level && !d->policy->spill ? LEVEL_ASIDE : level;
}

/* Members by address and port, by open addressing: each word is a member's place + 1. */
struct seen {
	uint32_t *places; /* NULL: nobody asks */
	uint32_t size;    /* a power of two, above the number of members */
};

/* The word of that backend; 0: it has not been seen. */
static uint32_t *seen_at(const struct seen *seen, const struct draft *d,
			 const struct sn_backend *want)
{
	uint32_t at = draft_hash_backend(want);

	for (;; at++) {
		uint32_t *word = &seen->places[at & (seen->size - 1)];

		if (!*word || draft_is_same_backend(&d->members[*word - 1].want, want))
			return word;
	}
}

/* The next member, as it will be if it is accepted. */
static struct draft_member *fill_member(struct draft *d, const struct service *s, size_t endpoint,
					size_t port)
{
	const struct endpoint *e = &s->endpoints[endpoint];
	struct draft_member *m = &d->members[d->n];

	*m = (struct draft_member){.endpoint = (uint32_t)endpoint,
				   .is_suspect = e->flags & ENDPOINT_SUSPECT};
	m->want.addr = e->addr;
	m->want.port_be = htons(service_target(s, endpoint, port));
	m->want.weight = e->weight;
	m->want.zone = e->zone;
	return m;
}

/* Whoever is too far away is kept as one that drains: nobody new comes, nobody is cut off. */
static void accept_member(struct draft *d, const struct seen *seen, uint8_t level)
{
	struct draft_member *m = &d->members[d->n++];

	m->level = level;
	m->via = (uint16_t)d->n_via;
	m->want.state =
		m->want.weight && level != LEVEL_ASIDE ? SN_BACKEND_ACTIVE : SN_BACKEND_DRAINING;
	d->n_active += m->want.state == SN_BACKEND_ACTIVE;
	if (seen->places)
		*seen_at(seen, d, &m->want) = d->n;
}

int draft_fallback_port(const struct service *s, const struct service_port *like)
{
	int number = -1, only = -1;

	for (size_t i = 0; i < s->n_ports; i++) {
		const struct service_port *port = &s->ports[i];

		if (port->proto != like->proto)
			continue;
		if (*like->name && !strcmp(port->name, like->name))
			return (int)i;
		if (port->port == like->port)
			number = (int)i;
		only = only == -1 ? (int)i : -2;
	}
	return number >= 0 ? number : only >= 0 ? only : -1;
}

/* A backend that an earlier level has already is not another chance. 1: the fallback has members
 * here. */
static int add_fallback(struct draft *d, struct service *s, const struct seen *seen, uint8_t level)
{
	int port = draft_fallback_port(s, &d->service->ports[d->port]);
	uint32_t before = d->n;

	if (port < 0)
		return 0;
	d->via[d->n_via++] = service_ref(s);
	for (size_t i = 0; i < s->n_endpoints; i++) {
		const struct draft_member *m;

		if (!is_same_family(&s->endpoints[i].addr, &d->entry->key.addr))
			continue;
		m = fill_member(d, s, i, (size_t)port);
		if (!*seen_at(seen, d, &m->want))
			accept_member(d, seen, level);
	}
	return d->n > before;
}

/* Of the fallback at `i`; NULL: it is not there, or it is the service itself. */
static struct service *fallback_of(const struct draft *d, const struct declared *declared, size_t i)
{
	const struct policy_fallback *f = &d->policy->fallback[i];
	struct service *s = declared_service(declared, f->namespace, f->name);

	return s == d->service ? NULL : s;
}

static int make_room(struct draft *d, const struct declared *declared, struct seen *ret_seen)
{
	size_t n = d->service->n_endpoints + 1, n_via = d->policy ? d->policy->n_fallback : 0;
	struct seen seen = {.size = 16};
	const struct service *s;

	for (size_t i = 0; i < n_via; i++) {
		s = fallback_of(d, declared, i);
		n += s ? s->n_endpoints : 0;
	}
	d->members = calloc(n, sizeof(*d->members));
	if (!d->members)
		return -ENOMEM;
	while (seen.size < 2 * n)
		seen.size *= 2;
	if (n_via) {
		d->via = calloc(n_via, sizeof(struct service *));
		seen.places = calloc(seen.size, sizeof(*seen.places));
	}
	if (n_via && (!d->via || !seen.places)) {
		free(seen.places);
		return -ENOMEM; /* the draft is freed with all of its own */
	}
	*ret_seen = seen;
	return 0;
}

/* The level behind the last one of its own. */
static uint8_t add_own(const struct publish *p, struct draft *d, const struct seen *seen)
{
	const struct service *s = d->service;
	uint8_t next = 1;

	for (size_t i = 0; i < s->n_endpoints; i++) {
		uint8_t level = own_level(p, d, &s->endpoints[i]);

		if (!is_same_family(&s->endpoints[i].addr, &d->entry->key.addr))
			continue;
		(void)fill_member(d, s, i, d->port);
		accept_member(d, seen, level);
		if (level != LEVEL_ASIDE && level >= next)
			next = level + 1;
	}
	return next;
}

static bool has_level(const struct draft_member *m)
{
	return m->level != LEVEL_ASIDE;
}

/* The level behind those who are not suspect; 0: there is none such. */
static unsigned int end_of_named(const struct draft *d)
{
	unsigned int end = 0;

	for (uint32_t i = 0; i < d->n; i++) {
		const struct draft_member *m = &d->members[i];

		if (!m->is_suspect && has_level(m) && m->level >= end)
			end = m->level + 1u;
	}
	return end;
}

static void move_suspects(struct draft *d)
{
	unsigned int end = end_of_named(d), level;

	for (uint32_t i = 0; i < d->n; i++) {
		struct draft_member *m = &d->members[i];

		if (!m->is_suspect || !has_level(m))
			continue;
		level = m->level + end;
		m->level = (uint8_t)(level < SN_LEVELS ? level : SN_LEVELS - 1);
	}
}

int draft_members(const struct publish *p, struct draft *d, const struct declared *declared)
{
	struct service *s;
	struct seen seen;
	uint8_t next;
	int r = make_room(d, declared, &seen);

	if (r < 0)
		return r;
	next = add_own(p, d, &seen);
	for (size_t i = 0; d->policy && i < d->policy->n_fallback; i++) {
		s = fallback_of(d, declared, i);
		if (next == SN_LEVELS)
			next = SN_LEVELS - 1;
		if (s && add_fallback(d, s, &seen, next))
			next++;
	}
	free(seen.places);
	move_suspects(d);
	return 0;
}
