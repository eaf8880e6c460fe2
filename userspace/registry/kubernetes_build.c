/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * One service out of a Service and its slices. It must never offer a port that leads nowhere, or
 * forget an endpoint that any slice of the service still names, whoever owns that slice, or named a
 * moment ago.
 */
#include "registry/kubernetes_build.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "model/address.h"
#include "model/limits.h"
#include "registry/kubernetes_policy.h"

#define WEIGHT 100 /* as of a manifest that says none */

/* --- parts ----------------------------------------------------------------------------------- */

enum { PART_CLUSTER, PART_NODE, PART_OUTSIDE };

/* At which addresses a part is, and on which ports. */
struct part {
	const struct kubernetes_object *service;
	struct sn_addr addresses[2];
	size_t n_addresses;
	uint32_t ports; /* those of the service that it may have, bit by bit */
	bool node;      /* at their node ports */
};

int kubernetes_build_name(const struct kubernetes_row *row, unsigned int part,
			  char ret_namespace[static 64], char ret_name[static 64])
{
	const char *slash = strchr(row->key, '/');
	char namespace[LIMIT_NAME + 1], name[KUBERNETES_NAME + 32], suffix[32] = "";

	if (part == PART_NODE)
		(void)snprintf(suffix, sizeof(suffix), "-nodeport");
	else if (part == PART_OUTSIDE)
		(void)snprintf(suffix, sizeof(suffix), "-external");
	else if (part)
		(void)snprintf(suffix, sizeof(suffix), "-external-%u", part - PART_OUTSIDE + 1);
	(void)snprintf(namespace, sizeof(namespace), "%.*s", (int)(slash - row->key), row->key);
	(void)snprintf(name, sizeof(name), "%s%s", slash + 1, suffix);
	return draft_name(namespace, ret_namespace) < 0 ? -EINVAL : draft_name(name, ret_name);
}

bool kubernetes_build_is_taken(const struct kubernetes_join *j, const struct kubernetes_row *row,
			       unsigned int part)
{
	char namespace[64], name[64];
	const struct kubernetes_row *other;

	if (!part || kubernetes_build_name(row, part, namespace, name) < 0)
		return false;
	other = kubernetes_table_find(&j->tables[KUBERNETES_SERVICE], namespace, name);
	return other && other->object;
}

static uint32_t usable_ports(const struct kubernetes_object *o)
{
	uint32_t mask = 0;

	for (size_t i = 0; i < o->n_ports; i++)
		mask |= o->ports[i].proto ? 1u << i : 0;
	return mask;
}

static void add_part_address(struct part *p, const struct sn_addr *addr)
{
	if (p->n_addresses < 2 &&
	    (!p->n_addresses || address_is_v4(&p->addresses[0]) != address_is_v4(addr)))
		p->addresses[p->n_addresses++] = *addr;
}

static void make_node_part(const struct kubernetes_join *j, struct part *p)
{
	const struct kubernetes_object *o = p->service;
	const struct kubernetes_row *node =
		kubernetes_table_find(&j->tables[KUBERNETES_NODE], "", j->node);

	p->node = true;
	for (size_t i = 0; i < o->n_ports; i++)
		p->ports &= o->ports[i].node_port ? UINT32_MAX : ~(1u << i);
	for (size_t i = 0; node && i < node->object->n_addresses; i++)
		add_part_address(p, &node->object->addresses[i]);
}

/* The n-th of each family. */
static void make_outside_part(struct part *p, unsigned int n)
{
	const struct kubernetes_object *o = p->service;
	unsigned int seen[2] = {0, 0};

	for (size_t i = 0; i < o->n_outside; i++) {
		if (seen[address_is_v4(&o->outside[i])]++ == n)
			add_part_address(p, &o->outside[i]);
	}
}

/* false: the Service has no such part. */
static bool make_part(const struct kubernetes_join *j, const struct kubernetes_row *row,
		      unsigned int part, struct part *ret)
{
	const struct kubernetes_object *o = row->object;

	if (!o || o->external)
		return false;
	*ret = (struct part){.service = o, .ports = usable_ports(o)};
	if (part == PART_CLUSTER) {
		for (size_t i = 0; i < o->n_addresses; i++)
			add_part_address(ret, &o->addresses[i]);
		return ret->ports;
	}
	if (part == PART_NODE)
		make_node_part(j, ret);
	else
		make_outside_part(ret, part - PART_OUTSIDE);
	return ret->ports && ret->n_addresses && !kubernetes_build_is_taken(j, row, part);
}

/* --- the join -------------------------------------------------------------------------------- */

/* Which of the service's ports a slice has, bit by bit, and on which ports. Names must be equal,
 * also if both are none. */
static uint32_t match_ports(const struct kubernetes_object *service,
			    const struct kubernetes_object *slice, uint16_t ret[static LIMIT_PORTS])
{
	uint32_t mask = 0;

	for (size_t i = 0; i < service->n_ports; i++) {
		const struct kubernetes_port *want = &service->ports[i];

		for (size_t k = 0; k < slice->n_ports && want->proto && !(mask & 1u << i); k++) {
			const struct kubernetes_port *have = &slice->ports[k];

			if (have->proto != want->proto ||
			    strcmp(kubernetes_text(slice, have->name),
				   kubernetes_text(service, want->name)))
				continue;
			mask |= 1u << i;
			ret[i] = have->port;
		}
	}
	return mask;
}

/*
 * The ports that can be offered: those that all slices with endpoints have. A port that only some
 * endpoints have cannot be: to the others it would lead nowhere. If they have none in common, those
 * of the largest slice; without any endpoint, all.
 */
static uint32_t offered_ports(const struct kubernetes_row *row)
{
	uint32_t common = UINT32_MAX, largest = 0;
	uint16_t ports[LIMIT_PORTS];
	size_t most = 0;

	for (const struct kubernetes_row *s = row->slices; s; s = s->sibling) {
		size_t n = s->object->n_endpoints;
		uint32_t mask = n ? match_ports(row->object, s->object, ports) : 0;

		if (!mask)
			continue;
		common &= mask;
		if (n > most) {
			most = n;
			largest = mask;
		}
	}
	return common ? common : largest;
}

/* Whether each endpoint that takes connections says which zone it is meant for: hints hold only
 * together, or some zone would have too few. */
static bool is_hinted(const struct kubernetes_row *row)
{
	size_t n = 0;

	for (const struct kubernetes_row *s = row->slices; s; s = s->sibling) {
		for (size_t i = 0; i < s->object->n_endpoints; i++) {
			const struct kubernetes_endpoint *e = &s->object->endpoints[i];

			if (!e->draining && !e->hint)
				return false;
			n += !e->draining;
		}
	}
	return n;
}

static const char *zone_of(const struct kubernetes_join *j, const struct kubernetes_object *slice,
			   const struct kubernetes_endpoint *e, bool hinted)
{
	const struct kubernetes_row *node;

	if (hinted && e->hint)
		return kubernetes_text(slice, e->hint);
	if (e->zone)
		return kubernetes_text(slice, e->zone);
	node = e->node ? kubernetes_table_find(&j->tables[KUBERNETES_NODE], "",
					       kubernetes_text(slice, e->node))
		       : NULL;
	if (node && node->object->zone)
		return kubernetes_text(node->object, node->object->zone);
	return j->zone;
}

/* What is the same for all slices of a service. */
struct whole {
	const struct kubernetes_object *service;
	uint32_t offered; /* its ports, bit by bit */
	bool hinted;
};

static int add_slice(struct kubernetes_join *j, const struct whole *w,
		     const struct kubernetes_object *slice)
{
	const struct kubernetes_object *service = w->service;
	uint32_t offered = w->offered;
	uint16_t all[LIMIT_PORTS], ports[LIMIT_PORTS];
	size_t n = 0;

	if ((match_ports(service, slice, all) & offered) != offered) {
		j->partial += slice->n_endpoints;
		return 0;
	}
	for (size_t i = 0; i < service->n_ports; i++) {
		if (offered & 1u << i)
			ports[n++] = all[i];
	}
	for (size_t i = 0; i < slice->n_endpoints; i++) {
		const struct kubernetes_endpoint *e = &slice->endpoints[i];
		struct draft_endpoint d = {
			.addr = e->addr,
			.ports = ports,
			.weight = e->draining ? 0 : WEIGHT,
			.zone = zone_of(j, slice, e, w->hinted),
			.node = kubernetes_text(slice, e->node),
			.instance = kubernetes_text(slice, e->instance),
		};

		if (draft_add_endpoint(j->draft, &d) == -ENOMEM)
			return -ENOMEM;
	}
	return 0;
}

static int add_ports(struct kubernetes_join *j, const struct part *p, uint32_t offered)
{
	const struct kubernetes_object *o = p->service;
	int r = 0;

	for (size_t i = 0; i < o->n_ports && r >= 0; i++) {
		const struct kubernetes_port *port = &o->ports[i];

		if (offered & 1u << i)
			r = draft_add_port(j->draft, kubernetes_text(o, port->name),
					   p->node ? port->node_port : port->port, port->proto);
	}
	return r;
}

static int add_head(struct kubernetes_join *j, const struct part *p)
{
	const struct kubernetes_object *o = p->service;
	char policy[LIMIT_NAME + 1];

	if (kubernetes_policy_of(o, policy))
		draft_set_policy(j->draft, policy);
	for (size_t i = 0; i < p->n_addresses; i++)
		(void)draft_add_address(j->draft, &p->addresses[i]);
	for (size_t i = 0; i < o->n_labels; i++) {
		if (draft_add_label(j->draft, kubernetes_text(o, o->labels[i].key),
				    kubernetes_text(o, o->labels[i].value)) == -ENOMEM)
			return -ENOMEM;
	}
	return 0;
}

int kubernetes_build(struct kubernetes_join *j, const struct kubernetes_row *row, unsigned int part,
		     struct service **ret)
{
	struct whole w = {.service = row->object};
	char namespace[64], name[64];
	struct part p;
	int r;

	*ret = NULL;
	if (!make_part(j, row, part, &p))
		return 0;
	if (kubernetes_build_name(row, part, namespace, name) < 0) {
		j->left_out++;
		return 0;
	}
	w.hinted = is_hinted(row);
	w.offered = offered_ports(row) & p.ports;
	if (!w.offered)
		w.offered = p.ports;
	r = draft_init(j->draft, namespace, name, j->tag);
	if (r >= 0)
		r = add_head(j, &p);
	if (r >= 0)
		r = add_ports(j, &p, w.offered);
	for (const struct kubernetes_row *s = row->slices; s && r >= 0; s = s->sibling)
		r = add_slice(j, &w, s->object);
	for (const struct kubernetes_ghost *g = row->ghosts; g && r >= 0; g = g->next)
		r = add_slice(j, &w, g->object);
	if (r >= 0)
		r = draft_finish(j->draft, ret);
	j->left_out += draft_left_out(j->draft);
	if (r < 0 && r != -ENOMEM)
		j->left_out++;
	return r == -ENOMEM ? r : 0;
}
