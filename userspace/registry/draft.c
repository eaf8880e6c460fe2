/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * See draft.h. Before: a decoder that walks through an answer. After: service_new(). What comes out
 * is what the control API accepts, whatever came in: one bad name in a registry must not make the
 * daemon refuse the whole of it. Never keeps more than twice what a service may have.
 */
#include "registry/draft.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "model/address.h"
#include "model/limits.h"

#define PENDING (2 * LIMIT_ENDPOINTS)

/* One endpoint that was said; ports, zone and node are one piece of memory. */
struct found {
	struct sn_addr addr;
	uint64_t instance;
	uint16_t weight;
	uint16_t *ports;
	const char *zone, *node; /* "": none */
};

struct draft_service {
	char namespace[LIMIT_NAME + 1];
	char name[LIMIT_NAME + 1];
	char source[128];
	char policy[LIMIT_NAME + 1];
	struct sn_addr address[LIMIT_ADDRESSES];
	size_t n_addresses;
	struct service_port ports[LIMIT_PORTS];
	char port_names[LIMIT_PORTS][LIMIT_NAME + 1];
	size_t n_ports;
	struct label labels[LIMIT_LABELS]; /* sorted; a value is behind its key */
	size_t n_labels;
	struct found *found;
	size_t n_found, capacity;
	size_t left_out;
};

/* --- names -------------------------------------------------------------------------------- */

static bool is_alnum(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9');
}

static char to_lower(char c)
{
	return c >= 'A' && c <= 'Z' ? (char)(c - 'A' + 'a') : c;
}

int draft_name(const char *text, char ret[static LIMIT_NAME + 1])
{
	char name[LIMIT_NAME + 1];
	size_t n = 0;

	for (; *text; text++) {
		char c = to_lower(*text);

		if (c == '_' || c == '.')
			c = '-';
		if (!is_alnum(c) && c != '-')
			return -EINVAL;
		if (c == '-' && !n)
			continue; /* a label begins with a letter or a digit */
		if (n == LIMIT_NAME)
			return -EINVAL;
		name[n++] = c;
	}
	while (n && name[n - 1] == '-')
		n--;
	if (!n)
		return -EINVAL;
	memcpy(ret, name, n);
	ret[n] = '\0';
	return 0;
}

/* A host's name as the control API wants it: labels with single dots between. False: it is none. */
static bool make_host(const char *text, char ret[static LIMIT_NODE + 1])
{
	size_t n = 0, label = 0;

	for (; *text; text++) {
		char c = *text == '_' ? '-' : to_lower(*text);
		bool dot = c == '.';

		if (n == LIMIT_NODE || (!is_alnum(c) && c != '-' && !dot))
			return false;
		if ((dot && (!label || ret[n - 1] == '-')) || (c == '-' && !label))
			return false;
		label = dot ? 0 : label + 1;
		if (label > LIMIT_NAME)
			return false;
		ret[n++] = c;
	}
	ret[n] = '\0';
	return label && ret[n - 1] != '-';
}

uint64_t draft_instance(const char *id)
{
	uint64_t hash;

	if (!id || !*id)
		return 0;
	hash = text_hash(id, strlen(id), 0);
	return hash ? hash : 1;
}

/* --- life --------------------------------------------------------------------------------- */

int draft_new(struct draft_service **ret)
{
	struct draft_service *d = calloc(1, sizeof(*d));

	if (!d)
		return -ENOMEM;
	*ret = d;
	return 0;
}

static void drop_found(struct draft_service *d, size_t from)
{
	for (size_t i = from; i < d->n_found; i++)
		free(d->found[i].ports);
	d->n_found = from;
}

static void empty(struct draft_service *d)
{
	drop_found(d, 0);
	for (size_t i = 0; i < d->n_labels; i++)
		free(d->labels[i].key);
	d->n_labels = d->n_ports = d->n_addresses = d->left_out = 0;
}

struct draft_service *draft_free(struct draft_service *d)
{
	if (!d)
		return NULL;
	empty(d);
	free(d->found);
	free(d);
	return NULL;
}

int draft_init(struct draft_service *d, const char *namespace, const char *name, const char *source)
{
	empty(d);
	(void)snprintf(d->policy, sizeof(d->policy), "default");
	(void)snprintf(d->source, sizeof(d->source), "%s", source);
	if (draft_name(namespace, d->namespace) < 0 || draft_name(name, d->name) < 0)
		return -EINVAL;
	return 0;
}

size_t draft_left_out(const struct draft_service *d)
{
	return d->left_out;
}

/* --- what the service says ---------------------------------------------------------------- */

void draft_set_policy(struct draft_service *d, const char *policy)
{
	if (!policy || draft_name(policy, d->policy) < 0)
		(void)snprintf(d->policy, sizeof(d->policy), "default");
}

int draft_add_address(struct draft_service *d, const struct sn_addr *addr)
{
	if (!address_is_target(addr))
		return -EINVAL;
	for (size_t i = 0; i < d->n_addresses; i++)
		if (address_is_v4(&d->address[i]) == address_is_v4(addr))
			return -E2BIG;
	d->address[d->n_addresses++] = *addr;
	if (d->n_addresses == 2 && address_is_v4(addr)) {
		d->address[1] = d->address[0];
		d->address[0] = *addr;
	}
	return 0;
}

static bool port_is_named(const struct draft_service *d, const char *name)
{
	for (size_t i = 0; i < d->n_ports; i++)
		if (!strcmp(d->port_names[i], name))
			return true;
	return false;
}

int draft_add_port(struct draft_service *d, const char *name, uint16_t port, uint8_t proto)
{
	char label[LIMIT_NAME + 1] = "";

	if (proto != SN_PROTO_TCP && proto != SN_PROTO_UDP)
		return -EINVAL;
	if (d->n_ports == LIMIT_PORTS)
		return -E2BIG;
	if (name && *name && draft_name(name, label) < 0)
		d->left_out++;
	for (size_t i = 0; i < d->n_ports; i++)
		if (d->ports[i].port == port && d->ports[i].proto == proto)
			return -EEXIST;
	if (*label && port_is_named(d, label))
		return -EEXIST;
	memcpy(d->port_names[d->n_ports], label, sizeof(label));
	d->ports[d->n_ports++] = (struct service_port){.port = port, .proto = proto};
	return 0;
}

/* Of several ports each needs a name. */
static void name_ports(struct draft_service *d)
{
	for (size_t i = 0; i < d->n_ports; i++) {
		const char *proto = d->ports[i].proto == SN_PROTO_UDP ? "udp" : "tcp";
		char name[LIMIT_NAME + 1];

		d->ports[i].name = d->port_names[i];
		if (*d->port_names[i] || d->n_ports == 1)
			continue;
		(void)snprintf(name, sizeof(name), "%s-%u", proto, d->ports[i].port);
		for (unsigned int k = 2; port_is_named(d, name); k++)
			(void)snprintf(name, sizeof(name), "%s-%u-%u", proto, d->ports[i].port, k);
		memcpy(d->port_names[i], name, sizeof(name));
	}
}

/* --- labels ------------------------------------------------------------------------------- */

static bool is_key(const char *key)
{
	size_t n = strnlen(key, LIMIT_LABEL_VALUE + 1);

	if (!n || n > LIMIT_LABEL_VALUE || !is_alnum(to_lower(key[0])) ||
	    !is_alnum(to_lower(key[n - 1])))
		return false;
	for (size_t i = 0; i < n; i++)
		if (!is_alnum(to_lower(key[i])) && !strchr("-_./", key[i]))
			return false;
	return true;
}

/* Also of UTF-8, since it becomes JSON. */
static bool is_value(const char *value)
{
	size_t n = strnlen(value, LIMIT_LABEL_VALUE + 1), length;

	if (n > LIMIT_LABEL_VALUE)
		return false;
	for (size_t i = 0; i < n; i += length) {
		length = text_utf8_length(value + i, n - i);
		if (!length || (unsigned char)value[i] < ' ' || value[i] == 0x7f)
			return false;
	}
	return true;
}

static int take_label(const char *key, const char *value, struct label *ret)
{
	size_t n = strlen(key) + 1, m = strlen(value) + 1;
	char *text = malloc(n + m);

	if (!text)
		return -ENOMEM;
	memcpy(text, key, n);
	memcpy(text + n, value, m);
	*ret = (struct label){text, text + n};
	return 0;
}

int draft_add_label(struct draft_service *d, const char *key, const char *value)
{
	struct label label;
	size_t at = 0;
	int compared = 1;

	if (!is_key(key) || !is_value(value)) {
		d->left_out++;
		return 0;
	}
	while (at < d->n_labels && (compared = strcmp(d->labels[at].key, key)) < 0)
		at++;
	if (at < d->n_labels && !compared) /* what was said first stays */
		return 0;
	if (d->n_labels == LIMIT_LABELS) {
		d->left_out++;
		return 0;
	}
	if (take_label(key, value, &label) < 0)
		return -ENOMEM;
	memmove(&d->labels[at + 1], &d->labels[at], (d->n_labels - at) * sizeof(label));
	d->labels[at] = label;
	d->n_labels++;
	return 0;
}

/* --- endpoints ---------------------------------------------------------------------------- */

/* Same address and ports: one endpoint. */
static int compare_place(const struct found *a, const struct found *b, size_t n_ports)
{
	int r = memcmp(&a->addr, &b->addr, sizeof(a->addr));

	return r ? r : memcmp(a->ports, b->ports, n_ports * sizeof(*a->ports));
}

/* Of the same place the best first; total, so that the order of an answer does not show. */
static int compare_found(const void *x, const void *y, void *n_ports)
{
	const struct found *a = x, *b = y;
	int r = compare_place(a, b, *(const size_t *)n_ports);

	if (!r)
		r = (b->weight > a->weight) - (b->weight < a->weight);
	if (!r)
		r = (a->instance > b->instance) - (a->instance < b->instance);
	if (!r)
		r = strcmp(a->zone, b->zone);
	return r ? r : strcmp(a->node, b->node);
}

/* A service with addresses cannot have endpoints of a family that it has none of. */
static void drop_family(struct draft_service *d)
{
	size_t n = 0;

	if (d->n_addresses != 1)
		return;
	for (size_t i = 0; i < d->n_found; i++) {
		if (address_is_v4(&d->found[i].addr) == address_is_v4(&d->address[0])) {
			d->found[n++] = d->found[i];
			continue;
		}
		free(d->found[i].ports);
		d->left_out++;
	}
	d->n_found = n;
}

/* Sorted, each once, and no more than may be. */
static void settle(struct draft_service *d)
{
	size_t n = 0;

	drop_family(d);
	if (d->n_found)
		qsort_r(d->found, d->n_found, sizeof(*d->found), compare_found, &d->n_ports);
	for (size_t i = 0; i < d->n_found; i++) {
		if (n && !compare_place(&d->found[n - 1], &d->found[i], d->n_ports))
			free(d->found[i].ports);
		else
			d->found[n++] = d->found[i];
	}
	d->n_found = n;
	if (n <= LIMIT_ENDPOINTS)
		return;
	d->left_out += n - LIMIT_ENDPOINTS;
	drop_found(d, LIMIT_ENDPOINTS);
}

static int make_room(struct draft_service *d)
{
	size_t capacity = d->capacity ? d->capacity * 2 : 16;
	struct found *found;

	if (d->n_found < d->capacity)
		return 0;
	if (d->n_found >= PENDING) {
		settle(d);
		return 0;
	}
	found = realloc(d->found, capacity * sizeof(*found));
	if (!found)
		return -ENOMEM;
	d->found = found;
	d->capacity = capacity;
	return 0;
}

static int take_found(const struct draft_service *d, const struct draft_endpoint *e,
		      struct found *ret)
{
	char zone[LIMIT_NAME + 1] = "", node[LIMIT_NODE + 1] = "";
	size_t ports = d->n_ports * sizeof(*e->ports), n, m;
	char *block;

	if (e->zone && draft_name(e->zone, zone) < 0)
		*zone = '\0';
	if (e->node && !make_host(e->node, node))
		*node = '\0';
	n = strlen(zone) + 1;
	m = strlen(node) + 1;
	block = malloc(ports + n + m);
	if (!block)
		return -ENOMEM;
	if (e->ports)
		memcpy(block, e->ports, ports);
	else
		memset(block, 0, ports);
	memcpy(block + ports, zone, n);
	memcpy(block + ports + n, node, m);
	*ret = (struct found){.addr = e->addr,
			      .instance = draft_instance(e->instance),
			      .weight = e->weight,
			      .ports = (uint16_t *)block,
			      .zone = block + ports,
			      .node = block + ports + n};
	return 0;
}

int draft_add_endpoint(struct draft_service *d, const struct draft_endpoint *e)
{
	int r;

	if (!address_is_target(&e->addr)) {
		d->left_out++;
		return -EINVAL;
	}
	r = make_room(d);
	if (r >= 0)
		r = take_found(d, e, &d->found[d->n_found]);
	if (r < 0)
		return r;
	d->n_found++;
	return 0;
}

/* --- the service -------------------------------------------------------------------------- */

/* The index of `name`, +1; 0: none, or there are too many. */
static uint16_t find_place(char **names, size_t *n, size_t max, const char *name)
{
	if (!*name)
		return 0;
	for (size_t i = *n; i > 0; i--)
		if (!strcmp(names[i - 1], name))
			return (uint16_t)i;
	if (*n == max)
		return 0;
	names[(*n)++] = (char *)name;
	return (uint16_t)*n;
}

static void place_endpoints(const struct draft_service *d, struct service *s)
{
	for (size_t i = 0; i < d->n_found; i++) {
		const struct found *f = &d->found[i];
		struct endpoint *e = &s->endpoints[i];

		*e = (struct endpoint){
			.addr = f->addr, .weight = f->weight, .instance = f->instance};
		e->zone = find_place(s->zones, &s->n_zones, LIMIT_SERVICE_ZONES, f->zone);
		e->node = find_place(s->nodes, &s->n_nodes, LIMIT_SERVICE_NODES, f->node);
		memcpy(&s->targets[i * s->n_ports], f->ports, s->n_ports * sizeof(*f->ports));
	}
	s->n_endpoints = d->n_found;
}

int draft_finish(struct draft_service *d, struct service **ret)
{
	char *zones[LIMIT_SERVICE_ZONES], *nodes[LIMIT_SERVICE_NODES];
	_cleanup_free_ struct endpoint *endpoints = NULL;
	_cleanup_free_ uint16_t *targets = NULL;
	struct service s = {.namespace = d->namespace,
			    .name = d->name,
			    .source = d->source,
			    .policy = d->policy,
			    .labels = d->labels,
			    .n_labels = d->n_labels,
			    .n_addresses = d->n_addresses,
			    .allocated = !d->n_addresses,
			    .ports = d->ports,
			    .n_ports = d->n_ports,
			    .zones = zones,
			    .nodes = nodes};

	if (!d->n_ports)
		return -ENODATA;
	settle(d);
	name_ports(d);
	memcpy(s.address, d->address, d->n_addresses * sizeof(*d->address));
	endpoints = malloc((d->n_found + 1) * sizeof(*endpoints));
	targets = malloc((d->n_found * d->n_ports + 1) * sizeof(*targets));
	if (!endpoints || !targets)
		return -ENOMEM;
	s.endpoints = endpoints;
	s.targets = targets;
	place_endpoints(d, &s);
	return service_new(&s, ret);
}
