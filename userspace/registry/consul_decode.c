/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * JSON of a Consul server -> names, instances, keys. After it: consul_service.c and consul.c. It
 * never makes a service of half an answer, and what one entry lacks never costs another.
 */
#include "registry/consul_decode.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/base64.h"
#include "base/cleanup.h"
#include "model/address.h"
#include "model/limits.h"

#define NODE_MAINTENANCE "_node_maintenance"
#define SERVICE_MAINTENANCE "_service_maintenance:"

/* A text of at most LIMIT_INSTANCE_ID bytes without a NUL inside; "" for anything else. */
static const char *text_of(yyjson_val *v)
{
	const char *s = yyjson_get_str(v);
	size_t n = yyjson_get_len(v);

	return s && n <= LIMIT_INSTANCE_ID && strlen(s) == n ? s : "";
}

static const char *text_at(yyjson_val *object, const char *key)
{
	return text_of(yyjson_obj_get(object, key));
}

static int parse(const char *text, size_t length, yyjson_doc **ret,
		 char ret_error[static JSON_ERROR])
{
	if (length > LIMIT_ANSWER)
		return -E2BIG;
	return json_parse(text, length, LIMIT_DEPTH, ret, ret_error);
}

static int refuse(char ret_error[static JSON_ERROR], const char *sentence)
{
	(void)snprintf(ret_error, JSON_ERROR, "%s", sentence);
	return -EBADMSG;
}

/* --- which services there are ----------------------------------------------------------------- */

void consul_catalog_done(struct consul_catalog *c)
{
	for (size_t i = 0; i < c->n; i++)
		free(c->names[i]);
	free(c->names);
	*c = (struct consul_catalog){};
}

static int compare_names(const void *x, const void *y)
{
	return strcmp(*(char *const *)x, *(char *const *)y);
}

static void sort_names(struct consul_catalog *c)
{
	size_t n = 0;

	if (c->n)
		qsort(c->names, c->n, sizeof(*c->names), compare_names);
	for (size_t i = 0; i < c->n; i++) {
		if (n && !strcmp(c->names[n - 1], c->names[i]))
			free(c->names[i]);
		else
			c->names[n++] = c->names[i];
	}
	c->n = n;
}

static int read_names(yyjson_val *root, struct consul_catalog *c)
{
	size_t i, n;
	yyjson_val *key, *tags;

	c->names = calloc(yyjson_obj_size(root) + 1, sizeof(*c->names));
	if (!c->names)
		return -ENOMEM;
	yyjson_obj_foreach (root, i, n, key, tags) {
		const char *name = text_of(key);

		if (!*name || !(yyjson_is_arr(tags) || yyjson_is_null(tags))) {
			c->skipped++;
			continue;
		}
		c->names[c->n] = strdup(name);
		if (!c->names[c->n])
			return -ENOMEM;
		c->n++;
	}
	sort_names(c);
	return 0;
}

int consul_decode_catalog(const char *text, size_t length, struct consul_catalog *ret,
			  char ret_error[static JSON_ERROR])
{
	struct consul_catalog c = {};
	yyjson_doc *doc;
	yyjson_val *root;
	int r = parse(text, length, &doc, ret_error);

	if (r < 0)
		return r;
	root = yyjson_doc_get_root(doc);
	if (!yyjson_is_obj(root))
		r = refuse(ret_error, "it is no object of services");
	else if (yyjson_obj_size(root) > LIMIT_MERGED)
		r = -E2BIG;
	else
		r = read_names(root, &c);
	yyjson_doc_free(doc);
	if (r < 0)
		consul_catalog_done(&c);
	else
		*ret = c;
	return r;
}

/* --- checks ----------------------------------------------------------------------------------- */

static bool is_maintenance(const char *id)
{
	return !strcmp(id, NODE_MAINTENANCE) ||
	       !strncmp(id, SERVICE_MAINTENANCE, strlen(SERVICE_MAINTENANCE));
}

/* A status that is not known is critical: nobody has said that it is well. */
static enum consul_state state_of(yyjson_val *check)
{
	const char *status = text_at(check, "Status");

	if (!strcmp(status, "passing"))
		return CONSUL_PASSING;
	if (!strcmp(status, "warning"))
		return CONSUL_WARNING;
	if (!strcmp(status, "maintenance"))
		return CONSUL_MAINTENANCE;
	return is_maintenance(text_at(check, "CheckID")) ? CONSUL_MAINTENANCE : CONSUL_CRITICAL;
}

/* Without checks it passes. */
static enum consul_state worst_of(yyjson_val *checks)
{
	enum consul_state worst = CONSUL_PASSING;
	size_t i, n;
	yyjson_val *check;

	if (!yyjson_is_arr(checks))
		return worst;
	yyjson_arr_foreach (checks, i, n, check) {
		enum consul_state state = state_of(check);

		if (state > worst)
			worst = state;
	}
	return worst;
}

/* --- instances -------------------------------------------------------------------------------- */

/* Of a service or a node: where it is, by Consul's own word (since 1.15) or by its Meta. */
static const char *zone_of(yyjson_val *object)
{
	static const char *const keys[] = {"zone", "availability-zone", "availability_zone",
					   "failure-domain", "failure_domain"};
	yyjson_val *meta = yyjson_obj_get(object, "Meta");
	const char *zone = text_at(yyjson_obj_get(object, "Locality"), "Zone");

	for (size_t i = 0; !*zone && i < ARRAY_SIZE(keys); i++)
		zone = text_at(meta, keys[i]);
	return zone;
}

/* 1 where nobody said: servers before 1.2 had none. */
static uint16_t weight_of(yyjson_val *service, enum consul_state state)
{
	yyjson_val *weights = yyjson_obj_get(service, "Weights"),
		   *v = yyjson_obj_get(weights, state == CONSUL_PASSING ? "Passing" : "Warning");
	uint64_t n = yyjson_get_uint(v);

	if (state > CONSUL_WARNING)
		return 0;
	if (!yyjson_is_uint(v))
		return 1;
	return n > LIMIT_WEIGHT ? LIMIT_WEIGHT : (uint16_t)n;
}

static yyjson_val *if_arr(yyjson_val *v)
{
	return yyjson_is_arr(v) ? v : NULL;
}

static yyjson_val *if_obj(yyjson_val *v)
{
	return yyjson_is_obj(v) ? v : NULL;
}

/* False: it lacks what it is known by. */
static bool read_instance(yyjson_val *entry, struct consul_instance *ret)
{
	yyjson_val *node = yyjson_obj_get(entry, "Node"),
		   *service = yyjson_obj_get(entry, "Service"),
		   *port = yyjson_obj_get(service, "Port");
	enum consul_state state = worst_of(yyjson_obj_get(entry, "Checks"));
	struct consul_instance i = {
		.node = text_at(node, "Node"),
		.id = text_at(service, "ID"),
		.address = text_at(service, "Address"),
		.state = state,
		.weight = weight_of(service, state),
		.zone = zone_of(service),
		.tags = if_arr(yyjson_obj_get(service, "Tags")),
		.meta = if_obj(yyjson_obj_get(service, "Meta")),
	};

	if (!*i.node || !*i.id)
		return false;
	if (!*i.address)
		i.address = text_at(node, "Address");
	if (!*i.zone)
		i.zone = zone_of(node);
	i.has_address = address_parse(i.address, &i.addr) == 0 && address_is_target(&i.addr);
	if (yyjson_is_uint(port) && yyjson_get_uint(port) <= UINT16_MAX)
		i.port = (uint16_t)yyjson_get_uint(port);
	*ret = i;
	return true;
}

static int compare_instances(const void *x, const void *y)
{
	const struct consul_instance *a = x, *b = y;
	int r = strcmp(a->node, b->node);

	if (!r)
		r = strcmp(a->id, b->id);
	/* The same twice: the worse one stays, whatever the order. */
	if (!r)
		r = (int)b->state - (int)a->state;
	if (!r)
		r = strcmp(a->address, b->address);
	return r ? r : (int)a->port - (int)b->port;
}

static void sort_instances(struct consul_health *h)
{
	size_t n = 0;

	if (h->n)
		qsort(h->instances, h->n, sizeof(*h->instances), compare_instances);
	for (size_t i = 0; i < h->n; i++) {
		const struct consul_instance *last = n ? &h->instances[n - 1] : NULL,
					     *this = &h->instances[i];

		if (last && !strcmp(last->node, this->node) && !strcmp(last->id, this->id))
			h->skipped++;
		else
			h->instances[n++] = *this;
	}
	h->n = n;
}

static int read_entries(yyjson_val *root, struct consul_health *h,
			char ret_error[static JSON_ERROR])
{
	size_t i, n;
	yyjson_val *entry;

	h->instances = calloc(yyjson_arr_size(root) + 1, sizeof(*h->instances));
	if (!h->instances)
		return -ENOMEM;
	yyjson_arr_foreach (root, i, n, entry) {
		if (!yyjson_is_obj(entry))
			return refuse(ret_error, "an entry is no object");
		if (read_instance(entry, &h->instances[h->n]))
			h->n++;
		else
			h->skipped++;
	}
	sort_instances(h);
	return 0;
}

void consul_health_done(struct consul_health *h)
{
	free(h->instances);
	yyjson_doc_free(h->doc);
	*h = (struct consul_health){};
}

int consul_decode_health(const char *text, size_t length, struct consul_health *ret,
			 char ret_error[static JSON_ERROR])
{
	struct consul_health h = {};
	yyjson_val *root;
	int r = parse(text, length, &h.doc, ret_error);

	if (r < 0)
		return r;
	root = yyjson_doc_get_root(h.doc);
	if (!yyjson_is_arr(root))
		r = refuse(ret_error, "it is no list of instances");
	else if (yyjson_arr_size(root) > LIMIT_FOUND_ENDPOINTS)
		r = -E2BIG;
	else
		r = read_entries(root, &h, ret_error);
	if (r < 0)
		consul_health_done(&h);
	else
		*ret = h;
	return r;
}

/* --- keys ------------------------------------------------------------------------------------- */

void consul_keys_done(struct consul_keys *k)
{
	for (size_t i = 0; i < k->n; i++) {
		free(k->items[i].key);
		free(k->items[i].value);
	}
	free(k->items);
	*k = (struct consul_keys){};
}

static int compare_keys(const void *x, const void *y)
{
	const struct consul_key *a = x, *b = y;
	int r = strcmp(a->key, b->key);

	return r ? r : (a->modified < b->modified) - (a->modified > b->modified);
}

/* Of the same key twice the newer one stays. */
static void sort_keys(struct consul_keys *k)
{
	size_t n = 0;

	if (k->n)
		qsort(k->items, k->n, sizeof(*k->items), compare_keys);
	for (size_t i = 0; i < k->n; i++) {
		if (n && !strcmp(k->items[n - 1].key, k->items[i].key)) {
			free(k->items[i].key);
			free(k->items[i].value);
		} else {
			k->items[n++] = k->items[i];
		}
	}
	k->n = n;
}

/* A folder ("sinew/") is a key without a value. */
static int read_key(yyjson_val *entry, struct consul_keys *k)
{
	const char *key = text_at(entry, "Key");
	yyjson_val *value = yyjson_obj_get(entry, "Value");
	struct consul_key one = {.modified = yyjson_get_uint(yyjson_obj_get(entry, "ModifyIndex"))};
	int r;

	if (*key && (!value || yyjson_is_null(value) || yyjson_equals_str(value, "")))
		return 0;
	if (!*key || !yyjson_is_str(value)) {
		k->skipped++;
		return 0;
	}
	r = base64_decode(yyjson_get_str(value), yyjson_get_len(value), &one.value, &one.length);
	if (r == -EBADMSG) {
		k->skipped++;
		return 0;
	}
	if (r < 0)
		return r;
	one.key = strdup(key);
	if (!one.key) {
		free(one.value);
		return -ENOMEM;
	}
	k->items[k->n++] = one;
	return 0;
}

static int read_keys(yyjson_val *root, struct consul_keys *k, char ret_error[static JSON_ERROR])
{
	size_t i, n;
	yyjson_val *entry;
	int r;

	k->items = calloc(yyjson_arr_size(root) + 1, sizeof(*k->items));
	if (!k->items)
		return -ENOMEM;
	yyjson_arr_foreach (root, i, n, entry) {
		if (!yyjson_is_obj(entry))
			return refuse(ret_error, "an entry is no object");
		r = read_key(entry, k);
		if (r < 0)
			return r;
	}
	sort_keys(k);
	return 0;
}

int consul_decode_keys(const char *text, size_t length, struct consul_keys *ret,
		       char ret_error[static JSON_ERROR])
{
	struct consul_keys k = {};
	yyjson_doc *doc;
	yyjson_val *root;
	int r = parse(text, length, &doc, ret_error);

	if (r < 0)
		return r;
	root = yyjson_doc_get_root(doc);
	if (!yyjson_is_arr(root))
		r = refuse(ret_error, "it is no list of keys");
	else if (yyjson_arr_size(root) > LIMIT_DOCUMENTS)
		r = -E2BIG;
	else
		r = read_keys(root, &k, ret_error);
	yyjson_doc_free(doc);
	if (r < 0)
		consul_keys_done(&k);
	else
		*ret = k;
	return r;
}
