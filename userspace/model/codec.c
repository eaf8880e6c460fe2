/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * See codec.h. Before: a manifest, a request or a state file became JSON. After: the store. What
 * all kinds share is here, the kinds themselves are in codec_service.c, codec_policy.c and
 * codec_registration.c. Never asks what else exists: that is the store's.
 */
#include "model/codec.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "model/codec_object.h"

/* --- metadata ----------------------------------------------------------------------------- */

static bool is_alnum(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
}

static bool is_label_key(const char *key, size_t n)
{
	if (!n || n > LIMIT_LABEL_VALUE || !is_alnum(key[0]) || !is_alnum(key[n - 1]))
		return false;
	for (size_t i = 0; i < n; i++)
		if (!is_alnum(key[i]) && !strchr("-_./", key[i]))
			return false;
	return true;
}

static int compare_labels(const void *a, const void *b)
{
	return strcmp(((const struct label *)a)->key, ((const struct label *)b)->key);
}

static int read_label(struct codec *c, const struct json_at *at, yyjson_val *value,
		      struct label *ret)
{
	const char *text;
	int r;

	if (!is_label_key(at->key, at->length) || strlen(at->key) != at->length)
		return codec_refuse_key(
			c, at,
			"label key \"%.64s\" must be 1 to %d letters, digits, \"-_./\", a "
			"letter or digit at both ends",
			at->key, LIMIT_LABEL_VALUE);
	r = codec_read_text(c, at, value, LIMIT_LABEL_VALUE, &text);
	if (r < 0)
		return r;
	for (const char *p = text; *p; p++)
		if ((unsigned char)*p < 0x20 || *p == 0x7f)
			return codec_refuse(c, at, "label %s holds a control character", at->key);
	*ret = (struct label){(char *)at->key, (char *)text};
	return 0;
}

int codec_read_labels(struct codec *c, const struct json_at *at, yyjson_val *json,
		      struct codec_labels *ret)
{
	yyjson_val *key, *value;
	size_t i, n;
	int r = 0;

	if (!yyjson_is_obj(json))
		return codec_refuse(c, at, "%s must be a mapping, not %s", at->key,
				    codec_type_name(json));
	if (yyjson_obj_size(json) > LIMIT_LABELS)
		return codec_refuse(c, at, "%zu labels; at most %d are allowed",
				    yyjson_obj_size(json), LIMIT_LABELS);
	yyjson_obj_foreach (json, i, n, key, value) {
		struct json_at here = {
			.up = at, .key = yyjson_get_str(key), .length = yyjson_get_len(key)};

		if (read_label(c, &here, value, &ret->items[ret->n]) < 0)
			r = -EINVAL;
		else
			ret->n++;
	}
	qsort(ret->items, ret->n, sizeof(*ret->items), compare_labels);
	for (i = 1; i < ret->n; i++)
		if (!strcmp(ret->items[i - 1].key, ret->items[i].key)) {
			struct json_at here = codec_at_key(at, ret->items[i].key);

			r = codec_refuse_key(c, &here, "label \"%s\" is given twice", here.key);
		}
	return r;
}

/* source and resourceVersion are shown by the API and ignored when they come back. */
static int read_metadata(struct codec *c, const struct json_at *up, yyjson_val *json,
			 struct codec_metadata *ret)
{
	static const struct codec_shape shape = {
		"metadata", {"name", "namespace", "labels", "source", "resourceVersion"}, 5};
	struct json_at at = codec_at_key(up, "metadata"), here;
	yyjson_val *values[CODEC_KEYS_MAX];
	int r = codec_read_members(c, &at, json, &shape, values);

	ret->namespace = "default";
	ret->name = NULL;
	ret->labels.n = 0;
	here = codec_at_key(&at, "name");
	if (values[0] && codec_read_name(c, &here, values[0], &ret->name) < 0)
		r = -EINVAL;
	if (!values[0] && yyjson_is_obj(json))
		r = codec_refuse(c, &at, "metadata.name is missing");
	here = codec_at_key(&at, "namespace");
	if (values[1] && codec_read_name(c, &here, values[1], &ret->namespace) < 0)
		r = -EINVAL;
	here = codec_at_key(&at, "labels");
	if (values[2] && codec_read_labels(c, &here, values[2], &ret->labels) < 0)
		r = -EINVAL;
	return r;
}

/* --- objects ------------------------------------------------------------------------------ */

static const char *const kinds[] = {[OBJECT_SERVICE] = "Service",
				    [OBJECT_POLICY] = "TrafficPolicy",
				    [OBJECT_REGISTRATION] = "Registration"};
#define KINDS_TEXT "Service, TrafficPolicy or Registration"

const char *object_kind_name(enum object_kind kind)
{
	return kind > OBJECT_NONE && kind < ARRAY_SIZE(kinds) ? kinds[kind] : "";
}

const char *object_kind_noun(enum object_kind kind)
{
	static const char *const nouns[] = {[OBJECT_SERVICE] = "service",
					    [OBJECT_POLICY] = "policy",
					    [OBJECT_REGISTRATION] = "registration"};

	return kind > OBJECT_NONE && kind < ARRAY_SIZE(nouns) ? nouns[kind] : "";
}

enum object_kind object_kind_find(const char *name)
{
	for (size_t i = OBJECT_SERVICE; i < ARRAY_SIZE(kinds); i++)
		if (!strcmp(name, kinds[i]))
			return (enum object_kind)i;
	return OBJECT_NONE;
}

const char *object_namespace(const struct object *o)
{
	return o->kind == OBJECT_SERVICE  ? o->service->namespace
	       : o->kind == OBJECT_POLICY ? o->policy->namespace
					  : o->registration->namespace;
}

const char *object_name(const struct object *o)
{
	return o->kind == OBJECT_SERVICE  ? o->service->name
	       : o->kind == OBJECT_POLICY ? o->policy->name
					  : o->registration->name;
}

static int read_version(struct codec *c, const struct json_at *root, yyjson_val *json)
{
	struct json_at at = codec_at_key(root, "apiVersion");
	const char *text;

	if (!json)
		return codec_refuse(c, root,
				    "apiVersion is missing; \"" CODEC_API_VERSION "\" is expected");
	if (codec_read_text(c, &at, json, LIMIT_NAME, &text) < 0)
		return -EINVAL;
	if (strcmp(text, CODEC_API_VERSION))
		return codec_refuse(c, &at,
				    "apiVersion \"%s\" is not known; \"" CODEC_API_VERSION
				    "\" is expected",
				    text);
	return 0;
}

static int read_kind(struct codec *c, const struct json_at *root, yyjson_val *json,
		     enum object_kind *ret)
{
	struct json_at at = codec_at_key(root, "kind");
	const char *text, *meant;

	if (!json)
		return codec_refuse(c, root, "kind is missing; " KINDS_TEXT " is expected");
	if (codec_read_text(c, &at, json, LIMIT_NAME, &text) < 0)
		return -EINVAL;
	*ret = object_kind_find(text);
	if (*ret)
		return 0;
	meant = text_suggest(text, kinds, ARRAY_SIZE(kinds));
	if (meant)
		return codec_refuse(c, &at, "kind \"%s\" is not known; did you mean \"%s\"?", text,
				    meant);
	return codec_refuse(c, &at, "kind \"%s\" is not known; " KINDS_TEXT " is expected", text);
}

static int read_spec(struct codec *c, const struct json_at *root, yyjson_val *spec,
		     struct codec_metadata *metadata, struct object *ret)
{
	struct json_at at = codec_at_key(root, "spec");

	if (!spec)
		return codec_refuse(c, root, "spec is missing");
	if (ret->kind == OBJECT_SERVICE)
		return codec_service_decode(c, &at, spec, metadata, &ret->service);
	if (ret->kind == OBJECT_POLICY)
		return codec_policy_decode(c, &at, spec, metadata, &ret->policy);
	return codec_registration_decode(c, &at, spec, metadata, &ret->registration);
}

static int read_object(struct codec *c, const struct json_at *root, yyjson_val *json,
		       struct object *ret)
{
	static const struct codec_shape shape = {
		"the object", {"apiVersion", "kind", "metadata", "spec", "status"}, 5};
	struct codec_metadata metadata = {.namespace = "default"}; /* also if it is missing */
	yyjson_val *values[CODEC_KEYS_MAX];
	int r, bad = codec_read_members(c, root, json, &shape, values);

	if (!yyjson_is_obj(json))
		return bad;
	if (read_version(c, root, values[0]) < 0)
		bad = -EINVAL;
	if (!values[2])
		bad = codec_refuse(c, root, "metadata is missing");
	else if (read_metadata(c, root, values[2], &metadata) < 0)
		bad = -EINVAL;
	/* Without a kind nothing is known about the spec. */
	r = read_kind(c, root, values[1], &ret->kind);
	if (r >= 0)
		r = read_spec(c, root, values[3], &metadata, ret);
	return r < 0 ? r : bad;
}

int codec_decode_object(yyjson_val *json, const char *pointer, const char *source,
			struct problems *problems, struct object *ret)
{
	struct codec c = {.source = source, .problems = problems};
	struct json_at root = {.key = pointer, .length = strlen(pointer)};
	struct object object = {};
	int r = read_object(&c, &root, json, &object);

	if (r >= 0 && problems->no_memory)
		r = -ENOMEM;
	if (r < 0) {
		object_done(&object);
		return r;
	}
	*ret = object;
	return 0;
}

void object_done(struct object *o)
{
	o->service = service_unref(o->service);
	o->policy = policy_unref(o->policy);
	o->registration = registration_unref(o->registration);
	o->kind = OBJECT_NONE;
}

/* --- lists -------------------------------------------------------------------------------- */

static int read_items(struct codec *c, const struct json_at *up, yyjson_val *items,
		      struct object *objects, size_t *ret_n)
{
	size_t i, n, good = 0;
	yyjson_val *item;
	int bad = 0;

	yyjson_arr_foreach (items, i, n, item) {
		struct json_at at = codec_at_index(up, i);
		int r = read_object(c, &at, item, &objects[good]);

		if (r < 0) {
			object_done(&objects[good]);
			bad = r;
		} else {
			good++;
		}
		if (r == -ENOMEM)
			break;
	}
	*ret_n = good;
	return c->problems->no_memory ? -ENOMEM : bad;
}

static int decode_items(struct codec *c, const struct json_at *at, yyjson_val *items,
			struct object **ret, size_t *ret_n)
{
	struct object *objects;
	size_t n = 0;
	int r;

	if (!yyjson_is_arr(items))
		return codec_refuse(c, at, "items must be a list of objects, not %s",
				    codec_type_name(items));
	if (yyjson_arr_size(items) > LIMIT_DOCUMENTS)
		return codec_refuse(c, at, "%zu objects; at most %d are allowed",
				    yyjson_arr_size(items), LIMIT_DOCUMENTS);
	objects = calloc(yyjson_arr_size(items) + 1, sizeof(*objects));
	if (!objects)
		return -ENOMEM;
	r = read_items(c, at, items, objects, &n);
	if (r < 0) {
		object_free_list(objects, n);
		return r;
	}
	*ret = objects;
	*ret_n = n;
	return 0;
}

int codec_decode_items(yyjson_val *items, const char *source, struct problems *problems,
		       struct object **ret, size_t *ret_n)
{
	struct codec c = {.source = source, .problems = problems};
	struct json_at root = {.key = "/items", .length = 6};

	return decode_items(&c, &root, items, ret, ret_n);
}

int codec_decode_list(yyjson_val *json, const char *source, struct problems *problems,
		      struct object **ret, size_t *ret_n)
{
	static const struct codec_shape shape = {
		"the list", {"apiVersion", "kind", "metadata", "items", "source", "generation"}, 6};
	struct codec c = {.source = source, .problems = problems};
	struct json_at root = {.key = "", .length = 0};
	struct json_at at = codec_at_key(&root, "kind");
	yyjson_val *values[CODEC_KEYS_MAX];
	struct object *objects;
	int bad = codec_read_members(&c, &root, json, &shape, values), r;
	size_t n;

	if (!yyjson_is_obj(json))
		return bad;
	if (read_version(&c, &root, values[0]) < 0)
		bad = -EINVAL;
	if (!yyjson_equals_str(values[1], "List"))
		bad = codec_refuse(&c, values[1] ? &at : &root, "kind must be \"List\"");
	at = codec_at_key(&root, "items");
	if (!values[3])
		return codec_refuse(&c, &root, "items is missing");
	r = decode_items(&c, &at, values[3], &objects, &n);
	if (r < 0)
		return r;
	if (bad < 0) {
		(void)object_free_list(objects, n);
		return bad;
	}
	*ret = objects;
	*ret_n = n;
	return 0;
}

struct object *object_free_list(struct object *objects, size_t n)
{
	for (size_t i = 0; objects && i < n; i++)
		object_done(&objects[i]);
	free(objects);
	return NULL;
}
