/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The backends of one frontend by level of preference: the service's own, near ones before far ones
 * if its policy says so, then those of its fallback services. Within draft.c, before the members
 * are matched with the backends that the kernel has.
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

static void add_member(struct draft *d, const struct service *s, size_t endpoint, size_t port)
{
	const struct endpoint *e = &s->endpoints[endpoint];
	struct draft_member *m = &d->members[d->n++];

	m->endpoint = (uint32_t)endpoint;
	m->want.addr = e->addr;
	m->want.port_be = htons(service_target(s, endpoint, port));
	m->want.weight = e->weight;
	m->want.zone = e->zone;
}

/* Whoever is too far away is kept as one that drains: nobody new comes, nobody is cut off. */
static void place_member(struct draft *d, uint8_t level, uint16_t via)
{
	struct draft_member *m = &d->members[d->n - 1];

	m->level = level;
	m->via = via;
	m->want.state =
		m->want.weight && level != LEVEL_ASIDE ? SN_BACKEND_ACTIVE : SN_BACKEND_DRAINING;
	d->n_active += m->want.state == SN_BACKEND_ACTIVE;
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

/* A backend that an earlier level has already is not another chance. */
static bool is_known(const struct draft *d, const struct service *s, size_t endpoint, size_t port)
{
	const struct sn_addr *addr = &s->endpoints[endpoint].addr;
	__be16 port_be = htons(service_target(s, endpoint, port));

	for (uint32_t i = 0; i < d->n; i++)
		if (d->members[i].want.port_be == port_be &&
		    address_is_equal(&d->members[i].want.addr, addr))
			return true;
	return false;
}

/* 1: it has members here. */
static int add_fallback(struct draft *d, struct service *s, uint8_t level,
			const struct sn_addr *vip)
{
	int port = draft_fallback_port(s, &d->service->ports[d->port]);
	uint32_t before = d->n;

	if (port < 0)
		return 0;
	d->via[d->n_via++] = service_ref(s);
	for (size_t i = 0; i < s->n_endpoints; i++) {
		if (!is_same_family(&s->endpoints[i].addr, vip) || is_known(d, s, i, (size_t)port))
			continue;
		add_member(d, s, i, (size_t)port);
		place_member(d, level, (uint16_t)d->n_via);
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

static int make_room(struct draft *d, const struct declared *declared)
{
	size_t n = d->service->n_endpoints + 1, n_via = d->policy ? d->policy->n_fallback : 0;
	const struct service *s;

	for (size_t i = 0; i < n_via; i++) {
		s = fallback_of(d, declared, i);
		n += s ? s->n_endpoints : 0;
	}
	d->members = calloc(n, sizeof(*d->members));
	if (n_via)
		d->via = calloc(n_via, sizeof(struct service *));
	return d->members && (d->via || !n_via) ? 0 : -ENOMEM;
}

int draft_members(const struct publish *p, struct draft *d, const struct declared *declared)
{
	const struct sn_addr *vip = &d->entry->key.addr;
	struct service *s;
	uint8_t level, next = 1;
	int r = make_room(d, declared);

	if (r < 0)
		return r;
	for (size_t i = 0; i < d->service->n_endpoints; i++) {
		if (!is_same_family(&d->service->endpoints[i].addr, vip))
			continue;
		level = own_level(p, d, &d->service->endpoints[i]);
		add_member(d, d->service, i, d->port);
		place_member(d, level, 0);
		if (level != LEVEL_ASIDE && level >= next)
			next = level + 1;
	}
	for (size_t i = 0; d->policy && i < d->policy->n_fallback; i++) {
		s = fallback_of(d, declared, i);
		if (next == SN_LEVELS)
			next = SN_LEVELS - 1;
		if (s && add_fallback(d, s, next, vip))
			next++;
	}
	return 0;
}
