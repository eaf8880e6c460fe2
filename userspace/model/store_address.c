/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Which addresses the services of a change get, and whether they may. Between finding the drafts
 * and making the plan. The change is tried on the store's own table of claims, old ones out, new
 * ones in, and then undone, so that one rule decides here and at the commit.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "model/pool.h"
#include "model/store_draft.h"

static const struct prefix *pool_of(const struct planner *p, size_t family)
{
	return family ? &p->store->config.pool6 : &p->store->config.pool4;
}

static size_t family_of(const struct sn_addr *addr)
{
	return !address_is_v4(addr);
}

static bool is_in_pool(const struct planner *p, const struct sn_addr *addr)
{
	return prefix_contains(pool_of(p, family_of(addr)), addr);
}

/* --- what a service wants ----------------------------------------------------------------- */

static bool has_any_port(const struct service *s)
{
	for (size_t i = 0; i < s->n_ports; i++)
		if (s->ports[i].port == SN_PORT_ANY)
			return true;
	return false;
}

static bool is_allowed(const struct planner *p, const struct sn_addr *addr)
{
	const struct store_config *config = &p->store->config;

	for (size_t i = 0; i < config->n_allowed; i++)
		if (prefix_contains(&config->allowed[i], addr))
			return true;
	return false;
}

static void check_explicit(struct planner *p, struct draft *d, const struct sn_addr *addr)
{
	const struct service *s = d->given->service;
	char text[ADDRESS_TEXT], pool[ADDRESS_TEXT];

	(void)address_format(addr, text);
	(void)prefix_format(pool_of(p, family_of(addr)), pool);
	if (is_in_pool(p, addr))
		return;
	if (address_is_special(addr))
		store_plan_refuse(
			p, d, -EINVAL,
			"address %s is loopback, link-local or multicast; a service cannot have it",
			text);
	else if (!is_allowed(p, addr))
		store_plan_refuse(
			p, d, -EINVAL,
			"address %s is neither in the pool %s nor in a range that services.allow "
			"names; allow its range there, or leave the address out",
			text, pool);
	else if (has_any_port(s))
		store_plan_refuse(p, d, -EINVAL,
				  "port 0 (any port) needs an address of the pool %s, not %s", pool,
				  text);
}

static void want_explicit(struct planner *p, struct draft *d)
{
	struct service *s = d->given->service, *old = d->old;

	d->new = service_ref(s);
	d->unchanged = old && service_is_equal(old, s);
	for (size_t i = 0; !d->unchanged && i < s->n_addresses; i++) {
		check_explicit(p, d, &s->address[i]);
		d->want[family_of(&s->address[i])] =
			(struct want){.kind = WANT_EXPLICIT, .addr = s->address[i]};
	}
}

/* An address given earlier goes before one that the declaration remembers; both only from the pool.
 */
static void want_known(struct planner *p, struct draft *d, const struct service *s,
		       enum want_kind kind)
{
	for (size_t i = 0; s && s->allocated && i < s->n_addresses; i++) {
		struct want *want = &d->want[family_of(&s->address[i])];

		if (is_in_pool(p, &s->address[i]) && want->kind != WANT_KEPT)
			*want = (struct want){.kind = kind, .addr = s->address[i]};
	}
}

static void want_families(struct draft *d, const struct service *s)
{
	bool needed[2] = {false, false};

	for (size_t i = 0; i < s->n_endpoints; i++)
		needed[family_of(&s->endpoints[i].addr)] = true;
	needed[0] = needed[0] || (!needed[1] && !d->want[0].kind && !d->want[1].kind);
	for (size_t i = 0; i < 2; i++)
		if (needed[i] && !d->want[i].kind)
			d->want[i].kind = WANT_FRESH;
}

/* The object with the addresses that it wants, which are settled by now. */
static int make_new(struct draft *d)
{
	struct service draft = *d->given->service, *new;
	int r;

	draft.n_addresses = 0;
	draft.allocated = true;
	for (size_t i = 0; i < 2; i++)
		if (d->want[i].kind)
			draft.address[draft.n_addresses++] = d->want[i].addr;
	r = service_new(&draft, &new);
	if (r < 0)
		return r;
	d->new = new;
	return 0;
}

static bool is_settled(const struct draft *d)
{
	for (size_t i = 0; i < 2; i++)
		if (d->want[i].kind == WANT_HINT || d->want[i].kind == WANT_FRESH)
			return false;
	return true;
}

static int want_allocated(struct planner *p, struct draft *d)
{
	struct service *s = d->given->service;
	int r;

	want_known(p, d, d->old, WANT_KEPT);
	want_known(p, d, s, WANT_HINT);
	want_families(d, s);
	if (!is_settled(d))
		return 0;
	r = make_new(d);
	if (r >= 0)
		d->unchanged = service_is_equal(d->old, d->new);
	return r;
}

static int find_wants(struct planner *p)
{
	for (size_t i = 0; i < p->services.n; i++) {
		struct draft *d = &p->services.items[i];
		int r = 0;

		if (!d->given || d->bad)
			continue;
		if (d->given->service->allocated)
			r = want_allocated(p, d);
		else
			want_explicit(p, d);
		if (r < 0)
			return r;
	}
	return 0;
}

/* --- who gets it -------------------------------------------------------------------------- */

static bool is_changed(const struct draft *d)
{
	return !d->bad && !d->unchanged;
}

/* Somebody who is on an address that cannot be shared; for a message. */
static const struct service *find_neighbour(const struct planner *p, const struct draft *d,
					    const struct sn_addr *addr)
{
	for (size_t i = 0; i < p->services.n; i++) {
		const struct draft *other = &p->services.items[i];
		const struct want *want = &other->want[family_of(addr)];

		if (other != d && want->held && address_is_equal(&want->addr, addr))
			return other->given->service;
	}
	for (size_t i = 0; i < p->store->services.n; i++) {
		const struct service *s = p->store->services.items[i];

		for (size_t k = 0; k < s->n_addresses; k++)
			if (address_is_equal(&s->address[k], addr))
				return s;
	}
	return NULL;
}

static void refuse_conflict(struct planner *p, struct draft *d, const struct sn_addr *addr,
			    const struct claim_conflict *conflict)
{
	const struct service *s = d->given->service, *owner = conflict->owner;
	char text[ADDRESS_TEXT];

	owner = owner ? owner : find_neighbour(p, d, addr);
	if (conflict->alone)
		store_plan_refuse(
			p, d, -EINVAL,
			"address %s is held by service %s/%s, and one of the two needs it for "
			"itself (an address from the pool, or any port)",
			address_format(addr, text), owner ? owner->namespace : "?",
			owner ? owner->name : "?");
	else
		store_plan_refuse(p, d, -EINVAL,
				  "%s/%s is the address of service %s/%s (source %s)",
				  address_format_port(addr, s->ports[conflict->port].port, text),
				  s->ports[conflict->port].proto == SN_PROTO_UDP ? "UDP" : "TCP",
				  owner->namespace, owner->name, owner->source);
}

static void choose(struct planner *p, struct draft *d, size_t family)
{
	struct service *s = d->given->service;
	const struct prefix *pool = pool_of(p, family);
	struct want *want = &d->want[family];
	struct claim_conflict conflict;
	char text[ADDRESS_TEXT];

	want->kind = WANT_FRESH;
	for (uint64_t probe = 0;; probe++) {
		if (pool_choose(pool, s->namespace, s->name, probe, &want->addr) < 0)
			break;
		want->held = claim_hold(&p->store->claims, s, &want->addr, &conflict);
		if (want->held)
			return;
	}
	store_plan_refuse(p, d, -E2BIG, "the pool %s has no free address",
			  prefix_format(pool, text));
}

static void serve(struct planner *p, struct draft *d, size_t family)
{
	struct want *want = &d->want[family];
	struct claim_conflict conflict;

	if (want->kind != WANT_FRESH)
		want->held =
			claim_hold(&p->store->claims, d->given->service, &want->addr, &conflict);
	if (want->held)
		return;
	if (want->kind == WANT_EXPLICIT)
		refuse_conflict(p, d, &want->addr, &conflict);
	else
		choose(p, d, family);
}

static int serve_all(struct planner *p)
{
	for (enum want_kind kind = WANT_KEPT; kind < WANT_MAX; kind++)
		for (size_t i = 0; i < 2 * p->services.n; i++) {
			struct draft *d = &p->services.items[i / 2];
			struct want *want = &d->want[i % 2];

			if (is_changed(d) && want->kind == kind && !want->held)
				serve(p, d, i % 2);
		}
	for (size_t i = 0; i < p->services.n; i++) {
		struct draft *d = &p->services.items[i];
		int r = d->given && is_changed(d) && !d->new ? make_new(d) : 0;

		if (r < 0)
			return r;
	}
	return 0;
}

/* --- loops -------------------------------------------------------------------------------- */

/* The service whose address the endpoint has, at the port where it would be connected to. */
static const struct claim *find_loop(const struct planner *p, const struct service *s,
				     size_t endpoint, size_t port)
{
	uint16_t target = service_target(s, endpoint, port);
	struct sn_frontend key = {.addr = s->endpoints[endpoint].addr};

	/* A port that is kept as asked can be any: then the address alone decides. */
	if (target) {
		key.port_be = htons(target);
		key.proto = s->ports[port].proto;
	}
	return claim_find(&p->store->claims, &key);
}

static void check_endpoint(struct planner *p, struct draft *d, const struct service *s, size_t i)
{
	const struct endpoint *e = &s->endpoints[i];
	char text[ADDRESS_TEXT], pool[ADDRESS_TEXT];

	if (is_in_pool(p, &e->addr)) {
		store_plan_refuse(
			p, d, -EINVAL,
			"endpoint %s lies in the pool %s, whose addresses are only for services",
			address_format(&e->addr, text),
			prefix_format(pool_of(p, family_of(&e->addr)), pool));
		return;
	}
	for (size_t k = 0; k < s->n_ports; k++) {
		const struct claim *claim = find_loop(p, s, i, k);

		if (!claim)
			continue;
		(void)address_format_port(&e->addr, service_target(s, i, k), text);
		if (claim->owner)
			store_plan_refuse(
				p, d, -EINVAL,
				"endpoint %s is the address of service %s/%s; a service cannot "
				"lead to a service",
				text, claim->owner->namespace, claim->owner->name);
		else
			store_plan_refuse(p, d, -EINVAL, "endpoint %s is the address of a service",
					  text);
		return;
	}
}

static void check_new(struct planner *p)
{
	for (size_t i = 0; i < p->services.n; i++) {
		struct draft *d = &p->services.items[i];
		const struct service *s = d->new;

		for (size_t k = 0; s && is_changed(d) && k < s->n_endpoints; k++)
			check_endpoint(p, d, s, k);
	}
}

/* Whether the change claims an address and port outside the pools that the service did not have. */
static bool has_new_frontend(const struct planner *p)
{
	for (size_t i = 0; i < p->services.n; i++) {
		const struct draft *d = &p->services.items[i];
		const struct service *old = d->old, *s = d->new;
		size_t n = s ? s->n_addresses * sizeof(*s->address) : 0;

		if (!s || s->allocated || !is_changed(d))
			continue;
		if (!old || old->n_addresses != s->n_addresses ||
		    memcmp(old->address, s->address, n) || old->n_ports != s->n_ports)
			return true;
		for (size_t k = 0; k < s->n_ports; k++)
			if (old->ports[k].port != s->ports[k].port ||
			    old->ports[k].proto != s->ports[k].proto)
				return true;
	}
	return false;
}

static void blame_claimant(struct planner *p, const struct claim *claim, const struct service *s)
{
	const struct service *owner =
		claim->owner ? claim->owner : find_neighbour(p, NULL, &claim->key.addr);
	struct store_name name = store_shelf_name(OBJECT_SERVICE, owner);
	struct draft *d = store_plan_find(&p->services, &name);
	char text[ADDRESS_TEXT];

	if (d && d->given && !d->bad)
		store_plan_refuse(
			p, d, -EINVAL,
			"%s is an endpoint of service %s/%s; a service cannot lead to a service",
			address_format_port(&claim->key.addr, ntohs(claim->key.port_be), text),
			s->namespace, s->name);
}

/* The other way round: a new address that is an endpoint of a service that stays as it is. */
static void check_kept(struct planner *p)
{
	size_t next = 0;

	for (size_t i = 0; i < p->store->services.n; i++) {
		const struct service *s = p->store->services.items[i];

		/* Drafts are sorted, too: those with an old service meet it in this order. */
		while (next < p->services.n && !p->services.items[next].old)
			next++;
		if (next < p->services.n && p->services.items[next].old == s &&
		    !p->services.items[next++].unchanged)
			continue;
		for (size_t k = 0; k < s->n_endpoints * s->n_ports; k++) {
			const struct claim *claim = find_loop(p, s, k / s->n_ports, k % s->n_ports);

			if (claim)
				blame_claimant(p, claim, s);
		}
	}
}

/* --- the whole ---------------------------------------------------------------------------- */

static void release_old(struct planner *p)
{
	for (size_t i = 0; i < p->services.n; i++) {
		struct draft *d = &p->services.items[i];
		const struct service *old = d->old;

		for (size_t k = 0; old && is_changed(d) && k < old->n_addresses; k++)
			claim_release(&p->store->claims, old, &old->address[k]);
	}
}

/* What serve() entered goes out again, and what release_old() took out comes back. A draft may have
 * become bad in between: it still counts as it did then. */
static void undo(struct planner *p, const bool *touched)
{
	struct claim_conflict conflict;

	for (size_t i = 0; i < 2 * p->services.n; i++) {
		struct draft *d = &p->services.items[i / 2];
		struct want *want = &d->want[i % 2];

		if (want->held)
			claim_release(&p->store->claims, d->given->service, &want->addr);
		want->held = false;
	}
	for (size_t i = 0; i < p->services.n; i++) {
		struct service *old = p->services.items[i].old;

		for (size_t k = 0; old && touched[i] && k < old->n_addresses; k++)
			(void)claim_hold(&p->store->claims, old, &old->address[k], &conflict);
	}
}

/* By how much the table may grow: what a service held is released before it holds anew. */
static size_t count_claims(const struct planner *p)
{
	size_t n = 0;

	for (size_t i = 0; i < p->services.n; i++) {
		const struct draft *d = &p->services.items[i];
		const struct service *old = d->old, *given = d->given ? d->given->service : NULL;
		size_t need = given ? 2 * claim_count(given) : 0;
		size_t held = given && old ? old->n_addresses * claim_count(old) : 0;

		if (need > held)
			n += need - held;
	}
	return n;
}

int store_address_plan(struct planner *p)
{
	_cleanup_free_ bool *touched = calloc(p->services.n + 1, sizeof(*touched));
	int r = find_wants(p);

	if (r < 0 || !touched)
		return -ENOMEM;
	r = claims_reserve(&p->store->claims, count_claims(p));
	if (r < 0)
		return r;
	for (size_t i = 0; i < p->services.n; i++)
		touched[i] = is_changed(&p->services.items[i]);
	release_old(p);
	r = serve_all(p);
	if (r >= 0 && !p->error)
		check_new(p);
	if (r >= 0 && !p->error && has_new_frontend(p))
		check_kept(p);
	undo(p, touched);
	return r;
}
