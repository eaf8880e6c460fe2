/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * See owned.h. Before: a writer's answer. After: registrar.c. It never takes another node's, or
 * another program's, for ours: what it lists may be removed.
 */
#include "register/owned.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/base64.h"
#include "base/cleanup.h"
#include "model/limits.h"
#include "register/instance.h"

struct reading {
	int (*read)(struct reading *in, yyjson_val *root, char *ret_error);
	const char *node;
	char prefix[LIMIT_NODE + 16]; /* of our ids */
	struct owned_list list;
};

static const char *text_of(yyjson_val *object, const char *key)
{
	yyjson_val *v = yyjson_obj_get(object, key);
	const char *s = yyjson_get_str(v);

	return s && *s && yyjson_get_len(v) <= LIMIT_INSTANCE_ID && strlen(s) == yyjson_get_len(v)
		       ? s
		       : NULL;
}

static bool is_ours(const struct reading *in, const char *id, yyjson_val *meta)
{
	const char *node = text_of(meta, INSTANCE_NODE_KEY);

	return id && node && !strcmp(node, in->node) &&
	       !strncmp(id, in->prefix, strlen(in->prefix));
}

static int add(struct reading *in, const char *id, const char *service, uint64_t lease)
{
	struct owned_list *l = &in->list;
	struct owned *o;

	if (l->n >= LIMIT_INSTANCES)
		return 0;
	if (!l->items) {
		l->items = calloc(LIMIT_INSTANCES, sizeof(*l->items));
		if (!l->items)
			return -ENOMEM;
	}
	o = &l->items[l->n++];
	*o = (struct owned){strdup(id), strdup(service), lease};
	return o->id && o->service ? 0 : -ENOMEM;
}

void owned_list_done(struct owned_list *l)
{
	for (size_t i = 0; i < l->n; i++) {
		free(l->items[i].id);
		free(l->items[i].service);
	}
	free(l->items);
	*l = (struct owned_list){};
}

/* --- what they have in common ---------------------------------------------------------------- */

static int decode(struct reading in, const char *text, size_t length, struct owned_list *ret,
		  char *ret_error)
{
	yyjson_doc *doc;
	int r;

	if (length > LIMIT_ANSWER)
		return -E2BIG;
	r = json_parse(text, length, LIMIT_DEPTH, &doc, ret_error);
	if (r < 0)
		return r;
	(void)instance_prefix(in.node, in.prefix, sizeof(in.prefix));
	r = in.read(&in, yyjson_doc_get_root(doc), ret_error);
	yyjson_doc_free(doc);
	if (r < 0)
		owned_list_done(&in.list);
	else
		*ret = in.list;
	return r;
}

static int complain(char *ret_error, const char *sentence)
{
	(void)snprintf(ret_error, JSON_ERROR, "%s", sentence);
	return -EBADMSG;
}

/* --- Consul: {"<id>": {"ID", "Service", "Meta": {...}}} --------------------------------------- */

static int read_consul(struct reading *in, yyjson_val *root, char *ret_error)
{
	yyjson_val *key, *v;
	size_t i, max;
	int r = 0;

	if (!yyjson_is_obj(root))
		return complain(ret_error, "it is no object of services");
	yyjson_obj_foreach (root, i, max, key, v) {
		const char *id = text_of(v, "ID"), *service = text_of(v, "Service");

		if (service && is_ours(in, id, yyjson_obj_get(v, "Meta")))
			r = add(in, id, service, 0);
		if (r < 0)
			return r;
	}
	return 0;
}

int owned_decode_consul(const char *text, size_t length, const char *node, struct owned_list *ret,
			char ret_error[static JSON_ERROR])
{
	return decode((struct reading){read_consul, node}, text, length, ret, ret_error);
}

/* --- Eureka: an application and an instance may each be an object or an array ------------------
 */

static size_t count_of(yyjson_val *v)
{
	return yyjson_is_arr(v) ? yyjson_arr_size(v) : yyjson_is_obj(v);
}

static yyjson_val *first_of(yyjson_val *v)
{
	return yyjson_is_arr(v) ? yyjson_arr_get_first(v) : v;
}

static int read_application(struct reading *in, yyjson_val *app)
{
	yyjson_val *list = yyjson_obj_get(app, "instance"), *v = first_of(list);
	const char *name = text_of(app, "name");
	int r = 0;

	for (size_t i = 0, n = count_of(list); r >= 0 && i < n; i++) {
		const char *id = text_of(v, "instanceId"), *service = text_of(v, "app") ?: name;

		if (service && is_ours(in, id, yyjson_obj_get(v, "metadata")))
			r = add(in, id, service, 0);
		v = unsafe_yyjson_get_next(v);
	}
	return r;
}

static int read_eureka(struct reading *in, yyjson_val *root, char *ret_error)
{
	yyjson_val *apps = yyjson_obj_get(root, "applications"), *list, *app;
	int r = 0;

	if (!yyjson_is_obj(apps))
		return complain(ret_error, "it has no \"applications\"");
	list = yyjson_obj_get(apps, "application");
	app = first_of(list);
	for (size_t i = 0, n = count_of(list); r >= 0 && i < n; i++) {
		r = read_application(in, app);
		app = unsafe_yyjson_get_next(app);
	}
	return r;
}

int owned_decode_eureka(const char *text, size_t length, const char *node, struct owned_list *ret,
			char ret_error[static JSON_ERROR])
{
	return decode((struct reading){read_eureka, node}, text, length, ret, ret_error);
}

/* --- etcd: {"kvs": [{"key", "value", "lease"}]} ----------------------------------------------- */

/* The name after the node's in an id; NULL: it has none. */
static char *service_of(const struct reading *in, const char *id)
{
	const char *from = id + strlen(in->prefix), *to = strchr(from, ':');

	return to && to > from ? strndup(from, (size_t)(to - from)) : NULL;
}

static int read_value(struct reading *in, const char *value, size_t length, uint64_t lease)
{
	_cleanup_free_ char *service = NULL;
	char error[JSON_ERROR];
	yyjson_val *meta;
	yyjson_doc *doc;
	const char *id;
	int r = json_parse(value, length, LIMIT_DEPTH, &doc, error);

	if (r < 0)
		return r == -EBADMSG ? 0 : r; /* somebody else's */
	meta = yyjson_obj_get(yyjson_doc_get_root(doc), "Metadata");
	id = text_of(meta, INSTANCE_ID_KEY);
	if (is_ours(in, id, meta))
		service = service_of(in, id);
	if (service)
		r = add(in, id, service, lease);
	yyjson_doc_free(doc);
	return r;
}

static int read_etcd(struct reading *in, yyjson_val *root, char *ret_error)
{
	yyjson_val *kvs = yyjson_obj_get(root, "kvs"), *v;
	size_t i, max;
	int r = 0;

	if (!yyjson_is_obj(root) || (kvs && !yyjson_is_arr(kvs)))
		return complain(ret_error, "it is no range of keys");
	if (!kvs) /* yyjson looks behind the array before it counts */
		return 0;
	yyjson_arr_foreach (kvs, i, max, v) {
		yyjson_val *value = yyjson_obj_get(v, "value");
		uint64_t lease = json_uint(yyjson_obj_get(v, "lease"));
		_cleanup_free_ char *bytes = NULL;
		size_t n;

		/* Without a lease it is not of us: we would have no name for its removal. */
		if (!lease || !yyjson_is_str(value))
			continue;
		r = base64_decode(yyjson_get_str(value), yyjson_get_len(value), &bytes, &n);
		if (r >= 0)
			r = read_value(in, bytes, n, lease);
		if (r == -ENOMEM)
			return r;
	}
	return 0;
}

int owned_decode_etcd(const char *text, size_t length, const char *node, struct owned_list *ret,
		      char ret_error[static JSON_ERROR])
{
	return decode((struct reading){read_etcd, node}, text, length, ret, ret_error);
}
