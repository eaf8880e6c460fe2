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
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
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

int statefile_take(struct statefile *f, const struct store *store, const char *source)
{
	int r;

	*f = (struct statefile){.generation = store_generation(store, source)};
	f->source = strdup(source);
	if (!f->source)
		return -ENOMEM;
	r = take_services(f, store);
	return r < 0 ? r : take_policies(f, store);
}

void statefile_done(struct statefile *f)
{
	for (size_t i = 0; i < f->n_services; i++)
		service_unref(f->services[i]);
	for (size_t i = 0; i < f->n_policies; i++)
		policy_unref(f->policies[i]);
	free(f->services);
	free(f->policies);
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
	if (yyjson_mut_arr_size(items) == f->n_policies + f->n_services)
		text = yyjson_mut_write(doc, YYJSON_WRITE_PRETTY, ret_length);
	yyjson_mut_doc_free(doc);
	return text;
}

static int write_all(int fd, const char *text, size_t length)
{
	ssize_t n;

	while (length) {
		n = write(fd, text, length);
		if (n < 0 && errno != EINTR)
			return -errno;
		if (n > 0) {
			text += n;
			length -= (size_t)n;
		}
	}
	return fsync(fd) < 0 ? -errno : 0;
}

static int replace_file(int dir, const char *name, const char *text, size_t length)
{
	char temporary[NAME_MAX + 1], final[NAME_MAX + 1];
	_cleanup_close_ int fd = -1;
	int r;

	if (snprintf(temporary, sizeof(temporary), "%s.tmp", name) >= NAME_MAX ||
	    snprintf(final, sizeof(final), "%s.json", name) >= NAME_MAX)
		return -ENAMETOOLONG;
	if (!text)
		return unlinkat(dir, final, 0) < 0 && errno != ENOENT ? -errno : 0;
	fd = openat(dir, temporary, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	if (fd < 0)
		return -errno;
	r = write_all(fd, text, length);
	if (r >= 0 && renameat(dir, temporary, dir, final) < 0)
		r = -errno;
	if (r < 0)
		(void)unlinkat(dir, temporary, 0);
	return r;
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
	if (f->n_services + f->n_policies) {
		text = encode(f, &length);
		if (!text)
			return -ENOMEM;
	}
	r = replace_file(dir, name, text, length);
	if (r < 0)
		return r;
	settle_bad(dir, name);
	return fsync(dir) < 0 ? -errno : 0;
}

int statefile_replace(const char *folder, const char *name, const char *text, size_t length)
{
	_cleanup_close_ int dir = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	int r;

	if (dir < 0)
		return -errno;
	r = replace_file(dir, name, text, length);
	return r < 0 ? r : fsync(dir) < 0 ? -errno : 0;
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

int statefile_text(const char *path, char **ret, size_t *ret_length, uint64_t *ret_changed_ms)
{
	_cleanup_close_ int fd = open(path, O_RDONLY | O_CLOEXEC);
	_cleanup_free_ char *text = NULL;
	struct stat st;
	ssize_t n;

	if (fd < 0 || fstat(fd, &st) < 0)
		return -errno;
	if (st.st_size > LIMIT_STATE)
		return -E2BIG;
	text = malloc((size_t)st.st_size + 1);
	if (!text)
		return -ENOMEM;
	n = read(fd, text, (size_t)st.st_size);
	if (n != st.st_size)
		return n < 0 ? -errno : -EIO;
	*ret_length = (size_t)n;
	*ret_changed_ms =
		(uint64_t)st.st_mtim.tv_sec * 1000 + (uint64_t)st.st_mtim.tv_nsec / 1000000;
	*ret = TAKE_PTR(text);
	return 0;
}

int statefile_read(const char *path, struct store *store)
{
	_cleanup_free_ char *text = NULL;
	struct problems problems = {};
	yyjson_doc *doc;
	uint64_t changed_ms = 0;
	size_t length = 0;
	int r;

	r = statefile_text(path, &text, &length, &changed_ms);
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
