/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * See docker_service.h. Before: docker_decode.c. After: draft.h, then docker.c says it. It must
 * come to the same services for the same containers, and never lose a service because one of its
 * containers is wrong.
 */
#include "registry/docker_service.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "model/limits.h"
#include "model/service.h"

#define WEIGHT 100
#define SHARED_MAX 4 /* containers in each other's network, in a row */

struct port {
	char name[LIMIT_NAME + 1]; /* "": none */
	uint16_t port;
	uint8_t proto;
};

/* A container as a member of a service. */
struct entry {
	const struct docker_container *container;
	char namespace[LIMIT_NAME + 1], name[LIMIT_NAME + 1];
	struct port ports[LIMIT_PORTS]; /* by name and protocol */
	size_t n_ports;
	size_t votes; /* within its service: how many have ports of this kind */
};

__attribute__((format(printf, 3, 4))) static void
leave_out(struct docker_wish *wish, const struct docker_container *c, const char *format, ...)
{
	va_list args;
	int n = snprintf(wish->text, sizeof(wish->text), "container %.64s: ", c->name ?: c->id);

	wish->left_out++;
	va_start(args, format);
	(void)vsnprintf(wish->text + n, sizeof(wish->text) - (size_t)n, format, args);
	va_end(args);
}

/* --- what labels say -------------------------------------------------------------------------- */

static bool is_true(const char *text)
{
	return text && (!strcasecmp(text, "true") || !strcmp(text, "1"));
}

bool docker_is_wanted(const struct docker_container *c)
{
	const char *enable = c->labels[DOCKER_ENABLE];

	return enable ? is_true(enable) : c->labels[DOCKER_SERVICE] != NULL;
}

/* 0: neither. */
static uint8_t proto_of(const char *text)
{
	return !strcasecmp(text, "tcp")   ? SN_PROTO_TCP
	       : !strcasecmp(text, "udp") ? SN_PROTO_UDP
					  : 0;
}

/* "http:8080/tcp"; writes into it. */
static int parse_port(char *text, uint8_t proto, struct port *ret)
{
	char *slash = strchr(text, '/'), *colon = strchr(text, ':'), *number, *end;
	unsigned long port;

	*ret = (struct port){.proto = proto};
	if (slash) {
		*slash = '\0';
		ret->proto = proto_of(slash + 1);
	}
	if (colon) {
		*colon = '\0';
		if (draft_name(text, ret->name) < 0)
			return -EINVAL;
	}
	number = colon ? colon + 1 : text;
	port = strtoul(number, &end, 10);
	if (*number < '0' || *number > '9' || *end || !port || port > UINT16_MAX || !ret->proto)
		return -EINVAL;
	ret->port = (uint16_t)port;
	return 0;
}

static int compare_ports(const void *x, const void *y)
{
	const struct port *a = x, *b = y;
	int r = strcmp(a->name, b->name);

	if (!r)
		r = (int)a->proto - (int)b->proto;
	return r ? r : (int)a->port - (int)b->port;
}

static int parse_ports(const char *label, uint8_t proto, struct entry *e)
{
	char text[1024], *rest = text, *at;

	if (strlen(label) >= sizeof(text))
		return -EINVAL;
	(void)snprintf(text, sizeof(text), "%s", label);
	while ((at = strsep(&rest, ","))) {
		at += strspn(at, " ");
		at[strcspn(at, " ")] = '\0';
		if (e->n_ports == LIMIT_PORTS || parse_port(at, proto, &e->ports[e->n_ports]) < 0)
			return -EINVAL;
		e->n_ports++;
	}
	qsort(e->ports, e->n_ports, sizeof(*e->ports), compare_ports);
	return 0;
}

/* Several ports are told apart by their names, or their numbers. */
static void name_ports(struct entry *e)
{
	for (size_t i = 0; e->n_ports > 1 && i < e->n_ports; i++)
		if (!*e->ports[i].name)
			(void)snprintf(e->ports[i].name, sizeof(e->ports[i].name), "%s-%u",
				       e->ports[i].proto == SN_PROTO_UDP ? "udp" : "tcp",
				       e->ports[i].port);
	qsort(e->ports, e->n_ports, sizeof(*e->ports), compare_ports);
}

static bool read_ports(struct docker_wish *wish, const struct docker_container *c, struct entry *e)
{
	const char *label = c->labels[DOCKER_PORT], *protocol = c->labels[DOCKER_PROTOCOL];
	uint8_t proto = protocol ? proto_of(protocol) : SN_PROTO_TCP;

	if (!proto) {
		leave_out(wish, c, "sinew.protocol is \"%.30s\", not tcp or udp", protocol);
		return false;
	}
	if (label && parse_ports(label, proto, e) < 0) {
		leave_out(wish, c, "sinew.port is \"%.60s\", not [NAME:]PORT[/PROTOCOL]", label);
		return false;
	}
	if (!label && c->n_ports == 1) {
		e->ports[0] = (struct port){.port = c->ports[0].port, .proto = c->ports[0].proto};
		e->n_ports = 1;
	} else if (!label) {
		leave_out(wish, c, "it exposes %zu ports, and no label sinew.port says which",
			  c->n_ports);
		return false;
	}
	name_ports(e);
	return true;
}

static bool read_entry(struct docker_wish *wish, const struct docker_container *c, struct entry *e)
{
	const char *space = c->labels[DOCKER_SPACE] ?: wish->namespace;
	const char *name = c->labels[DOCKER_SERVICE] ?: c->labels[DOCKER_COMPOSE] ?: c->name;

	memset(e, 0, sizeof(*e));
	e->container = c;
	if (!docker_is_wanted(c))
		return false;
	if (!name || draft_name(name, e->name) < 0 || draft_name(space, e->namespace) < 0) {
		leave_out(wish, c, "\"%.40s\" in \"%.40s\" is no name of a service", name ?: "",
			  space);
		return false;
	}
	return read_ports(wish, c, e);
}

/* --- its address ------------------------------------------------------------------------------ */

static int compare_pointers(const void *x, const void *y)
{
	const struct docker_container *const *a = x, *const *b = y;

	return strcmp((*a)->id, (*b)->id);
}

struct all {
	const struct docker_container *const *containers;
	size_t n;
};

/* Whose network it is in; NULL: one that does not run. */
static const struct docker_container *find_owner(const struct all *all,
						 const struct docker_container *c)
{
	static const char prefix[] = "container:";

	for (size_t i = 0; c && c->mode && !strncmp(c->mode, prefix, sizeof(prefix) - 1); i++) {
		const struct docker_container key = {.id = c->mode + sizeof(prefix) - 1};
		const struct docker_container *at = &key, *const * found;

		if (i == SHARED_MAX)
			return NULL;
		found = bsearch(&at, all->containers, all->n, sizeof(*all->containers),
				compare_pointers);
		c = found ? *found : NULL;
	}
	return c;
}

static bool find_address(const struct docker_wish *wish, const struct all *all,
			 const struct docker_container *c, struct sn_addr *ret)
{
	const char *network = c->labels[DOCKER_NETWORK];
	const struct docker_container *owner = find_owner(all, c);

	if (owner && owner->mode && !strcmp(owner->mode, "host")) {
		*ret = wish->node;
		return true;
	}
	for (size_t i = 0; owner && i < owner->n_networks; i++) {
		if (network && strcmp(network, owner->networks[i].name) != 0)
			continue;
		*ret = owner->networks[i].addr;
		return true;
	}
	return false;
}

/* --- one service ------------------------------------------------------------------------------ */

static int compare_entries(const void *x, const void *y)
{
	const struct entry *a = *(const struct entry *const *)x,
			   *b = *(const struct entry *const *)y;
	int r = strcmp(a->namespace, b->namespace);

	if (!r)
		r = strcmp(a->name, b->name);
	return r ? r : strcmp(a->container->id, b->container->id);
}

/* Of one port each, the numbers do not matter. */
static bool is_same_kind(const struct entry *a, const struct entry *b)
{
	if (a->n_ports != b->n_ports)
		return false;
	for (size_t i = 0; i < a->n_ports; i++)
		if (a->ports[i].proto != b->ports[i].proto ||
		    (a->n_ports > 1 && strcmp(a->ports[i].name, b->ports[i].name) != 0))
			return false;
	return true;
}

/* The one whose ports most have; of as many, the first. */
static const struct entry *elect(struct entry **entries, size_t n)
{
	const struct entry *best = entries[0];

	for (size_t i = 0; i < n && i < LIMIT_ENDPOINTS; i++) {
		size_t first = 0;

		while (!is_same_kind(entries[first], entries[i]))
			first++;
		entries[first]->votes++;
		if (entries[first]->votes > best->votes)
			best = entries[first];
	}
	return best;
}

/* As a whole number of 0 to 65535. */
static uint16_t weight_of(struct docker_wish *wish, const struct docker_container *c)
{
	const char *label = c->labels[DOCKER_WEIGHT];
	unsigned long weight;
	char *end;

	if (!label)
		return WEIGHT;
	weight = strtoul(label, &end, 10);
	if (*label >= '0' && *label <= '9' && !*end && weight <= LIMIT_WEIGHT)
		return (uint16_t)weight;
	leave_out(wish, c, "sinew.weight is \"%.30s\", not 0 to %d: taken as %d", label,
		  LIMIT_WEIGHT, WEIGHT);
	return WEIGHT;
}

static int add_endpoint(struct docker_wish *wish, const struct all *all, const struct entry *e)
{
	const struct docker_container *c = e->container;
	uint16_t ports[LIMIT_PORTS];
	struct draft_endpoint endpoint = {
		.ports = ports, .zone = c->labels[DOCKER_ZONE] ?: wish->zone, .instance = c->id};
	int r;

	if (!c->state || strcmp(c->state, "running") != 0 || c->unwell)
		return 0;
	if (!find_address(wish, all, c, &endpoint.addr)) {
		leave_out(wish, c, "it has no address in %.60s",
			  c->labels[DOCKER_NETWORK] ?: "any network");
		return 0;
	}
	for (size_t i = 0; i < e->n_ports; i++)
		ports[i] = e->ports[i].port;
	endpoint.weight = weight_of(wish, c);
	r = draft_add_endpoint(wish->draft, &endpoint);
	if (r == -EINVAL)
		leave_out(wish, c, "nothing can be sent to its address");
	return r == -EINVAL ? 0 : r;
}

static int add_ports(struct draft_service *d, const struct entry *shape)
{
	int r = 0;

	if (shape->n_ports == 1)
		return draft_add_port(d, shape->ports[0].name, SN_PORT_ANY, shape->ports[0].proto);
	for (size_t i = 0; r >= 0 && i < shape->n_ports; i++)
		r = draft_add_port(d, shape->ports[i].name, shape->ports[i].port,
				   shape->ports[i].proto);
	return r;
}

/* -EINVAL: no service can be made of it. */
static int make(struct docker_wish *wish, const struct all *all, struct entry **entries, size_t n,
		struct service **ret)
{
	struct draft_service *d = wish->draft;
	const struct entry *shape = elect(entries, n);
	const char *policy = NULL;
	int r = draft_init(d, shape->namespace, shape->name, wish->tag);

	if (r >= 0)
		r = add_ports(d, shape);
	for (size_t i = 0; r >= 0 && i < n; i++) {
		policy = policy ?: entries[i]->container->labels[DOCKER_POLICY];
		if (is_same_kind(shape, entries[i]))
			r = add_endpoint(wish, all, entries[i]);
		else
			leave_out(wish, entries[i]->container,
				  "its ports are not those of most of %.63s", shape->name);
	}
	if (r >= 0 && policy)
		draft_set_policy(d, policy);
	if (r >= 0)
		r = draft_finish(d, ret);
	wish->left_out += draft_left_out(d);
	if (r < 0 && r != -ENOMEM)
		leave_out(wish, shape->container, "sinew.port names a port twice");
	return r;
}

/* --- all -------------------------------------------------------------------------------------- */

static bool is_same_service(const struct entry *a, const struct entry *b)
{
	return !strcmp(a->namespace, b->namespace) && !strcmp(a->name, b->name);
}

static int make_all(struct docker_wish *wish, const struct all *all, struct entry **entries,
		    size_t n_entries, struct object *objects)
{
	int n = 0;

	for (size_t i = 0, many; i < n_entries; i += many) {
		struct service *s = NULL;
		int r;

		for (many = 1; i + many < n_entries; many++)
			if (!is_same_service(entries[i], entries[i + many]))
				break;
		r = make(wish, all, entries + i, many, &s);
		if (r >= 0)
			objects[n++] = (struct object){.kind = OBJECT_SERVICE, .service = s};
		if (r == -ENOMEM) {
			for (int k = 0; k < n; k++)
				object_done(&objects[k]);
			return r;
		}
	}
	return n;
}

int docker_services(struct docker_wish *wish, const struct docker_container *const *containers,
		    size_t n, struct object **ret, size_t *ret_n)
{
	const struct all all = {containers, n};
	_cleanup_free_ struct entry *space = NULL;
	_cleanup_free_ struct entry **entries = NULL;
	_cleanup_free_ struct object *objects = NULL;
	size_t wanted = 0, count = 0;
	int r;

	wish->left_out = 0;
	*wish->text = '\0';
	for (size_t i = 0; i < n; i++)
		wanted += docker_is_wanted(containers[i]);
	space = calloc(wanted + 1, sizeof(*space));
	entries = calloc(wanted + 1, sizeof(*entries));
	objects = calloc(wanted + 1, sizeof(*objects));
	if (!space || !entries || !objects)
		return -ENOMEM;
	for (size_t i = 0; i < n; i++) {
		if (!read_entry(wish, containers[i], &space[count]))
			continue;
		entries[count] = &space[count];
		count++;
	}
	qsort(entries, count, sizeof(*entries), compare_entries);
	r = make_all(wish, &all, entries, count, objects);
	if (r < 0)
		return r;
	*ret = TAKE_PTR(objects);
	*ret_n = (size_t)r;
	return 0;
}
