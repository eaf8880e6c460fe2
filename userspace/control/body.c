/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * See body.h. Before: server.c collected and counted the bytes. After: write.c makes a change of
 * them. Everything here came from a stranger; all meaning is the model's codec's.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "control/body.h"
#include "control/view.h"
#include "model/limits.h"
#include "model/pod_codec.h"

static int text_parse(const char *text, size_t length, struct problems *problems, yyjson_doc **ret)
{
	yyjson_read_err error = {};
	yyjson_doc *doc;

	if (!length) {
		problem_add(problems, "", "the body is empty; JSON is expected");
		return -EBADMSG;
	}
	if (json_is_deeper(text, length, LIMIT_DEPTH)) {
		problem_add(problems, "", "the JSON is nested deeper than %d", LIMIT_DEPTH);
		return -EBADMSG;
	}
	doc = yyjson_read_opts((char *)text, length, YYJSON_READ_NOFLAG, NULL, &error);
	if (!doc && error.code == YYJSON_READ_ERROR_MEMORY_ALLOCATION)
		return -ENOMEM;
	if (!doc) {
		problem_add(problems, "", "no JSON: %s at byte %zu", error.msg, error.pos);
		return -EBADMSG;
	}
	*ret = doc;
	return 0;
}

/* Goes on after a bad object, so that one answer tells all errors. */
static int objects_decode(yyjson_val *list, const char *pointer, const char *source,
			  struct problems *problems, struct body *b)
{
	size_t i, n;
	yyjson_val *item;

	if (!yyjson_is_arr(list)) {
		problem_add(problems, pointer, "a list of objects is expected");
		return -EINVAL;
	}
	if (yyjson_arr_size(list) > LIMIT_DOCUMENTS) {
		problem_add_limit(
			problems, pointer,
			&(struct problem_limit){"objects", yyjson_arr_size(list), LIMIT_DOCUMENTS},
			"%zu objects; at most %d fit in one request", yyjson_arr_size(list),
			LIMIT_DOCUMENTS);
		return -EINVAL;
	}
	b->objects = calloc(yyjson_arr_size(list) + 1, sizeof(*b->objects));
	if (!b->objects)
		return -ENOMEM;
	yyjson_arr_foreach (list, i, n, item) {
		char at[48];
		int r;

		(void)snprintf(at, sizeof(at), "%s/%zu", pointer, i);
		r = codec_decode_object(item, at, source, problems, &b->objects[b->n_objects]);
		if (r == -ENOMEM)
			return r;
		if (r >= 0)
			b->n_objects++;
	}
	return problems_any(problems) ? -EINVAL : 0;
}

static const char *member_text(yyjson_val *json, const char *key, const char *pointer,
			       struct problems *problems)
{
	const char *text = yyjson_get_str(yyjson_obj_get(json, key));

	if (!text || !*text || strlen(text) > LIMIT_NAME)
		problem_add(problems, pointer, "\"%s\" must be a text of 1 to %d bytes", key,
			    LIMIT_NAME);
	return text;
}

static void delete_decode(yyjson_val *json, const char *pointer, struct problems *problems,
			  struct object_name *ret)
{
	const char *kind = member_text(json, "kind", pointer, problems);

	ret->namespace = member_text(json, "namespace", pointer, problems);
	ret->name = member_text(json, "name", pointer, problems);
	ret->kind = kind ? object_kind_find(kind) : OBJECT_NONE;
	if (kind && !ret->kind)
		problem_add(problems, pointer,
			    "unknown kind \"%.40s\"; Service, TrafficPolicy or Registration", kind);
	if (yyjson_obj_size(json) > 3)
		problem_add(problems, pointer, "only kind, namespace and name are known here");
}

static int deletes_decode(yyjson_val *list, struct problems *problems, struct body *b)
{
	size_t i, n;
	yyjson_val *item;

	if (!yyjson_is_arr(list) || yyjson_arr_size(list) > LIMIT_DOCUMENTS) {
		problem_add(problems, "/delete", "a list of at most %d names is expected",
			    LIMIT_DOCUMENTS);
		return -EINVAL;
	}
	b->deletes = calloc(yyjson_arr_size(list) + 1, sizeof(*b->deletes));
	if (!b->deletes)
		return -ENOMEM;
	yyjson_arr_foreach (list, i, n, item) {
		char at[32];

		(void)snprintf(at, sizeof(at), "/delete/%zu", i);
		delete_decode(item, at, problems, &b->deletes[b->n_deletes++]);
	}
	return problems_any(problems) ? -EINVAL : 0;
}

/* Each key once and among `known` (separated by blanks). */
static void keys_check(yyjson_val *json, const char *known, struct problems *problems)
{
	size_t i, n;
	yyjson_val *key, *value;

	if (!yyjson_is_obj(json)) {
		problem_add(problems, "", "an object is expected");
		return;
	}
	yyjson_obj_foreach (json, i, n, key, value) {
		const char *name = yyjson_get_str(key), *at = strstr(known, name);
		size_t length = strlen(name);

		if (!length || strchr(name, ' ') || !at || !strchr(" ", at[length]) ||
		    (at > known && at[-1] != ' '))
			problem_add(problems, "", "unknown key \"%.60s\"; known here: %s", name,
				    known);
		else if (yyjson_obj_get(json, name) != value)
			problem_add(problems, "", "key \"%s\" is given twice", name);
	}
}

static void list_head_check(yyjson_val *json, const char *is, struct problems *problems)
{
	yyjson_val *version = yyjson_obj_get(json, "apiVersion"),
		   *kind = yyjson_obj_get(json, "kind");

	keys_check(json, "apiVersion kind metadata items", problems);
	if (!yyjson_equals_str(version, API_VERSION))
		problem_add(problems, "/apiVersion", "must be \"" API_VERSION "\"");
	if (!yyjson_equals_str(kind, is))
		problem_add(problems, "/kind", "must be \"%s\"", is);
	if (yyjson_obj_get(json, "metadata") && !yyjson_is_obj(yyjson_obj_get(json, "metadata")))
		problem_add(problems, "/metadata", "must be a mapping");
	if (!yyjson_obj_get(json, "items"))
		problem_add(problems, "", "\"items\" is missing");
}

static int list_decode(yyjson_val *json, const char *source, struct problems *problems,
		       struct body *b)
{
	list_head_check(json, "List", problems);
	if (problems_any(problems))
		return -EINVAL;
	return objects_decode(yyjson_obj_get(json, "items"), "/items", source, problems, b);
}

static int delta_decode(yyjson_val *json, const char *source, struct problems *problems,
			struct body *b)
{
	yyjson_val *upsert = yyjson_obj_get(json, "upsert"),
		   *delete = yyjson_obj_get(json, "delete");
	int r = 0;

	keys_check(json, "upsert delete", problems);
	if (problems_any(problems))
		return -EINVAL;
	if (upsert)
		r = objects_decode(upsert, "/upsert", source, problems, b);
	if (r != -ENOMEM && delete)
		r = deletes_decode(delete, problems, b);
	if (r >= 0 && problems_any(problems))
		r = -EINVAL;
	return r;
}

static int single_decode(yyjson_val *json, const char *source, struct problems *problems,
			 struct body *b)
{
	yyjson_val *metadata = yyjson_obj_get(json, "metadata");
	const char *version = yyjson_get_str(yyjson_obj_get(metadata, "resourceVersion"));
	int r;

	b->objects = calloc(1, sizeof(*b->objects));
	if (!b->objects)
		return -ENOMEM;
	r = codec_decode_object(json, "", source, problems, &b->objects[0]);
	if (r < 0)
		return r;
	b->n_objects = 1;
	if (version)
		(void)snprintf(b->version, sizeof(b->version), "%s", version);
	return 0;
}

static int body_finish(int r, struct body *b, struct body *ret)
{
	if (r < 0)
		body_done(b);
	else
		*ret = *b;
	return r;
}

int body_decode_object(const char *text, size_t length, const char *source,
		       struct problems *problems, struct body *ret)
{
	struct body b = {};
	int r = text_parse(text, length, problems, &b.json);

	if (r >= 0)
		r = single_decode(yyjson_doc_get_root(b.json), source, problems, &b);
	return body_finish(r, &b, ret);
}

int body_decode_list(const char *text, size_t length, const char *source, struct problems *problems,
		     struct body *ret)
{
	struct body b = {};
	int r = text_parse(text, length, problems, &b.json);

	if (r >= 0)
		r = list_decode(yyjson_doc_get_root(b.json), source, problems, &b);
	return body_finish(r, &b, ret);
}

int body_decode_delta(const char *text, size_t length, const char *source,
		      struct problems *problems, struct body *ret)
{
	struct body b = {};
	int r = text_parse(text, length, problems, &b.json);

	if (r >= 0)
		r = delta_decode(yyjson_doc_get_root(b.json), source, problems, &b);
	return body_finish(r, &b, ret);
}

int body_decode_pods(const char *text, size_t length, struct problems *problems, struct pod ***ret,
		     size_t *ret_n)
{
	yyjson_doc *doc = NULL;
	yyjson_val *root;
	int r = text_parse(text, length, problems, &doc);

	if (r < 0)
		return r;
	root = yyjson_doc_get_root(doc);
	list_head_check(root, "PodList", problems);
	if (problems_any(problems))
		r = -EINVAL;
	else
		r = pod_codec_decode(yyjson_obj_get(root, "items"), problems, ret, ret_n);
	yyjson_doc_free(doc);
	return r;
}

void body_done(struct body *b)
{
	for (size_t i = 0; i < b->n_objects; i++)
		object_done(&b->objects[i]);
	free(b->objects);
	free(b->deletes);
	yyjson_doc_free(b->json);
	*b = (struct body){};
}
