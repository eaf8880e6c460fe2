/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * See statefile.h. Called by persist.c, the writing part on another thread: it may only touch what
 * statefile_take gave it.
 */
#include "daemon/statefile.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/file.h"
#include "base/json.h"
#include "base/log.h"
#include "base/text.h"
#include "model/limits.h"

static int take_services(struct statefile *f, const struct store *store)
{
	size_t n;
	struct service *const *all = store_services(store, &n);

	f->services = calloc(n + 1, sizeof(struct service *));
	if (!f->services)
		return -ENOMEM;
	for (size_t i = 0; i < n; i++)
		if (!strcmp(all[i]->source, f->source))
			f->services[f->n_services++] = service_ref(all[i]);
	return 0;
}

static int take_policies(struct statefile *f, const struct store *store)
{
	size_t n;
	struct policy *const *all = store_policies(store, &n);

	f->policies = calloc(n + 1, sizeof(struct policy *));
	if (!f->policies)
		return -ENOMEM;
	for (size_t i = 0; i < n; i++)
		if (all[i]->source && !strcmp(all[i]->source, f->source))
			f->policies[f->n_policies++] = policy_ref(all[i]);
	return 0;
}

static int take_registrations(struct statefile *f, const struct store *store)
{
	size_t n;
	struct registration *const *all = store_registrations(store, &n);

	f->registrations = calloc(n + 1, sizeof(struct registration *));
	if (!f->registrations)
		return -ENOMEM;
	for (size_t i = 0; i < n; i++)
		if (!strcmp(all[i]->source, f->source))
			f->registrations[f->n_registrations++] = registration_ref(all[i]);
	return 0;
}

int statefile_take(struct statefile *f, const struct store *store, const char *source)
{
	int r;

	*f = (struct statefile){.generation = store_generation(store, source)};
	f->source = strdup(source);
	if (!f->source)
		return -ENOMEM;
	r = take_services(f, store);
	if (r >= 0)
		r = take_policies(f, store);
	return r < 0 ? r : take_registrations(f, store);
}

void statefile_done(struct statefile *f)
{
	for (size_t i = 0; i < f->n_services; i++)
		service_unref(f->services[i]);
	for (size_t i = 0; i < f->n_policies; i++)
		policy_unref(f->policies[i]);
	for (size_t i = 0; i < f->n_registrations; i++)
		registration_unref(f->registrations[i]);
	free(f->services);
	free(f->policies);
	free(f->registrations);
	free(f->source);
	*f = (struct statefile){};
}

#define NAME_BYTES 200 /* of a file's name without its ending */

/* "consul/dc1" -> "consul%2Fdc1": a source's name must not become a path. What gets too long for a
 * file's name ends in a hash instead; it is read back from inside the file. */
static char *file_name(const char *source)
{
	char *name = malloc(strlen(source) * 3 + 1), *at = name;
	uint64_t hash = text_hash(source, strlen(source), 0);

	if (!name)
		return NULL;
	for (const unsigned char *c = (const unsigned char *)source; *c; c++)
		if (isalnum(*c) || *c == '-' || *c == '_')
			*at++ = (char)*c;
		else
			at += snprintf(at, 4, "%%%02X", *c);
	*at = '\0';
	if (at - name > NAME_BYTES)
		(void)snprintf(name + NAME_BYTES - 17, 18, "+%016llx", (unsigned long long)hash);
	return name;
}

static size_t count(const struct statefile *f)
{
	return f->n_services + f->n_policies + f->n_registrations;
}

static char *encode(const struct statefile *f, size_t *ret_length)
{
	yyjson_mut_doc *doc = yyjson_mut_doc_new(NULL);
	yyjson_mut_val *root, *items;
	char *text = NULL;

	if (!doc)
		return NULL;
	root = yyjson_mut_obj(doc);
	items = yyjson_mut_arr(doc);
	yyjson_mut_doc_set_root(doc, root);
	(void)yyjson_mut_obj_add_str(doc, root, "apiVersion", "sinew/v1");
	(void)yyjson_mut_obj_add_str(doc, root, "kind", "List");
	(void)yyjson_mut_obj_add_str(doc, root, "source", f->source);
	(void)yyjson_mut_obj_add_uint(doc, root, "generation", f->generation);
	(void)yyjson_mut_obj_add_val(doc, root, "items", items);
	for (size_t i = 0; i < f->n_policies; i++)
		(void)yyjson_mut_arr_append(items, codec_encode_policy(doc, f->policies[i]));
	for (size_t i = 0; i < f->n_services; i++)
		(void)yyjson_mut_arr_append(items, codec_encode_service(doc, f->services[i]));
	for (size_t i = 0; i < f->n_registrations; i++)
		(void)yyjson_mut_arr_append(items,
					    codec_encode_registration(doc, f->registrations[i]));
	if (yyjson_mut_arr_size(items) == count(f))
		text = yyjson_mut_write(doc, YYJSON_WRITE_PRETTY, ret_length);
	yyjson_mut_doc_free(doc);
	return text;
}

/* The source is declared again, so what could not be read is no longer waited for. */
static void settle_bad(int dir, const char *name)
{
	char bad[NAME_MAX + 1], old[NAME_MAX + 1];

	if (snprintf(bad, sizeof(bad), "%s" STATEFILE_BAD, name) < NAME_MAX &&
	    snprintf(old, sizeof(old), "%s.json.old", name) < NAME_MAX)
		(void)renameat(dir, bad, dir, old);
}

int statefile_write(const struct statefile *f, const char *folder)
{
	_cleanup_close_ int dir = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	_cleanup_free_ char *name = file_name(f->source), *text = NULL;
	size_t length = 0;
	int r;

	if (dir < 0)
		return -errno;
	if (!name)
		return -ENOMEM;
	if (count(f)) {
		text = encode(f, &length);
		if (!text)
			return -ENOMEM;
	}
	r = file_replace(dir, name, text, length);
	if (r < 0)
		return r;
	settle_bad(dir, name);
	return fsync(dir) < 0 ? -errno : 0;
}

int statefile_replace(const char *folder, const char *name, const char *text, size_t length)
{
	_cleanup_close_ int dir = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	return dir < 0 ? -errno : file_replace(dir, name, text, length);
}

/* The file's age is that of what it declares. */
static int load_list(struct store *store, yyjson_val *root, uint64_t changed_ms,
		     struct problems *problems)
{
	const char *source = yyjson_get_str(yyjson_obj_get(root, "source"));
	uint64_t generation = yyjson_get_uint(yyjson_obj_get(root, "generation"));
	struct change change = {.source = source, .whole = true};
	struct plan plan = {};
	int r;

	if (!source || !*source)
		return -EINVAL;
	r = codec_decode_items(yyjson_obj_get(root, "items"), source, problems, &change.upserts,
			       &change.n_upserts);
	if (r >= 0)
		r = store_plan(store, &change, problems, &plan);
	if (r >= 0) {
		plan.changed_ms = changed_ms;
		store_commit(store, &plan);
		r = store_set_generation(store, source, generation);
	}
	plan_done(&plan);
	for (size_t i = 0; i < change.n_upserts; i++)
		object_done(&change.upserts[i]);
	free(change.upserts);
	return r;
}

int statefile_read(const char *path, struct store *store)
{
	_cleanup_free_ char *text = NULL;
	struct problems problems = {};
	yyjson_doc *doc;
	uint64_t changed_ms = 0;
	size_t length = 0;
	int r;

	r = file_read(path, LIMIT_STATE, &text, &length, &changed_ms);
	if (r < 0)
		return r;
	doc = yyjson_read(text, length, 0);
	if (!doc)
		return -EINVAL;
	r = load_list(store, yyjson_doc_get_root(doc), changed_ms, &problems);
	if (r < 0 && problems.n)
		log_err("%s: %s: %s", path, problems.items[0].pointer, problems.items[0].message);
	problems_done(&problems);
	yyjson_doc_free(doc);
	return r;
}
