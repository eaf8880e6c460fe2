/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * See docker_decode.h. Before: docker.c asked. After: docker_service.c. Must never keep what it has
 * not bounded: texts stay in the document, and the rest fits or is left out.
 */
#include "registry/docker_decode.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "model/address.h"
#include "model/limits.h"
#include "model/service.h"

#define TEXT_MOST 4096 /* bytes of a name or a label's value */
#define EVENT_DEPTH 8

static const char *const label_keys[_DOCKER_LABEL_MAX] = {
	[DOCKER_ENABLE] = "sinew.enable",     [DOCKER_SERVICE] = "sinew.service",
	[DOCKER_SPACE] = "sinew.namespace",   [DOCKER_PORT] = "sinew.port",
	[DOCKER_PROTOCOL] = "sinew.protocol", [DOCKER_WEIGHT] = "sinew.weight",
	[DOCKER_ZONE] = "sinew.zone",         [DOCKER_POLICY] = "sinew.policy",
	[DOCKER_NETWORK] = "sinew.network",   [DOCKER_COMPOSE] = "com.docker.compose.service",
};

/* A text that is not empty, without a NUL inside; NULL: it is none. */
static const char *text_of(yyjson_val *v)
{
	const char *s = yyjson_get_str(v);

	return s && *s && yyjson_get_len(v) <= TEXT_MOST && strlen(s) == yyjson_get_len(v) ? s
											   : NULL;
}

static const char *member(yyjson_val *object, const char *key)
{
	return text_of(yyjson_obj_get(object, key));
}

void docker_list_done(struct docker_list *l)
{
	free(l->items);
	yyjson_doc_free(l->doc);
	*l = (struct docker_list){};
}

/* --- one container ---------------------------------------------------------------------------- */

static void read_labels(yyjson_val *labels, struct docker_container *c)
{
	for (size_t i = 0; i < _DOCKER_LABEL_MAX; i++)
		c->labels[i] = member(labels, label_keys[i]);
}

static bool read_address(yyjson_val *network, struct sn_addr *ret)
{
	const char *v4 = member(network, "IPAddress"), *v6 = member(network, "GlobalIPv6Address");

	if (v4 && address_parse(v4, ret) == 0 && address_is_target(ret))
		return true;
	return v6 && address_parse(v6, ret) == 0 && address_is_target(ret);
}

static int compare_networks(const void *a, const void *b)
{
	return strcmp(((const struct docker_network *)a)->name,
		      ((const struct docker_network *)b)->name);
}

static void read_networks(yyjson_val *networks, struct docker_container *c)
{
	yyjson_val *key, *v;
	size_t i, n;

	if (!yyjson_is_obj(networks))
		return;
	yyjson_obj_foreach (networks, i, n, key, v) {
		struct docker_network *at = &c->networks[c->n_networks];

		if (c->n_networks == DOCKER_NETWORKS)
			break;
		at->name = text_of(key);
		c->n_networks += at->name && read_address(v, &at->addr);
	}
	qsort(c->networks, c->n_networks, sizeof(*c->networks), compare_networks);
}

static void add_port(struct docker_container *c, uint64_t port, const char *proto)
{
	struct docker_port p = {.port = (uint16_t)port};

	if (proto && !strcmp(proto, "tcp"))
		p.proto = SN_PROTO_TCP;
	else if (proto && !strcmp(proto, "udp"))
		p.proto = SN_PROTO_UDP;
	if (!p.proto || !port || port > UINT16_MAX || c->n_ports == DOCKER_PORTS)
		return;
	for (size_t i = 0; i < c->n_ports; i++)
		if (c->ports[i].port == p.port && c->ports[i].proto == p.proto)
			return;
	c->ports[c->n_ports++] = p;
}

/* [{"PrivatePort": 8080, "Type": "tcp"}] */
static void read_ports(yyjson_val *ports, struct docker_container *c)
{
	yyjson_val *v;
	size_t i, n;

	if (!yyjson_is_arr(ports))
		return;
	yyjson_arr_foreach (ports, i, n, v)
		add_port(c, yyjson_get_uint(yyjson_obj_get(v, "PrivatePort")), member(v, "Type"));
}

/* {"8080/tcp": ...} */
static void read_exposed(yyjson_val *ports, struct docker_container *c)
{
	yyjson_val *key, *v;
	size_t i, n;

	if (!yyjson_is_obj(ports))
		return;
	yyjson_obj_foreach (ports, i, n, key, v) {
		const char *text = text_of(key);
		char *end = NULL;
		unsigned long port = text ? strtoul(text, &end, 10) : 0;

		if (end && *end == '/')
			add_port(c, port, end + 1);
	}
}

/* "Up 2 minutes (unhealthy)" */
static bool is_unwell(const char *status)
{
	return status && (strstr(status, "(unhealthy)") || strstr(status, "(health: starting)"));
}

/* Of inspect, and from API 1.52 on of lists, too. "", "none": it has no check. */
static bool is_not_healthy(const char *health)
{
	return health && strcmp(health, "healthy") != 0 && strcmp(health, "none") != 0;
}

static const char *first_name(yyjson_val *names)
{
	const char *name = text_of(yyjson_arr_get_first(names));

	return name && *name == '/' && name[1] ? name + 1 : name;
}

/* False: it is none. */
static bool read_listed(yyjson_val *v, struct docker_container *ret)
{
	yyjson_val *names = yyjson_obj_get(v, "Names");

	*ret = (struct docker_container){.id = member(v, "Id")};
	if (!ret->id || strlen(ret->id) >= DOCKER_ID)
		return false;
	ret->name = yyjson_is_arr(names) ? first_name(names) : NULL;
	ret->state = member(v, "State");
	ret->mode = member(yyjson_obj_get(v, "HostConfig"), "NetworkMode");
	ret->unwell = is_unwell(member(v, "Status")) ||
		      is_not_healthy(member(yyjson_obj_get(v, "Health"), "Status"));
	read_labels(yyjson_obj_get(v, "Labels"), ret);
	read_networks(yyjson_obj_get(yyjson_obj_get(v, "NetworkSettings"), "Networks"), ret);
	read_ports(yyjson_obj_get(v, "Ports"), ret);
	return true;
}

static bool read_inspected(yyjson_val *v, struct docker_container *ret)
{
	yyjson_val *state = yyjson_obj_get(v, "State"), *config = yyjson_obj_get(v, "Config"),
		   *network = yyjson_obj_get(v, "NetworkSettings");
	const char *name = member(v, "Name");

	*ret = (struct docker_container){.id = member(v, "Id")};
	if (!ret->id || strlen(ret->id) >= DOCKER_ID)
		return false;
	ret->name = name && *name == '/' && name[1] ? name + 1 : name;
	ret->state = member(state, "Status");
	ret->mode = member(yyjson_obj_get(v, "HostConfig"), "NetworkMode");
	ret->unwell = is_not_healthy(member(yyjson_obj_get(state, "Health"), "Status"));
	read_labels(yyjson_obj_get(config, "Labels"), ret);
	read_networks(yyjson_obj_get(network, "Networks"), ret);
	read_exposed(yyjson_obj_get(network, "Ports"), ret);
	read_exposed(yyjson_obj_get(config, "ExposedPorts"), ret);
	/* Without it the same would be asked for ever. */
	ret->mode = ret->mode ?: "default";
	return true;
}

/* --- answers ---------------------------------------------------------------------------------- */

static int compare_ids(const void *a, const void *b)
{
	return strcmp(((const struct docker_container *)a)->id,
		      ((const struct docker_container *)b)->id);
}

static int parse(const char *text, size_t length, yyjson_doc **ret, char *error)
{
	if (length > LIMIT_ANSWER) {
		(void)snprintf(error, JSON_ERROR, "it is too large");
		return -E2BIG;
	}
	return json_parse(text, length, LIMIT_DEPTH, ret, error);
}

static int read_list(yyjson_val *root, struct docker_list *l)
{
	size_t count = yyjson_arr_size(root), i, n;
	yyjson_val *v;

	if (count > DOCKER_CONTAINERS)
		return -E2BIG;
	l->items = calloc(count + 1, sizeof(*l->items));
	if (!l->items)
		return -ENOMEM;
	yyjson_arr_foreach (root, i, n, v) {
		if (read_listed(v, &l->items[l->n]))
			l->n++;
		else
			l->skipped++;
	}
	qsort(l->items, l->n, sizeof(*l->items), compare_ids);
	return 0;
}

int docker_decode_list(const char *text, size_t length, struct docker_list *ret,
		       char ret_error[static JSON_ERROR])
{
	struct docker_list l = {};
	yyjson_val *root;
	int r = parse(text, length, &l.doc, ret_error);

	if (r < 0)
		return r;
	root = yyjson_doc_get_root(l.doc);
	r = yyjson_is_arr(root) ? read_list(root, &l) : -EBADMSG;
	if (r < 0) {
		(void)snprintf(ret_error, JSON_ERROR, "%s",
			       r == -E2BIG ? "it has too many containers"
					   : "it is no list of containers");
		docker_list_done(&l);
		return r;
	}
	*ret = l;
	return 0;
}

int docker_decode_container(const char *text, size_t length, struct docker_list *ret,
			    char ret_error[static JSON_ERROR])
{
	struct docker_list l = {};
	int r = parse(text, length, &l.doc, ret_error);

	if (r < 0)
		return r;
	l.items = calloc(1, sizeof(*l.items));
	if (!l.items)
		r = -ENOMEM;
	else if (read_inspected(yyjson_doc_get_root(l.doc), l.items))
		l.n = 1;
	else
		r = -EBADMSG;
	if (r < 0) {
		(void)snprintf(ret_error, JSON_ERROR, "it is no container");
		docker_list_done(&l);
		return r;
	}
	*ret = l;
	return 0;
}

const struct docker_container *docker_list_find(const struct docker_list *l, const char *id)
{
	const struct docker_container key = {.id = id};

	return l->n ? bsearch(&key, l->items, l->n, sizeof(*l->items), compare_ids) : NULL;
}

/* --- events ----------------------------------------------------------------------------------- */

/* Those of other words, as exec_start, say nothing that a list would show. */
static bool is_action(const char *action)
{
	static const char *const actions[] = {
		"start",  "stop",   "restart", "die",        "died",   "kill",
		"oom",    "pause",  "unpause", "update",     "rename", "destroy",
		"remove", "health", "connect", "disconnect",
	};
	size_t n = action ? strcspn(action, ":_") : 0;

	for (size_t i = 0; i < ARRAY_SIZE(actions); i++)
		if (n == strlen(actions[i]) && !strncmp(action, actions[i], n))
			return true;
	return false;
}

static void read_event(yyjson_val *root, struct docker_event *e)
{
	yyjson_val *actor = yyjson_obj_get(root, "Actor");
	const char *type = member(root, "Type"), *action = member(root, "Action"), *id = NULL;

	if (type && !strcmp(type, "container"))
		id = member(actor, "ID");
	else if (type && !strcmp(type, "network"))
		id = member(yyjson_obj_get(actor, "Attributes"), "container");
	e->matters = id && is_action(action);
	e->died = e->matters && (!strcmp(action, "die") || !strcmp(action, "died"));
	e->started = e->matters && !strcmp(action, "start");
	if (id && strlen(id) < DOCKER_ID)
		memcpy(e->id, id, strlen(id) + 1);
	e->time_ns = yyjson_get_uint(yyjson_obj_get(root, "timeNano"));
}

int docker_decode_event(const char *line, size_t length, struct docker_event *ret)
{
	char error[JSON_ERROR];
	yyjson_doc *doc;
	yyjson_val *root;
	int r = json_parse(line, length, EVENT_DEPTH, &doc, error);

	if (r < 0)
		return r;
	root = yyjson_doc_get_root(doc);
	if (yyjson_is_obj(root) && member(root, "Type")) {
		*ret = (struct docker_event){};
		read_event(root, ret);
	} else {
		r = -EBADMSG;
	}
	yyjson_doc_free(doc);
	return r;
}

void docker_decode_message(const char *text, size_t length, char ret[static 160])
{
	char error[JSON_ERROR];
	yyjson_doc *doc;

	*ret = '\0';
	if (length > (1u << 20) || json_parse(text, length, LIMIT_DEPTH, &doc, error) < 0)
		return;
	(void)snprintf(ret, 160, "%s", member(yyjson_doc_get_root(doc), "message") ?: "");
	yyjson_doc_free(doc);
}
