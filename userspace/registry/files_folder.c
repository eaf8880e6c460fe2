/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * See files_folder.h. Before: files.c had a reason to look. After: it says what was found. Follows
 * links, as Kubernetes mounts its volumes, but never into a pipe or a device; never believes a file
 * that changed while it was read.
 */
#include "registry/files_folder.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "manifest/manifest.h"
#include "model/limits.h"

struct scan {
	struct files_folder *f;
	int dir;
	const char *const *open_names;
	size_t n_open;
	size_t bytes; /* of all files so far */
};

static void words_done(struct files_file *file)
{
	file->objects = object_free_list(file->objects, file->n);
	file->n = 0;
}

static void file_done(struct files_file *file)
{
	words_done(file);
	free(file->why);
	free(file->name);
}

void files_folder_done(struct files_folder *f)
{
	for (size_t i = 0; i < f->n; i++)
		file_done(&f->files[i]);
	free(f->files);
	free(f->path);
	f->files = NULL;
	f->path = NULL;
	f->n = 0;
}

/* --- the list of files ------------------------------------------------------------------------ */

static bool is_manifest(const char *name)
{
	const char *dot = strrchr(name, '.');

	return *name != '.' && dot &&
	       (!strcmp(dot, ".yaml") || !strcmp(dot, ".yml") || !strcmp(dot, ".json"));
}

static int compare_names(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

static void free_names(char **names, size_t n)
{
	for (size_t i = 0; i < n; i++)
		free(names[i]);
	free(names);
}

static int read_names(DIR *dir, char **names, size_t *n)
{
	const struct dirent *entry;

	for (errno = 0; (entry = readdir(dir)); errno = 0) {
		if (!is_manifest(entry->d_name))
			continue;
		if (*n == FILES_MAX)
			return -E2BIG;
		names[*n] = strdup(entry->d_name);
		if (!names[*n])
			return -ENOMEM;
		++*n;
	}
	return -errno;
}

static int list(int fd, char ***ret, size_t *ret_n)
{
	int copy = fcntl(fd, F_DUPFD_CLOEXEC, 0), r;
	DIR *dir = copy < 0 ? NULL : fdopendir(copy);
	char **names = calloc(FILES_MAX, sizeof(*names));
	size_t n = 0;

	if (!dir || !names) {
		r = dir ? -ENOMEM : -errno;
		if (dir)
			(void)closedir(dir);
		else if (copy >= 0)
			(void)close(copy);
		free(names);
		return r;
	}
	r = read_names(dir, names, &n);
	(void)closedir(dir);
	if (r < 0) {
		free_names(names, n);
		return r;
	}
	qsort(names, n, sizeof(*names), compare_names);
	*ret = names;
	*ret_n = n;
	return 0;
}

/* One that is there no more: it is when it is not there twice. */
static bool is_kept(struct files_folder *f, struct files_file *file)
{
	if (!file->is_missing) {
		file->is_missing = f->found.unsettled = true;
		return true;
	}
	f->found.changed |= file->n != 0;
	file_done(file);
	return false;
}

/* The table of the files that are there, with what they said before; takes the names. */
static int match(struct files_folder *f, char **names, size_t n)
{
	struct files_file *files = calloc(n + f->n + 1, sizeof(*files));
	size_t at = 0, count = 0;

	if (!files)
		return -ENOMEM;
	for (size_t i = 0; i < n || at < f->n;) {
		int order = i == n ? 1 : at == f->n ? -1 : strcmp(names[i], f->files[at].name);

		if (order > 0) {
			files[count] = f->files[at++];
			count += is_kept(f, &files[count]);
		} else if (order < 0) {
			files[count++] = (struct files_file){.name = names[i++]};
		} else {
			files[count] = f->files[at++];
			files[count++].is_missing = false;
			free(names[i++]);
		}
	}
	free(names);
	free(f->files);
	f->files = files;
	f->n = count;
	return 0;
}

/* --- one file --------------------------------------------------------------------------------- */

static struct files_stamp stamp_of(const struct stat *st)
{
	return (struct files_stamp){st->st_dev, st->st_ino, st->st_size, st->st_ctim};
}

static bool is_same(const struct files_stamp *a, const struct files_stamp *b)
{
	return a->device == b->device && a->inode == b->inode && a->size == b->size &&
	       a->changed.tv_sec == b->changed.tv_sec && a->changed.tv_nsec == b->changed.tv_nsec;
}

/* A clock that was set back says nothing. */
static bool is_quiet(const struct stat *st)
{
	struct timespec now;
	long long ms;

	(void)clock_gettime(CLOCK_REALTIME, &now);
	ms = (long long)(now.tv_sec - st->st_ctim.tv_sec) * 1000 +
	     (now.tv_nsec - st->st_ctim.tv_nsec) / 1000000;
	return ms < 0 || ms >= FILES_QUIET_MS;
}

static bool is_open(const struct scan *s, const char *name)
{
	for (size_t i = 0; i < s->n_open; i++)
		if (!strcmp(s->open_names[i], name))
			return true;
	return false;
}

static int slurp(int fd, size_t size, char **ret)
{
	_cleanup_free_ char *text = malloc(size + 1);
	size_t n = 0;

	if (!text)
		return -ENOMEM;
	while (n < size) {
		ssize_t got = read(fd, text + n, size - n);

		if (got < 0 && errno != EINTR)
			return -errno;
		if (!got)
			return -EAGAIN; /* it has become shorter */
		n += got > 0 ? (size_t)got : 0;
	}
	text[n] = '\0';
	*ret = TAKE_PTR(text);
	return 0;
}

/* An object as it is said by this folder. */
static int relabel_service(const struct files_folder *f, struct service *s, struct service **ret)
{
	_cleanup_free_ struct endpoint *endpoints = NULL;
	_cleanup_free_ char **zones = NULL;
	struct service copy = *s;

	copy.source = (char *)f->tag;
	endpoints = calloc(s->n_endpoints + 1, sizeof(*endpoints));
	zones = calloc(s->n_zones + 1, sizeof(*zones));
	if (!endpoints || !zones)
		return -ENOMEM;
	for (size_t i = 0; i < s->n_zones; i++)
		zones[i] = s->zones[i];
	for (size_t i = 0; i < s->n_endpoints; i++) {
		endpoints[i] = s->endpoints[i];
		if (endpoints[i].zone || !f->zone || s->n_zones == LIMIT_SERVICE_ZONES)
			continue;
		zones[s->n_zones] = (char *)f->zone;
		copy.n_zones = s->n_zones + 1;
		endpoints[i].zone = (uint16_t)copy.n_zones;
	}
	copy.endpoints = endpoints;
	copy.zones = zones;
	return service_new(&copy, ret);
}

static int relabel(const struct files_folder *f, const struct object *o, struct object *ret)
{
	struct policy copy;

	*ret = (struct object){.kind = o->kind};
	if (o->kind == OBJECT_SERVICE)
		return relabel_service(f, o->service, &ret->service);
	copy = *o->policy;
	copy.source = (char *)f->tag;
	return policy_new(&copy, &ret->policy);
}

/* Number of objects that are no word of a registry, as a Registration. */
static int take_words(const struct files_folder *f, struct files_file *file,
		      const struct manifest *m)
{
	struct object *objects = calloc(m->n + 1, sizeof(*objects));
	size_t n = 0;
	int r = objects ? 0 : -ENOMEM;

	for (size_t i = 0; r >= 0 && i < m->n; i++) {
		if (m->objects[i].kind != OBJECT_SERVICE && m->objects[i].kind != OBJECT_POLICY)
			continue;
		r = relabel(f, &m->objects[i], &objects[n]);
		n += r >= 0;
	}
	if (r < 0) {
		(void)object_free_list(objects, n);
		return r;
	}
	words_done(file);
	file->objects = objects;
	file->n = n;
	file->has_word = true;
	return (int)(m->n - n);
}

/* Its last word stays. */
static int refuse(struct files_folder *f, struct files_file *file, const char *why)
{
	char *copy;

	if (asprintf(&copy, "%s/%s: %s", f->path, file->name, why) < 0)
		return -ENOMEM;
	free(file->why);
	file->why = copy;
	f->found.newly_broken++;
	return 0;
}

static int refuse_manifest(struct files_folder *f, struct files_file *file,
			   const struct manifest *m)
{
	const struct manifest_error *e = &m->errors[0];
	char *copy;
	int r = asprintf(&copy, "%s/%s:%zu:%zu: %s", f->path, file->name, e->line, e->column,
			 e->message);

	if (r < 0)
		return -ENOMEM;
	free(file->why);
	file->why = copy;
	f->found.newly_broken++;
	return 0;
}

static int parse(struct files_folder *f, struct files_file *file, const char *text, size_t length)
{
	struct manifest m;
	int r = manifest_parse(file->name, text, length, &m);

	if (r < 0)
		return r;
	if (m.n_errors) {
		r = refuse_manifest(f, file, &m);
	} else {
		r = take_words(f, file, &m);
		if (r >= 0) {
			free(file->why);
			file->why = NULL;
			f->found.changed = true;
		}
		if (r > 0)
			r = refuse(f, file,
				   "a Registration in it is left out: sinewctl apply declares it");
	}
	manifest_done(&m);
	return r;
}

static int read_file(struct scan *s, struct files_file *file, int fd, const struct stat *st)
{
	_cleanup_free_ char *text = NULL;
	struct files_stamp before = stamp_of(st), after;
	struct stat again;
	int r = slurp(fd, (size_t)st->st_size, &text);

	if (r >= 0 && fstat(fd, &again) < 0)
		r = -errno;
	if (r == -EAGAIN || r == -ENOMEM)
		return r;
	if (r < 0)
		return refuse(s->f, file, strerror(-r));
	after = stamp_of(&again);
	if (!is_same(&before, &after))
		return -EAGAIN;
	return parse(s->f, file, text, (size_t)st->st_size);
}

/* A link to nothing, or what may not be read, is no reason to forget; it is told once. */
static int lose(struct files_folder *f, struct files_file *file, const char *why)
{
	bool told = file->why && !file->was_read;

	file->was_read = false;
	return told ? 0 : refuse(f, file, why);
}

/* -EAGAIN: not now. */
static int look_at(struct scan *s, struct files_file *file)
{
	_cleanup_close_ int fd =
		openat(s->dir, file->name, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
	struct files_stamp stamp = {};
	struct stat st = {};
	int r;

	if (fd < 0 || fstat(fd, &st) < 0)
		return lose(s->f, file, strerror(errno));
	stamp = stamp_of(&st);
	if (file->was_read && is_same(&stamp, &file->stamp)) {
		s->bytes += S_ISREG(st.st_mode) ? (size_t)st.st_size : 0;
		return 0;
	}
	if (!S_ISREG(st.st_mode)) {
		r = refuse(s->f, file, "it is no file");
	} else if (is_open(s, file->name) || !is_quiet(&st)) {
		return -EAGAIN;
	} else if (st.st_size > LIMIT_MANIFEST || s->bytes + (size_t)st.st_size > FILES_BYTES) {
		r = refuse(s->f, file,
			   st.st_size > LIMIT_MANIFEST
				   ? "it is larger than 16 MiB"
				   : "all files of the folder together are larger than 64 MiB");
	} else {
		s->bytes += (size_t)st.st_size;
		r = read_file(s, file, fd, &st);
	}
	if (r >= 0) {
		file->stamp = stamp;
		file->was_read = true;
	}
	return r;
}

/* --- the folder ------------------------------------------------------------------------------- */

static int look_at_all(struct scan *s)
{
	struct files_folder *f = s->f;
	int r;

	for (size_t i = 0; i < f->n; i++) {
		if (f->files[i].is_missing)
			continue;
		r = look_at(s, &f->files[i]);
		f->found.unsettled |= r == -EAGAIN;
		if (r < 0 && r != -EAGAIN)
			return r;
	}
	for (size_t i = 0; i < f->n; i++) {
		if (!f->files[i].why)
			continue;
		f->found.broken++;
		f->found.wordless += !f->files[i].has_word;
		f->found.text = f->files[i].why;
	}
	return 0;
}

int files_scan(struct files_folder *f, const char *const *open_names, size_t n_open)
{
	_cleanup_close_ int dir = open(f->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	struct scan s = {.f = f, .dir = dir, .open_names = open_names, .n_open = n_open};
	char **names = NULL;
	size_t n = 0;
	int r;

	memset(&f->found, 0, sizeof(f->found));
	if (dir < 0)
		return -errno;
	r = list(dir, &names, &n);
	if (r < 0)
		return r;
	r = match(f, names, n);
	if (r < 0)
		free_names(names, n);
	return r < 0 ? r : look_at_all(&s);
}

/* --- what they say together ------------------------------------------------------------------- */

static const char *name_of(const struct object *o)
{
	return o->kind == OBJECT_SERVICE ? o->service->name : o->policy->name;
}

static const char *namespace_of(const struct object *o)
{
	return o->kind == OBJECT_SERVICE ? o->service->namespace : o->policy->namespace;
}

int files_compare(const struct object *a, const struct object *b)
{
	int r = (int)a->kind - (int)b->kind;

	if (!r)
		r = strcmp(namespace_of(a), namespace_of(b));
	return r ? r : strcmp(name_of(a), name_of(b));
}

struct entry {
	const struct object *object;
	const struct files_file *file;
};

static int compare_entries(const void *x, const void *y)
{
	const struct entry *a = x, *b = y;
	int r = files_compare(a->object, b->object);

	return r ? r : strcmp(a->file->name, b->file->name);
}

static size_t collect(const struct files_folder *f, struct entry *entries)
{
	size_t n = 0;

	for (size_t i = 0; i < f->n; i++)
		for (size_t j = 0; j < f->files[i].n; j++)
			entries[n++] = (struct entry){&f->files[i].objects[j], &f->files[i]};
	return n;
}

static struct object share(const struct object *o)
{
	struct object copy = {.kind = o->kind};

	copy.service = service_ref(o->service);
	copy.policy = policy_ref(o->policy);
	return copy;
}

int files_gather(const struct files_folder *f, struct object **ret, size_t *ret_n,
		 char ret_text[static 200])
{
	_cleanup_free_ struct entry *entries = NULL;
	struct object *objects;
	size_t total = 0, n = 0;

	*ret_text = '\0';
	for (size_t i = 0; i < f->n; i++)
		total += f->files[i].n;
	if (total > LIMIT_MERGED)
		return -E2BIG;
	entries = calloc(total + 1, sizeof(*entries));
	objects = calloc(total + 1, sizeof(*objects));
	if (!entries || !objects) {
		free(objects);
		return -ENOMEM;
	}
	(void)collect(f, entries);
	qsort(entries, total, sizeof(*entries), compare_entries);
	for (size_t i = 0; i < total; i++) {
		const struct object *o = entries[i].object;

		if (i && !files_compare(entries[i - 1].object, o))
			(void)snprintf(ret_text, 200, "%s/%s: %s/%s is in %s already", f->path,
				       entries[i].file->name, namespace_of(o), name_of(o),
				       entries[i - 1].file->name);
		else
			objects[n++] = share(o);
	}
	*ret = objects;
	*ret_n = n;
	return 0;
}
