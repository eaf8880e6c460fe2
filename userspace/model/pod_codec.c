/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * See pod_codec.h. Before: sinew-agent wrote it, or somebody who says so. After: sinewd shows names
 * beside uids. Nothing that could not be a name of Kubernetes gets through, and no two pods with
 * one uid.
 */
#include "model/pod_codec.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "model/codec_read.h"
#include "model/limits.h"

/* A pod while it is read; its texts belong to the document. */
struct reading {
	struct pod pod;
	struct pod_container containers[LIMIT_POD_CONTAINERS];
};

static bool is_container(const char *id)
{
	return strlen(id) == IDENTITY_CONTAINER &&
	       strspn(id, "0123456789abcdef") == IDENTITY_CONTAINER;
}

static int read_container(struct codec *c, const struct json_at *at, yyjson_val *json,
			  struct pod_container *ret)
{
	static const struct codec_shape shape = {"a container", {"name", "id"}, 2};
	struct json_at here = codec_at_key(at, "name");
	yyjson_val *values[CODEC_KEYS_MAX];
	const char *name = "", *id = "";
	int r = codec_read_members(c, at, json, &shape, values);

	if (!yyjson_is_obj(json))
		return r;
	if (!values[0] || !values[1])
		return codec_refuse(c, at, "a container needs name and id");
	if (codec_read_name(c, &here, values[0], &name) < 0)
		r = -EINVAL;
	here = codec_at_key(at, "id");
	if (codec_read_text(c, &here, values[1], IDENTITY_CONTAINER, &id) < 0)
		return -EINVAL;
	if (!is_container(id))
		return codec_refuse(c, &here, "id must be %d hex digits in lower case",
				    IDENTITY_CONTAINER);
	memcpy(ret->id, id, IDENTITY_CONTAINER + 1);
	ret->name = (char *)name;
	return r;
}

static int read_containers(struct codec *c, const struct json_at *up, yyjson_val *json,
			   struct reading *d)
{
	struct json_at at = codec_at_key(up, "containers");
	yyjson_val *item;
	size_t i, n;
	int r = 0;

	if (!json)
		return 0;
	if (!yyjson_is_arr(json))
		return codec_refuse(c, &at, "containers must be a list, not %s",
				    codec_type_name(json));
	if (yyjson_arr_size(json) > LIMIT_POD_CONTAINERS)
		return codec_refuse(c, &at, "%zu containers; at most %d are allowed",
				    yyjson_arr_size(json), LIMIT_POD_CONTAINERS);
	yyjson_arr_foreach (json, i, n, item) {
		struct json_at here = codec_at_index(&at, i);

		if (read_container(c, &here, item, &d->containers[i]) < 0)
			r = -EINVAL;
	}
	d->pod.containers = d->containers;
	d->pod.n_containers = n;
	return r;
}

static int read_uid(struct codec *c, const struct json_at *up, yyjson_val *json, struct pod *p)
{
	struct json_at at = codec_at_key(up, "uid");
	const char *uid;

	if (codec_read_text(c, &at, json, IDENTITY_POD, &uid) < 0)
		return -EINVAL;
	if (!identity_is_pod(uid))
		return codec_refuse(c, &at, "uid must be a UUID or 32 hex digits, in lower case");
	memcpy(p->uid, uid, strlen(uid) + 1);
	return 0;
}

static int read_pod(struct codec *c, const struct json_at *at, yyjson_val *json, struct pod **ret)
{
	static const struct codec_shape shape = {
		"a pod", {"namespace", "name", "uid", "containers"}, 4};
	struct json_at here = codec_at_key(at, "namespace");
	const char *namespace = "", *name = "";
	yyjson_val *values[CODEC_KEYS_MAX];
	struct reading d = {};
	int r = codec_read_members(c, at, json, &shape, values);

	if (!yyjson_is_obj(json))
		return r;
	if (!values[0] || !values[1] || !values[2])
		return codec_refuse(c, at, "a pod needs namespace, name and uid");
	if (codec_read_name(c, &here, values[0], &namespace) < 0)
		r = -EINVAL;
	here = codec_at_key(at, "name");
	if (codec_read_host(c, &here, values[1], &name) < 0)
		r = -EINVAL;
	if (read_uid(c, at, values[2], &d.pod) < 0)
		r = -EINVAL;
	if (read_containers(c, at, values[3], &d) < 0)
		r = -EINVAL;
	d.pod.namespace = (char *)namespace;
	d.pod.name = (char *)name;
	return r < 0 ? r : pod_new(&d.pod, ret);
}

/* --- the list ----------------------------------------------------------------------------- */

static int compare(const void *x, const void *y)
{
	const struct pod *const *a = x, *const *b = y;

	return strcmp((*a)->uid, (*b)->uid);
}

static int sort(struct codec *c, const struct json_at *root, struct pod **list, size_t n)
{
	qsort(list, n, sizeof(struct pod *), compare);
	for (size_t i = 1; i < n; i++)
		if (!strcmp(list[i - 1]->uid, list[i]->uid))
			return codec_refuse(c, root, "uid %s is given twice", list[i]->uid);
	return 0;
}

int pod_codec_decode(yyjson_val *items, struct problems *problems, struct pod ***ret, size_t *ret_n)
{
	struct codec c = {.problems = problems};
	struct json_at root = {.key = "/items", .length = 6};
	struct pod **list;
	yyjson_val *item;
	size_t i, max, n = 0;
	int r = 0, one;

	if (!yyjson_is_arr(items))
		return codec_refuse(&c, &root, "items must be a list, not %s",
				    codec_type_name(items));
	if (yyjson_arr_size(items) > LIMIT_PODS)
		return codec_refuse(&c, &root, "%zu pods; at most %d are allowed",
				    yyjson_arr_size(items), LIMIT_PODS);
	list = calloc(yyjson_arr_size(items) + 1, sizeof(struct pod *));
	if (!list)
		return -ENOMEM;
	yyjson_arr_foreach (items, i, max, item) {
		struct json_at at = codec_at_index(&root, i);

		one = read_pod(&c, &at, item, &list[n]);
		n += one >= 0;
		r = r == -ENOMEM || one >= 0 ? r : one;
	}
	if (r >= 0)
		r = sort(&c, &root, list, n);
	if (r < 0) {
		pod_free_list(list, n);
		return r;
	}
	*ret = list;
	*ret_n = n;
	return 0;
}

yyjson_mut_val *pod_codec_encode(yyjson_mut_doc *doc, const struct pod *p)
{
	yyjson_mut_val *o = yyjson_mut_obj(doc), *list, *one;

	(void)yyjson_mut_obj_add_str(doc, o, "namespace", p->namespace);
	(void)yyjson_mut_obj_add_str(doc, o, "name", p->name);
	(void)yyjson_mut_obj_add_str(doc, o, "uid", p->uid);
	list = yyjson_mut_obj_add_arr(doc, o, "containers");
	for (size_t i = 0; i < p->n_containers; i++) {
		one = yyjson_mut_arr_add_obj(doc, list);
		(void)yyjson_mut_obj_add_str(doc, one, "name", p->containers[i].name);
		(void)yyjson_mut_obj_add_str(doc, one, "id", p->containers[i].id);
	}
	return o;
}
