/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A folder of manifests as a registry: looked at when inotify tells of a change, and now and then
 * all the same, since not every change can be told (bind mounts, network file systems). What a file
 * says is believed once it has been left alone for a moment and nobody has it open for writing.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/inotify.h>

#include "base/cleanup.h"
#include "model/limits.h"
#include "registry/files_folder.h"
#include "registry/registry.h"

#define EVENT_MS                                                                                   \
	(FILES_QUIET_MS + 5)    /* from an event to the look, so that the file is quiet then */
#define UNSETTLED_MS 640        /* at most between looks at a file that is always written */
#define UNSETTLED_FIRST_MS 1000 /* the first snapshot waits so long for files being written */
#define PERIOD_MS 30000
#define PERIOD_BLIND_MS 5000 /* without inotify */
#define WRITING_MS 5000      /* then a file that is open for writing is read as it is */
#define WRITING_MAX 64

#define FOLDER_EVENTS                                                                              \
	(IN_MODIFY | IN_CLOSE_WRITE | IN_CREATE | IN_DELETE | IN_MOVED_FROM | IN_MOVED_TO |        \
	 IN_ATTRIB | IN_DELETE_SELF | IN_MOVE_SELF)
#define PARENT_EVENTS (IN_CREATE | IN_DELETE | IN_MOVED_FROM | IN_MOVED_TO | IN_ATTRIB)

struct writing {
	char name[NAME_MAX + 1]; /* "": a free place */
	uint64_t since_ms;
};

struct files {
	struct registry *r;
	struct files_folder folder; /* the thread's while is_busy */
	const char *open_names[WRITING_MAX];
	char names[WRITING_MAX][NAME_MAX + 1];
	size_t n_open;
	uv_work_t work;
	uv_timer_t timer;
	uv_poll_t poll;
	int inotify; /* -1: there is none to be had */
	int watch, parent_watch;
	char *parent, *base;
	struct writing writing[WRITING_MAX];
	uint64_t started_ms;
	unsigned int unsettled; /* looks in a row that found a file being written */
	bool is_busy, again, stopping;
	bool dirty; /* a word changed that was not said yet */
	bool told;  /* a snapshot was said */
	unsigned int n_open_handles;
	/* What the thread found. */
	int result;
	struct object *objects;
	size_t n_objects;
	char twice[200];
	uint64_t elapsed_us;
	/* What was said, object by object, before the first snapshot. */
	struct object *said;
	size_t n_said;
};

static void on_timer(uv_timer_t *timer);

static void schedule(struct files *f, uint64_t ms)
{
	if (f->stopping)
		return;
	if (f->is_busy) {
		f->again = true;
		return;
	}
	if (!uv_is_active((uv_handle_t *)&f->timer) || uv_timer_get_due_in(&f->timer) > ms)
		(void)uv_timer_start(&f->timer, on_timer, ms, 0);
}

/* A file that is written all the time is not looked at all the time. */
static uint64_t event_wait(const struct files *f)
{
	uint64_t wait = (uint64_t)EVENT_MS << (f->unsettled < 5 ? f->unsettled : 5);

	return wait < UNSETTLED_MS ? wait : UNSETTLED_MS;
}

static uint64_t period(const struct files *f)
{
	const struct registry_config *c = f->r->config;
	uint64_t ms = c->interval_ms   ? c->interval_ms
		      : f->inotify < 0 ? PERIOD_BLIND_MS
				       : PERIOD_MS;

	/* A folder that is well must never look stale. */
	if (c->stale_ms && ms > c->stale_ms / 2)
		ms = c->stale_ms / 2;
	return ms < 1000 ? 1000 : ms;
}

/* --- what is open for writing ----------------------------------------------------------------- */

static struct writing *find_writing(struct files *f, const char *name)
{
	for (size_t i = 0; i < WRITING_MAX; i++)
		if (!strcmp(f->writing[i].name, name))
			return &f->writing[i];
	return NULL;
}

static void note_writing(struct files *f, const char *name)
{
	struct writing *w = find_writing(f, name) ?: find_writing(f, "");

	if (!w || !*name)
		return; /* it must be quiet, as all others */
	(void)snprintf(w->name, sizeof(w->name), "%s", name);
	w->since_ms = uv_now(f->r->loop);
}

static void forget_writing(struct files *f, const char *name)
{
	struct writing *w = *name ? find_writing(f, name) : NULL;

	if (w)
		*w->name = '\0';
}

static void list_writing(struct files *f)
{
	uint64_t now = uv_now(f->r->loop);

	f->n_open = 0;
	for (size_t i = 0; i < WRITING_MAX; i++) {
		struct writing *w = &f->writing[i];

		if (*w->name && now - w->since_ms >= WRITING_MS)
			*w->name = '\0';
		if (!*w->name)
			continue;
		memcpy(f->names[f->n_open], w->name, sizeof(w->name));
		f->open_names[f->n_open] = f->names[f->n_open];
		f->n_open++;
	}
}

/* --- events ----------------------------------------------------------------------------------- */

static void on_folder_event(struct files *f, uint32_t mask, const char *name)
{
	if (mask & IN_MODIFY)
		note_writing(f, name);
	else if (mask & (IN_CLOSE_WRITE | IN_DELETE | IN_MOVED_FROM | IN_MOVED_TO))
		forget_writing(f, name);
	schedule(f, event_wait(f));
}

static void on_event(struct files *f, const struct inotify_event *e)
{
	const char *name = e->len ? e->name : "";

	if (e->mask & IN_Q_OVERFLOW) {
		memset(f->writing, 0, sizeof(f->writing));
		schedule(f, EVENT_MS);
	} else if (e->wd == f->watch) {
		if (e->mask & IN_IGNORED)
			f->watch = -1;
		on_folder_event(f, e->mask, name);
	} else if (e->wd == f->parent_watch) {
		if (e->mask & IN_IGNORED)
			f->parent_watch = -1;
		/* The folder may be a link, by way of a ..data beside it. */
		if (!strcmp(name, f->base) || !strncmp(name, "..", 2))
			schedule(f, event_wait(f));
	}
}

static void on_readable(uv_poll_t *poll, int status, int events)
{
	_Alignas(struct inotify_event) char buffer[16384];
	struct files *f = poll->data;
	ssize_t n = read(f->inotify, buffer, sizeof(buffer));

	for (ssize_t at = 0; at < n;) {
		const struct inotify_event *e = (const struct inotify_event *)(buffer + at);

		on_event(f, e);
		at += (ssize_t)(sizeof(*e) + e->len);
	}
}

/* Another folder may have come under the same name: the watch is on what it is now. */
static void rewatch(struct files *f, int *watch, const char *path, uint32_t mask)
{
	int now = inotify_add_watch(f->inotify, path, mask | IN_ONLYDIR | IN_EXCL_UNLINK);

	if (*watch >= 0 && now != *watch)
		(void)inotify_rm_watch(f->inotify, *watch);
	*watch = now;
}

static void open_inotify(struct files *f)
{
	f->watch = f->parent_watch = -1;
	f->inotify = inotify_init1(IN_NONBLOCK | IN_CLOEXEC);
	if (f->inotify < 0)
		return;
	if (uv_poll_init(f->r->loop, &f->poll, f->inotify) < 0) {
		(void)close(f->inotify);
		f->inotify = -1;
		return;
	}
	f->poll.data = f;
	f->n_open_handles++;
	(void)uv_poll_start(&f->poll, UV_READABLE, on_readable);
}

/* --- what is said ----------------------------------------------------------------------------- */

static void say_objects(struct files *f, struct object *objects, size_t n)
{
	size_t at = 0;

	for (size_t i = 0; i < n; i++) {
		struct object copy = {.kind = objects[i].kind};

		while (at < f->n_said && files_compare(&f->said[at], &objects[i]) < 0)
			at++;
		if (at < f->n_said && f->said[at].service == objects[i].service &&
		    f->said[at].policy == objects[i].policy)
			continue;
		copy.service = service_ref(objects[i].service);
		copy.policy = policy_ref(objects[i].policy);
		registry_say_upsert(f->r, &copy);
	}
	(void)object_free_list(f->said, f->n_said);
	f->said = objects;
	f->n_said = n;
}

/* Services that are not selected go; policies stay, for those that are. */
static size_t select_objects(const struct files *f, struct object *objects, size_t n)
{
	size_t kept = 0;

	for (size_t i = 0; i < n; i++) {
		if (objects[i].kind == OBJECT_SERVICE &&
		    !registry_is_selected(f->r, objects[i].service->name))
			object_done(&objects[i]);
		else
			objects[kept++] = objects[i];
	}
	return kept;
}

/* Takes the objects. A file that says nothing yet may have said something before we were started:
 * without it nothing is complete, so nothing is taken away. */
static void say(struct files *f, struct object *objects, size_t n)
{
	n = select_objects(f, objects, n);
	if (!f->told && f->folder.found.wordless) {
		say_objects(f, objects, n);
		return;
	}
	f->told = true;
	f->said = object_free_list(f->said, f->n_said);
	f->n_said = 0;
	registry_say_snapshot(f->r, objects, n);
}

static void say_failure(struct files *f)
{
	int e = -f->result;
	const char *path = f->folder.path;

	if (e == ENOENT || e == ENOTDIR)
		registry_say_error(f->r, REGISTRY_MISSING, "make the folder, or mend \"path\"",
				   "%.150s: %s", path, strerror(e));
	else if (e == EACCES || e == EPERM)
		registry_say_error(f->r, REGISTRY_FORBIDDEN,
				   "the agent's user must be able to read the folder", "%.150s: %s",
				   path, strerror(e));
	else if (e == E2BIG)
		registry_say_error(f->r, REGISTRY_GARBAGE, "",
				   "%.100s: more than %d files, or %d objects", path, FILES_MAX,
				   LIMIT_MERGED);
	else
		registry_say_error(f->r, REGISTRY_UNREACHABLE, "", "%.150s: %s", path, strerror(e));
}

static void say_state(struct files *f)
{
	const char *text = f->folder.found.text;

	if (f->folder.found.newly_broken)
		registry_say_skipped(f->r, "%s", text);
	if (*f->twice)
		registry_say_skipped(f->r, "%s", f->twice);
	if (text)
		registry_say_partly(f->r, REGISTRY_GARBAGE, "what the file said before stays", "%s",
				    text);
	else
		registry_say_contact(f->r, f->elapsed_us);
}

/* At the start, files that are being written are waited for: without them nothing is complete. */
static bool is_too_early(const struct files *f)
{
	return !f->told && f->folder.found.unsettled &&
	       uv_now(f->r->loop) - f->started_ms < UNSETTLED_FIRST_MS;
}

static void on_looked(struct files *f)
{
	struct object *objects = f->objects;
	size_t n = f->n_objects;

	f->objects = NULL;
	f->n_objects = 0;
	if (f->result < 0) {
		(void)object_free_list(objects, n);
		say_failure(f);
		schedule(f, registry_backoff(f->r, 0));
		return;
	}
	f->unsettled = f->folder.found.unsettled ? f->unsettled + 1 : 0;
	say_state(f);
	if (objects && !is_too_early(f)) {
		f->dirty = false;
		say(f, objects, n);
	} else {
		(void)object_free_list(objects, n);
	}
	schedule(f, f->unsettled ? event_wait(f) : period(f));
}

/* --- the look --------------------------------------------------------------------------------- */

static void on_closed(uv_handle_t *handle);

static void on_work(uv_work_t *work)
{
	struct files *f = work->data;
	uint64_t began = uv_hrtime();

	*f->twice = '\0';
	f->result = files_scan(&f->folder, f->open_names, f->n_open);
	f->dirty |= f->folder.found.changed;
	if (f->result >= 0 && (f->dirty || !f->told))
		f->result = files_gather(&f->folder, &f->objects, &f->n_objects, f->twice);
	f->elapsed_us = (uv_hrtime() - began) / 1000 + 1;
}

static void close_handles(struct files *f)
{
	uv_close((uv_handle_t *)&f->timer, on_closed);
	if (f->inotify >= 0)
		uv_close((uv_handle_t *)&f->poll, on_closed);
}

static void on_worked(uv_work_t *work, int status)
{
	struct files *f = work->data;

	f->is_busy = false;
	if (f->stopping) {
		close_handles(f);
		return;
	}
	on_looked(f);
	if (f->again)
		schedule(f, event_wait(f));
	f->again = false;
}

static void on_timer(uv_timer_t *timer)
{
	struct files *f = timer->data;

	if (f->inotify >= 0) {
		rewatch(f, &f->parent_watch, f->parent, PARENT_EVENTS);
		rewatch(f, &f->watch, f->folder.path, FOLDER_EVENTS);
	}
	list_writing(f);
	f->is_busy = uv_queue_work(f->r->loop, &f->work, on_work, on_worked) >= 0;
	if (!f->is_busy)
		schedule(f, 1000);
}

/* --- life ------------------------------------------------------------------------------------- */

static void done(struct files *f)
{
	(void)object_free_list(f->objects, f->n_objects);
	(void)object_free_list(f->said, f->n_said);
	files_folder_done(&f->folder);
	free(f->parent);
	free(f->base);
	free(f);
}

static void on_closed(uv_handle_t *handle)
{
	struct files *f = handle->data;
	struct registry *r = f->r;

	if (--f->n_open_handles)
		return;
	if (f->inotify >= 0)
		(void)close(f->inotify);
	done(f);
	registry_stopped(r);
}

/* The folder's path without a "/" at its end, and where it is. */
static int take_path(struct files *f, const char *path)
{
	size_t n = strlen(path);
	const char *slash;

	while (n > 1 && path[n - 1] == '/')
		n--;
	f->folder.path = strndup(path, n);
	if (!f->folder.path)
		return -ENOMEM;
	slash = strrchr(f->folder.path, '/');
	f->parent = slash == f->folder.path
			    ? strdup("/")
			    : strndup(f->folder.path, (size_t)(slash - f->folder.path));
	f->base = strdup(slash + 1);
	return f->parent && f->base ? 0 : -ENOMEM;
}

static int start(struct registry *r)
{
	struct files *f;

	if (!r->config->path || r->config->path[0] != '/') {
		(void)snprintf(r->status.text, sizeof(r->status.text),
			       "\"path\" must name the folder of manifests");
		return -EINVAL;
	}
	f = calloc(1, sizeof(*f));
	if (!f || take_path(f, r->config->path) < 0) {
		if (f)
			done(f);
		return -ENOMEM;
	}
	f->r = r;
	f->folder.tag = r->tag;
	f->folder.zone = r->config->zone;
	f->work.data = f;
	f->started_ms = uv_now(r->loop);
	(void)uv_timer_init(r->loop, &f->timer);
	f->timer.data = f;
	f->n_open_handles = 1;
	open_inotify(f);
	r->source = f;
	schedule(f, 0);
	return 0;
}

static void stop(struct registry *r)
{
	struct files *f = r->source;

	f->stopping = true;
	(void)uv_timer_stop(&f->timer);
	if (!f->is_busy)
		close_handles(f);
}

/* Everything is looked at, as always. Files that did not change by name, length, time and inode are
 * not read again: what they say is what they said. */
static int look(struct registry *r, const char *namespace, const char *name)
{
	struct files *f = r->source;

	if (!f->told || f->is_busy || f->stopping)
		return -EAGAIN;
	f->dirty = true; /* so that it is said though nothing is new */
	schedule(f, 0);
	return 0;
}

const struct registry_kind registry_files = {
	.type = "files",
	.start = start,
	.stop = stop,
	.look = look,
};
