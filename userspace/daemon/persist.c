/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * See persist.h. After store_commit; read back by the next daemon before it reconciles. Must never
 * block the loop, and never leave half a file under a real name.
 */
#include "daemon/persist.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <utlist.h>

#include "base/cleanup.h"
#include "base/json.h"
#include "base/log.h"
#include "daemon/statefile.h"

struct persist_wait {
	control_applied_fn done;
	void *arg;
	struct persist_wait *next;
};

/* One source and the write that is running for it, if any. */
struct persist_source {
	struct persist *p;
	char *name;
	bool dirty; /* changed since the running write took its snapshot */
	bool writing;
	bool failing;                 /* the last write failed */
	struct persist_wait *waiting; /* for the next write */
	struct persist_wait *covered; /* by the running write */
	uv_work_t work;
	struct statefile file; /* the snapshot being written */
	int r;
	struct persist_source *next;
};

#define LATE_MS 250   /* changes that nobody waits for share a write */
#define RETRY_MS 5000 /* after a write that failed */

static void start_write(struct persist_source *s);
static void start_write_late(struct persist *p, uint64_t delay_ms);

static struct persist_source *find_source(struct persist *p, const char *name)
{
	struct persist_source *s;

	LL_FOREACH (p->sources, s)
		if (!strcmp(s->name, name))
			return s;
	s = calloc(1, sizeof(*s));
	if (!s)
		return NULL;
	s->p = p;
	s->name = strdup(name);
	if (!s->name) {
		free(s);
		return NULL;
	}
	LL_PREPEND(p->sources, s);
	return s;
}

static void answer(struct persist_wait *waits, int r)
{
	struct persist_wait *w, *next;

	LL_FOREACH_SAFE(waits, w, next)
	{
		if (w->done)
			w->done(w->arg, r);
		free(w);
	}
}

static void on_work(uv_work_t *work)
{
	struct persist_source *s = container_of(work, struct persist_source, work);

	s->r = statefile_write(&s->file, s->p->folder);
}

/* What could not be written is tried again by itself: a full disk may not stay full. */
static void note_result(struct persist_source *s)
{
	struct persist *p = s->p;

	if (s->r < 0) {
		p->failures++;
		s->dirty = true;
	}
	if (s->r < 0 && !s->failing)
		log_err_r(
			s->r,
			"cannot write the state of source %s below %s; it is applied, but a restart would "
			"forget it; trying again every %d s",
			s->name, p->folder, RETRY_MS / 1000);
	else if (s->r >= 0 && s->failing)
		log_notice("the state of source %s below %s is written again", s->name, p->folder);
	if ((s->r < 0) != s->failing)
		p->failing += s->failing ? -1 : 1;
	s->failing = s->r < 0;
}

static void on_written(uv_work_t *work, int status)
{
	struct persist_source *s = container_of(work, struct persist_source, work);
	struct persist_wait *covered = TAKE_PTR(s->covered);

	s->writing = false;
	statefile_done(&s->file);
	(void)malloc_trim(0); /* a large source was a large text for a moment */
	note_result(s);
	answer(covered, s->r);
	if (s->waiting)
		start_write(s);
	else if (s->dirty)
		start_write_late(s->p, s->failing ? RETRY_MS : LATE_MS);
}

static void start_write(struct persist_source *s)
{
	int r = statefile_take(&s->file, s->p->store, s->name);

	s->dirty = false;
	s->covered = TAKE_PTR(s->waiting);
	if (r >= 0)
		r = uv_queue_work(s->p->loop, &s->work, on_work, on_written);
	if (r < 0) {
		statefile_done(&s->file);
		s->p->failures++;
		answer(TAKE_PTR(s->covered), r);
		return;
	}
	s->writing = true;
}

static void on_late(uv_timer_t *timer)
{
	struct persist *p = timer->data;
	struct persist_source *s;

	LL_FOREACH (p->sources, s)
		if (s->dirty && !s->writing)
			start_write(s);
}

static void start_write_late(struct persist *p, uint64_t delay_ms)
{
	uv_timer_t *late = &p->late;

	if (uv_is_closing((uv_handle_t *)late))
		return;
	if (!uv_is_active((uv_handle_t *)late) || uv_timer_get_due_in(late) > delay_ms)
		(void)uv_timer_start(late, on_late, delay_ms, 0);
}

void persist_change(struct persist *p, const char *source, control_applied_fn done, void *arg)
{
	struct persist_source *s = find_source(p, source);
	struct persist_wait *w = s && done ? calloc(1, sizeof(*w)) : NULL;

	if (!s || (done && !w)) {
		if (done)
			done(arg, -ENOMEM);
		return;
	}
	if (w) {
		w->done = done;
		w->arg = arg;
		LL_APPEND(s->waiting, w);
	}
	s->dirty = true;
	if (!done)
		start_write_late(p, LATE_MS);
	else if (!s->writing)
		start_write(s);
}

void persist_stop(struct persist *p)
{
	if (p->loop && !uv_is_closing((uv_handle_t *)&p->late))
		uv_close((uv_handle_t *)&p->late, NULL);
}

void persist_flush(struct persist *p)
{
	struct persist_source *s;

	LL_FOREACH (p->sources, s) {
		struct statefile file = {};

		if (!s->dirty || statefile_take(&file, p->store, s->name) < 0)
			continue;
		if (statefile_write(&file, p->folder) >= 0)
			s->dirty = false;
		statefile_done(&file);
		answer(TAKE_PTR(s->waiting), s->dirty ? -EIO : 0);
	}
}

void persist_done(struct persist *p)
{
	struct persist_source *s, *next;

	LL_FOREACH_SAFE(p->sources, s, next)
	{
		answer(s->waiting, -ECANCELED);
		free(s->name);
		free(s);
	}
	free(p->folder);
	*p = (struct persist){};
}

int persist_init(struct persist *p, uv_loop_t *loop, const char *state, const struct store *store)
{
	int r;

	*p = (struct persist){.store = store};
	r = uv_timer_init(loop, &p->late);
	if (r < 0)
		return r;
	p->late.data = p;
	p->loop = loop;
	if (mkdir(state, 0700) < 0 && errno != EEXIST)
		return -errno;
	if (asprintf(&p->folder, "%s/sources", state) < 0)
		return -ENOMEM;
	return mkdir(p->folder, 0700) < 0 && errno != EEXIST ? -errno : 0;
}

static void move_aside(const char *path)
{
	_cleanup_free_ char *bad = NULL;

	if (asprintf(&bad, "%s.bad", path) >= 0)
		(void)rename(path, bad);
}

static bool is_aside(const char *name)
{
	size_t n = strlen(name), suffix = strlen(STATEFILE_BAD);

	return n > suffix && !strcmp(name + n - suffix, STATEFILE_BAD);
}

size_t persist_aside(const struct persist *p)
{
	DIR *dir = opendir(p->folder);
	struct dirent *entry;
	size_t n = 0;

	while (dir && (entry = readdir(dir)))
		n += is_aside(entry->d_name);
	if (dir)
		(void)closedir(dir);
	return n;
}

static int load_one(struct persist *p, struct store *store, const char *name, bool *ret_bad)
{
	_cleanup_free_ char *path = NULL;
	int r;

	if (asprintf(&path, "%s/%s", p->folder, name) < 0)
		return -ENOMEM;
	r = statefile_read(path, store);
	if (r == -ENOMEM)
		return r;
	if (r < 0) {
		log_err_r(
			r,
			"state file %s cannot be used; it is moved to %s.bad, and what it declared keeps "
			"running as the kernel has it until it is declared again",
			path, name);
		move_aside(path);
		*ret_bad = true;
	}
	return 0;
}

int persist_load(struct persist *p, struct store *store, bool *ret_bad)
{
	DIR *dir = opendir(p->folder);
	struct dirent *entry;
	int r = 0;

	if (!dir)
		return -errno;
	while (r >= 0 && (entry = readdir(dir))) {
		size_t n = strlen(entry->d_name);

		if (n > 5 && !strcmp(entry->d_name + n - 5, ".json"))
			r = load_one(p, store, entry->d_name, ret_bad);
		else if (is_aside(entry->d_name))
			*ret_bad = true; /* of an earlier start, not declared again since */
		else if (n > 4 && !strcmp(entry->d_name + n - 4, ".tmp"))
			(void)unlinkat(dirfd(dir), entry->d_name, 0);
	}
	(void)closedir(dir);
	return r;
}

int persist_remove(const char *state)
{
	_cleanup_free_ char *folder = NULL;
	struct dirent *entry;
	DIR *dir;
	int r;

	if (asprintf(&folder, "%s/sources", state) < 0)
		return -ENOMEM;
	dir = opendir(folder);
	while (dir && (entry = readdir(dir)))
		if (entry->d_name[0] != '.')
			(void)unlinkat(dirfd(dir), entry->d_name, 0);
	if (dir)
		(void)closedir(dir);
	if (rmdir(folder) < 0 && errno != ENOENT)
		return -errno;
	r = statefile_replace(state, "holds", NULL, 0);
	if (r < 0 && r != -ENOENT)
		return r;
	return rmdir(state) < 0 && errno != ENOENT && errno != ENOTEMPTY ? -errno : 0;
}
