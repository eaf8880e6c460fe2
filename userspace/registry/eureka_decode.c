/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * JSON of a Eureka server -> instances. After it: eureka_apps.c. It never decides what an instance
 * is worth, and an instance that cannot be used is still told, since the hash code counts it.
 */
#include "registry/eureka_decode.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>

#include "model/address.h"
#include "model/limits.h"

#define LEASE_MOST_S 100000000u

static const char *const names[_EUREKA_STATUS_MAX] = {"DOWN", "OUT_OF_SERVICE", "STARTING",
						      "UNKNOWN", "UP"};

const char *eureka_status_name(enum eureka_status s)
{
	return names[s];
}

static enum eureka_status status_parse(const char *text)
{
	for (size_t i = 0; text && i < _EUREKA_STATUS_MAX; i++)
		if (!strcmp(text, names[i]))
			return (enum eureka_status)i;
	return EUREKA_UNKNOWN;
}

/* A text of at most `max` bytes, without a NUL inside; NULL: it is none. */
static const char *text_of(yyjson_val *object, const char *key, size_t max)
{
	yyjson_val *v = yyjson_obj_get(object, key);
	const char *s = yyjson_get_str(v);

	return s && *s && yyjson_get_len(v) <= max && strlen(s) == yyjson_get_len(v) ? s : NULL;
}

/* {"$": 8080, "@enabled": "true"}; 0: none. */
static uint16_t port_of(yyjson_val *v)
{
	yyjson_val *enabled = yyjson_obj_get(v, "@enabled");
	uint64_t n = json_uint(yyjson_is_obj(v) ? yyjson_obj_get(v, "$") : v);
	const char *s = yyjson_get_str(enabled);

	if (yyjson_is_false(enabled) || (s && strcmp(s, "true") != 0))
		return 0;
	return n <= UINT16_MAX ? (uint16_t)n : 0;
}

void eureka_instance_done(struct eureka_instance *i)
{
	free(i->app);
	free(i->id);
	free(i->zone);
	free(i->metadata);
	*i = (struct eureka_instance){};
}

void eureka_answer_done(struct eureka_answer *a)
{
	for (size_t i = 0; i < a->n; i++)
		eureka_instance_done(&a->instances[i]);
	free(a->instances);
	free(a->hashcode);
	*a = (struct eureka_answer){};
}

static void read_fields(yyjson_val *v, struct eureka_instance *ret)
{
	const char *overridden = text_of(v, "overriddenStatus", LIMIT_NAME),
		   *action = text_of(v, "actionType", LIMIT_NAME),
		   *address = text_of(v, "ipAddr", ADDRESS_TEXT);

	if (!overridden)
		overridden = text_of(v, "overriddenstatus", LIMIT_NAME);
	ret->status = status_parse(text_of(v, "status", LIMIT_NAME));
	ret->overridden = status_parse(overridden);
	ret->deleted = action && !strcmp(action, "DELETED");
	ret->has_address =
		address && address_parse(address, &ret->addr) == 0 && address_is_target(&ret->addr);
	ret->port = port_of(yyjson_obj_get(v, "port"));
	ret->secure_port = port_of(yyjson_obj_get(v, "securePort"));
}

/* A cloud's word, where the instance itself has none. */
static const char *zone_of(yyjson_val *v)
{
	yyjson_val *place = yyjson_obj_get(yyjson_obj_get(v, "dataCenterInfo"), "metadata");
	const char *zone = text_of(yyjson_obj_get(v, "metadata"), "zone", LIMIT_NAME);

	return zone ? zone : text_of(place, "availability-zone", LIMIT_NAME);
}

/* Only what can be a label: short texts. "@class" is Jackson's, not the instance's. */
static bool is_metadata(yyjson_val *key, yyjson_val *value)
{
	const char *k = yyjson_get_str(key), *v = yyjson_get_str(value);

	return v && strlen(k) == yyjson_get_len(key) && strlen(v) == yyjson_get_len(value) && *k &&
	       *k != '@' && strcmp(k, "zone") != 0 && yyjson_get_len(key) <= LIMIT_LABEL_VALUE &&
	       yyjson_get_len(value) <= LIMIT_LABEL_VALUE;
}

static int read_metadata(yyjson_val *v, char **ret)
{
	struct text_buffer b = {};
	yyjson_obj_iter iter = yyjson_obj_iter_with(yyjson_obj_get(v, "metadata"));
	yyjson_val *key;
	size_t n = 0;

	while (n < LIMIT_LABELS && (key = yyjson_obj_iter_next(&iter))) {
		yyjson_val *value = yyjson_obj_iter_get_val(key);

		if (!is_metadata(key, value))
			continue;
		text_append_bytes(&b, yyjson_get_str(key), yyjson_get_len(key) + 1);
		text_append_bytes(&b, yyjson_get_str(value), yyjson_get_len(value) + 1);
		n++;
	}
	if (!n)
		return 0;
	*ret = text_take(&b); /* the buffer's own NUL is the last one */
	return *ret ? 0 : -ENOMEM;
}

static int read_instance(struct eureka_answer *a, const char *app, yyjson_val *v)
{
	const char *id = text_of(v, "instanceId", LIMIT_INSTANCE_ID), *zone = zone_of(v);
	struct eureka_instance i = {.order = a->n};

	if (!id)
		id = text_of(v, "hostName", LIMIT_INSTANCE_ID);
	if (!app)
		app = text_of(v, "app", LIMIT_INSTANCE_ID);
	if (!app || !id || !text_of(v, "status", LIMIT_NAME)) {
		a->skipped++;
		return 0;
	}
	read_fields(v, &i);
	i.app = strdup(app);
	i.id = strdup(id);
	i.zone = zone ? strdup(zone) : NULL;
	if (!i.app || !i.id || (zone && !i.zone) || read_metadata(v, &i.metadata) < 0) {
		eureka_instance_done(&i);
		return -ENOMEM;
	}
	a->instances[a->n++] = i;
	return 0;
}

/* Either an array's elements or the one value; a missing or null one has none. */
static size_t count_of(yyjson_val *v)
{
	return yyjson_is_arr(v) ? yyjson_arr_size(v) : yyjson_is_obj(v);
}

static yyjson_val *first_of(yyjson_val *v)
{
	return yyjson_is_arr(v) ? yyjson_arr_get_first(v) : v;
}

static int read_applications(struct eureka_answer *a, yyjson_val *apps)
{
	yyjson_val *app = first_of(apps);

	for (size_t i = 0, n = count_of(apps); i < n; i++, app = unsafe_yyjson_get_next(app)) {
		const char *name = text_of(app, "name", LIMIT_INSTANCE_ID);
		yyjson_val *list = yyjson_obj_get(app, "instance"), *v = first_of(list);

		for (size_t j = 0, m = count_of(list); j < m; j++) {
			int r = read_instance(a, name, v);

			if (r < 0)
				return r;
			v = unsafe_yyjson_get_next(v);
		}
	}
	return 0;
}

static size_t count_instances(yyjson_val *apps)
{
	yyjson_val *app = first_of(apps);
	size_t total = 0;

	for (size_t i = 0, n = count_of(apps); i < n; i++, app = unsafe_yyjson_get_next(app))
		total += count_of(yyjson_obj_get(app, "instance"));
	return total;
}

static int read_root(yyjson_val *root, struct eureka_answer *a)
{
	yyjson_val *apps = yyjson_obj_get(root, "application");
	const char *hash = text_of(root, "apps__hashcode", LIMIT_INSTANCE_ID);
	size_t n = count_instances(apps);

	if (n > LIMIT_FOUND_ENDPOINTS)
		return -E2BIG;
	a->instances = calloc(n ? n : 1, sizeof(*a->instances));
	a->hashcode = hash ? strdup(hash) : NULL;
	if (!a->instances || (hash && !a->hashcode))
		return -ENOMEM;
	return read_applications(a, apps);
}

static int parse(const char *text, size_t length, yyjson_doc **ret,
		 char ret_error[static JSON_ERROR])
{
	return length > LIMIT_ANSWER ? -E2BIG
				     : json_parse(text, length, LIMIT_DEPTH, ret, ret_error);
}

int eureka_decode(const char *text, size_t length, struct eureka_answer *ret,
		  char ret_error[static JSON_ERROR])
{
	struct eureka_answer a = {};
	yyjson_doc *doc;
	yyjson_val *root;
	int r = parse(text, length, &doc, ret_error);

	if (r < 0)
		return r;
	root = yyjson_obj_get(yyjson_doc_get_root(doc), "applications");
	r = yyjson_is_obj(root) ? read_root(root, &a) : -EBADMSG;
	if (r == -EBADMSG)
		(void)snprintf(ret_error, JSON_ERROR, "it has no \"applications\"");
	yyjson_doc_free(doc);
	if (r < 0)
		eureka_answer_done(&a);
	else
		*ret = a;
	return r;
}

/* From when it was up to when it was heard of last. A renewed lease says when it ends, by the name
 * of when it was renewed (Netflix/eureka, Lease.java): where a server says it better, this is too
 * little by the lease's length. */
static uint64_t memory_of(yyjson_val *lease)
{
	uint64_t up = json_uint(yyjson_obj_get(lease, "serviceUpTimestamp")),
		 last = json_uint(yyjson_obj_get(lease, "lastRenewalTimestamp")),
		 length = json_uint(yyjson_obj_get(lease, "durationInSecs"));

	if (!up || !length || length > LEASE_MOST_S || last < up)
		return 0;
	return last - up > length * 1000 ? last - up - length * 1000 : 0;
}

static int read_one(yyjson_val *v, struct eureka_one *ret)
{
	struct eureka_answer a = {.instances = &ret->instance};
	int r = read_instance(&a, NULL, v);

	ret->memory_ms = memory_of(yyjson_obj_get(v, "leaseInfo"));
	return r >= 0 && !a.n ? -EBADMSG : r;
}

int eureka_decode_one(const char *text, size_t length, struct eureka_one *ret,
		      char ret_error[static JSON_ERROR])
{
	struct eureka_one one = {};
	yyjson_doc *doc;
	yyjson_val *v;
	int r = parse(text, length, &doc, ret_error);

	if (r < 0)
		return r;
	v = yyjson_obj_get(yyjson_doc_get_root(doc), "instance");
	r = yyjson_is_obj(v) ? read_one(v, &one) : -EBADMSG;
	if (r == -EBADMSG)
		(void)snprintf(ret_error, JSON_ERROR, "it has no \"instance\" with a name");
	yyjson_doc_free(doc);
	if (r >= 0)
		*ret = one;
	return r;
}
