/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * See lastgood.h. Before: the merge. After: the next start. Must never leave half a file: a
 * temporary one is written, synced and renamed.
 */
#include "agent/lastgood.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/file.h"
#include "base/json.h"
#include "base/log.h"
#include "model/limits.h"

struct writing {
	yyjson_mut_doc *doc;
	yyjson_mut_val *items;
	struct object *held; /* texts of the document are borrowed from these */
	size_t n, capacity;
};

static int hold(struct writing *w, const struct object *o)
{
	size_t capacity = w->capacity ? 2 * w->capacity : 256;
	struct object *grown;

	if (w->n == w->capacity) {
		grown = reallocarray(w->held, capacity, sizeof(*grown));
		if (!grown)
			return -ENOMEM;
		w->held = grown;
		w->capacity = capacity;
	}
	w->held[w->n] = (struct object){.kind = o->kind};
	if (o->kind == OBJECT_SERVICE)
		w->held[w->n].service = service_ref(o->service);
	else
		w->held[w->n].policy = policy_ref(o->policy);
	w->n++;
	return 0;
}

static int on_object(void *arg, const struct object *o)
{
	struct writing *w = arg;
	const struct object *held;
	int r = hold(w, o);

	if (r < 0)
		return r;
	held = &w->held[w->n - 1];
	return yyjson_mut_arr_append(w->items, codec_encode_object(w->doc, held)) ? 0 : -ENOMEM;
}

static int encode(const struct merge *m, unsigned int source, const char *tag, char **ret,
		  size_t *ret_length)
{
	struct writing w = {.doc = yyjson_mut_doc_new(NULL)};
	yyjson_mut_val *root = w.doc ? yyjson_mut_obj(w.doc) : NULL;
	int r = -ENOMEM;

	*ret = NULL;
	w.items = w.doc ? yyjson_mut_arr(w.doc) : NULL;
	if (root && w.items) {
		yyjson_mut_doc_set_root(w.doc, root);
		(void)yyjson_mut_obj_add_str(w.doc, root, "apiVersion", CODEC_API_VERSION);
		(void)yyjson_mut_obj_add_str(w.doc, root, "kind", "List");
		(void)yyjson_mut_obj_add_str(w.doc, root, "source", tag);
		(void)yyjson_mut_obj_add_val(w.doc, root, "items", w.items);
		r = merge_visit(m, source, on_object, &w);
	}
	if (r >= 0)
		*ret = yyjson_mut_write(w.doc, 0, ret_length);
	yyjson_mut_doc_free(w.doc);
	(void)object_free_list(w.held, w.n);
	return r < 0 ? r : *ret ? 0 : -ENOMEM;
}

int lastgood_write(const struct merge *m, unsigned int source, const struct registry *r,
		   const char *folder)
{
	_cleanup_close_ int dir = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	_cleanup_free_ char *text = NULL;
	size_t length = 0;
	int error;

	if (dir < 0)
		return -errno;
	error = encode(m, source, r->tag, &text, &length);
	return error < 0 ? error : file_replace(dir, r->config->name, text, length);
}

/* What no registry says is not read back as its word, either. */
static int check_kinds(const char *path, struct object **objects, size_t *n)
{
	for (size_t i = 0; i < *n; i++)
		if ((*objects)[i].kind == OBJECT_REGISTRATION) {
			log_warn("%s: not used: it holds a Registration", path);
			*objects = object_free_list(*objects, *n);
			*n = 0;
			return -EBADMSG;
		}
	return 0;
}

static int decode(const char *path, const char *tag, yyjson_val *root, struct object **ret,
		  size_t *ret_n)
{
	const char *source = yyjson_get_str(yyjson_obj_get(root, "source"));
	struct problems problems = {};
	int r;

	if (!source || strcmp(source, tag) != 0) {
		log_warn("%s: it is of %s, not of %s: not used", path, source ?: "nobody", tag);
		return -EBADMSG;
	}
	r = codec_decode_items(yyjson_obj_get(root, "items"), tag, &problems, ret, ret_n);
	if (r == -EINVAL) {
		log_warn("%s: not used: %s: %s", path, problems.n ? problems.items[0].pointer : "",
			 problems.n ? problems.items[0].message : "no list");
		r = -EBADMSG;
	}
	problems_done(&problems);
	return r < 0 ? r : check_kinds(path, ret, ret_n);
}

int lastgood_read(const char *folder, const struct registry_config *config, struct object **ret,
		  size_t *ret_n)
{
	char path[PATH_MAX], tag[128], error[JSON_ERROR];
	_cleanup_free_ char *text = NULL;
	yyjson_doc *doc = NULL;
	size_t length = 0;
	int r;

	if (snprintf(path, sizeof(path), "%s/%s.json", folder, config->name) >= PATH_MAX)
		return -ENAMETOOLONG;
	(void)snprintf(tag, sizeof(tag), "%s/%s", config->type, config->name);
	r = file_read(path, LIMIT_STATE, &text, &length, NULL);
	if (r < 0)
		return r;
	r = json_parse(text, length, LIMIT_DEPTH, &doc, error);
	if (r == -EBADMSG)
		log_warn("%s: not used: %s", path, error);
	if (r >= 0)
		r = decode(path, tag, yyjson_doc_get_root(doc), ret, ret_n);
	yyjson_doc_free(doc);
	return r;
}

int lastgood_remove(const char *folder, const char *name)
{
	char path[PATH_MAX];

	if (snprintf(path, sizeof(path), "%s/%s.json", folder, name) >= PATH_MAX)
		return -ENAMETOOLONG;
	return unlink(path) < 0 && errno != ENOENT ? -errno : 0;
}
