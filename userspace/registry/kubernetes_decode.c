/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Lists, watch events and refusals of a Kubernetes API server. Only a complete list of the right
 * kind is one: half an answer, an error page or a list of something else must never pass for "there
 * is nothing".
 */
#include "registry/kubernetes_decode.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <yyjson.h>

#include "model/limits.h"
#include "registry/kubernetes_object.h"

DEFINE_CLEANUP(yyjson_doc *, yyjson_doc_free);

static const char *const kind_names[_KUBERNETES_KIND_MAX] = {"Service", "EndpointSlice", "Node",
							     "ConfigMap", "Pod"};

/* The document of a text, whose root is an object; else NULL and *ret_r. */
static yyjson_doc *read_document(const char *text, size_t length, int *ret_r)
{
	yyjson_read_err error = {};
	yyjson_doc *doc = yyjson_read_opts((char *)text, length, 0, NULL, &error);

	*ret_r = error.code == YYJSON_READ_ERROR_MEMORY_ALLOCATION ? -ENOMEM : -EBADMSG;
	if (doc && !yyjson_is_obj(yyjson_doc_get_root(doc))) {
		yyjson_doc_free(doc);
		return NULL;
	}
	return doc;
}

/* false: it is no string, or does not fit. A value that is missing is "". */
static bool copy_text(yyjson_val *value, char *ret, size_t size)
{
	size_t n = yyjson_get_len(value);

	*ret = '\0';
	if (!value || yyjson_is_null(value))
		return true;
	if (!yyjson_is_str(value) || n >= size)
		return false;
	memcpy(ret, yyjson_get_str(value), n + 1);
	return true;
}

static bool is_kind(yyjson_val *value, enum kubernetes_kind kind, const char *end)
{
	char want[32];

	(void)snprintf(want, sizeof(want), "%s%s", kind_names[kind], end);
	return yyjson_equals_str(value, want);
}

static void note_skipped(struct kubernetes_list *l, yyjson_val *json, enum kubernetes_kind kind)
{
	yyjson_val *name = yyjson_obj_get(yyjson_obj_get(json, "metadata"), "name");

	l->skipped++;
	(void)snprintf(l->skipped_text, sizeof(l->skipped_text), "%s '%.60s' has no usable name",
		       kind_names[kind], yyjson_is_str(name) ? yyjson_get_str(name) : "");
}

static int read_items(yyjson_val *items, enum kubernetes_kind kind, struct kubernetes_list *l)
{
	size_t i, max, n = yyjson_arr_size(items);
	yyjson_val *one;

	l->items = calloc(n ? n : 1, sizeof(struct kubernetes_object *));
	if (!l->items)
		return -ENOMEM;
	yyjson_arr_foreach (items, i, max, one) {
		int r;

		if (!yyjson_is_obj(one))
			return -EBADMSG;
		r = kubernetes_object_read(one, kind, &l->items[l->n_items]);

		if (r == -ENOMEM)
			return r;
		if (r < 0)
			note_skipped(l, one, kind);
		else
			l->n_items++;
	}
	return 0;
}

static int read_list(yyjson_val *root, enum kubernetes_kind kind, struct kubernetes_list *ret)
{
	yyjson_val *meta = yyjson_obj_get(root, "metadata"), *items = yyjson_obj_get(root, "items");
	struct kubernetes_list l = {};
	int r;

	if (!is_kind(yyjson_obj_get(root, "kind"), kind, "List") ||
	    (!yyjson_is_arr(items) && !yyjson_is_null(items)) ||
	    !copy_text(yyjson_obj_get(meta, "resourceVersion"), l.version, sizeof(l.version)) ||
	    !copy_text(yyjson_obj_get(meta, "continue"), l.next, sizeof(l.next)))
		return -EBADMSG;
	r = read_items(items, kind, &l);
	if (r < 0) {
		kubernetes_list_done(&l);
		return r;
	}
	*ret = l;
	return 0;
}

int kubernetes_decode_list(const char *text, size_t length, enum kubernetes_kind kind,
			   struct kubernetes_list *ret)
{
	yyjson_val *root, *version;
	int r;
	_cleanup_(yyjson_doc_freep) yyjson_doc *doc = read_document(text, length, &r);

	if (!doc)
		return r;
	root = yyjson_doc_get_root(doc);
	version = yyjson_obj_get(yyjson_obj_get(root, "metadata"), "resourceVersion");
	if (!yyjson_is_str(version) || !yyjson_get_len(version))
		return -EBADMSG;
	return read_list(root, kind, ret);
}

int kubernetes_decode_pods(const char *text, size_t length, struct kubernetes_list *ret)
{
	int r;
	_cleanup_(yyjson_doc_freep) yyjson_doc *doc = read_document(text, length, &r);

	return doc ? read_list(yyjson_doc_get_root(doc), KUBERNETES_POD, ret) : r;
}

void kubernetes_list_done(struct kubernetes_list *l)
{
	for (size_t i = 0; i < l->n_items; i++)
		kubernetes_object_free(l->items[i]);
	free(l->items);
	*l = (struct kubernetes_list){};
}

/* Where it lost its objects, or got old ones back, its versions begin anew. */
static bool is_unknown(yyjson_val *status)
{
	yyjson_val *causes = yyjson_obj_get(yyjson_obj_get(status, "details"), "causes"), *one;
	size_t i, max;

	if (yyjson_is_arr(causes))
		yyjson_arr_foreach (causes, i, max, one) {
			if (yyjson_equals_str(yyjson_obj_get(one, "reason"),
					      "ResourceVersionTooLarge"))
				return true;
		}
	return false;
}

static void read_refusal(yyjson_val *status, struct kubernetes_refusal *ret)
{
	yyjson_val *code = yyjson_obj_get(status, "code"), *message, *retry;

	*ret = (struct kubernetes_refusal){};
	if (!yyjson_equals_str(yyjson_obj_get(status, "kind"), "Status"))
		return;
	if (yyjson_is_uint(code) && yyjson_get_uint(code) < 1000)
		ret->code = (unsigned int)yyjson_get_uint(code);
	retry = yyjson_obj_get(yyjson_obj_get(status, "details"), "retryAfterSeconds");
	if (yyjson_is_uint(retry))
		ret->retry_after_s =
			yyjson_get_uint(retry) > 60 ? 60 : (unsigned int)yyjson_get_uint(retry);
	ret->is_unknown = is_unknown(status);
	message = yyjson_obj_get(status, "message");
	if (yyjson_is_str(message))
		(void)snprintf(ret->text, sizeof(ret->text), "%s", yyjson_get_str(message));
}

void kubernetes_decode_refusal(const char *text, size_t length, struct kubernetes_refusal *ret)
{
	int r;
	_cleanup_(yyjson_doc_freep) yyjson_doc *doc = read_document(text, length, &r);

	*ret = (struct kubernetes_refusal){};
	if (doc)
		read_refusal(yyjson_doc_get_root(doc), ret);
}

static int read_type(yyjson_val *type, enum kubernetes_event_type *ret)
{
	static const char *const names[] = {"ADDED", "MODIFIED", "DELETED", "BOOKMARK", "ERROR"};

	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		if (yyjson_equals_str(type, names[i])) {
			*ret = (enum kubernetes_event_type)i;
			return 0;
		}
	}
	return -EBADMSG;
}

int kubernetes_decode_event(const char *text, size_t length, enum kubernetes_kind kind,
			    struct kubernetes_event *ret)
{
	struct kubernetes_event e = {};
	yyjson_val *object, *meta;
	int r;
	_cleanup_(yyjson_doc_freep) yyjson_doc *doc = read_document(text, length, &r);

	if (!doc)
		return r;
	object = yyjson_obj_get(yyjson_doc_get_root(doc), "object");
	r = read_type(yyjson_obj_get(yyjson_doc_get_root(doc), "type"), &e.type);
	if (r < 0 || !yyjson_is_obj(object))
		return -EBADMSG;
	if (e.type == KUBERNETES_ERROR) {
		read_refusal(object, &e.refusal);
		*ret = e;
		return 0;
	}
	meta = yyjson_obj_get(object, "metadata");
	if (!is_kind(yyjson_obj_get(object, "kind"), kind, "") ||
	    !copy_text(yyjson_obj_get(meta, "resourceVersion"), e.version, sizeof(e.version)) ||
	    !*e.version)
		return -EBADMSG;
	e.is_whole = e.type == KUBERNETES_BOOKMARK &&
		     yyjson_equals_str(yyjson_obj_get(yyjson_obj_get(meta, "annotations"),
						      "k8s.io/initial-events-end"),
				       "true");
	r = e.type == KUBERNETES_BOOKMARK ? 0 : kubernetes_object_read(object, kind, &e.object);
	if (r == -ENOMEM)
		return r;
	if (r < 0)
		(void)snprintf(e.refusal.text, sizeof(e.refusal.text), "%s without a usable name",
			       kind_names[kind]);
	*ret = e;
	return 0;
}

int kubernetes_decode_identity(const char *text, size_t length, enum kubernetes_kind kind,
			       struct kubernetes_identity *ret)
{
	struct kubernetes_object *o;
	int r;
	_cleanup_(yyjson_doc_freep) yyjson_doc *doc = read_document(text, length, &r);

	if (!doc)
		return r;
	if (!is_kind(yyjson_obj_get(yyjson_doc_get_root(doc), "kind"), kind, ""))
		return -EBADMSG;
	r = kubernetes_object_read(yyjson_doc_get_root(doc), kind, &o);
	if (r < 0)
		return r == -ENOMEM ? r : -EBADMSG;
	*ret = (struct kubernetes_identity){o->uid, o->version};
	kubernetes_object_free(o);
	return 0;
}

/* "34", and "34+" of those who build their own. */
static int read_number(yyjson_val *value, unsigned int *ret)
{
	const char *text = yyjson_get_str(value);
	unsigned int n = 0;
	size_t i = 0;

	for (; text && i < 4 && text[i] >= '0' && text[i] <= '9'; i++)
		n = n * 10 + (unsigned int)(text[i] - '0');
	if (!i)
		return -EBADMSG;
	*ret = n;
	return 0;
}

int kubernetes_decode_release(const char *text, size_t length, struct kubernetes_release *ret)
{
	struct kubernetes_release release;
	int r;
	_cleanup_(yyjson_doc_freep) yyjson_doc *doc = read_document(text, length, &r);

	if (!doc)
		return r;
	if (read_number(yyjson_obj_get(yyjson_doc_get_root(doc), "major"), &release.major) < 0 ||
	    read_number(yyjson_obj_get(yyjson_doc_get_root(doc), "minor"), &release.minor) < 0)
		return -EBADMSG;
	*ret = release;
	return 0;
}

int kubernetes_decode_group(const char *text, size_t length, const char **ret)
{
	static const char *const known[] = {"v1", "v1beta1"};
	size_t i, max, best = ARRAY_SIZE(known);
	yyjson_val *root, *versions, *one;
	int r;
	_cleanup_(yyjson_doc_freep) yyjson_doc *doc = read_document(text, length, &r);

	if (!doc)
		return r;
	root = yyjson_doc_get_root(doc);
	versions = yyjson_obj_get(root, "versions");
	if (!yyjson_equals_str(yyjson_obj_get(root, "kind"), "APIGroup") ||
	    !yyjson_is_arr(versions))
		return -EBADMSG;
	yyjson_arr_foreach (versions, i, max, one) {
		for (size_t k = 0; k < best; k++) {
			if (yyjson_equals_str(yyjson_obj_get(one, "version"), known[k]))
				best = k;
		}
	}
	*ret = best < ARRAY_SIZE(known) ? known[best] : NULL;
	return 0;
}
