/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * See cgroups.h. One question is under way at a time, so that any number of them neither fills the
 * socket nor delays the helper's other work for long.
 */
#include "daemon/cgroups.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"

/* Whoever is told may give a reference back, and entries may go: hold no other one meanwhile. */
static void settle(struct cgroups *c, struct cgroups_entry *e)
{
	e->asked = false;
	e->refs++;
	c->named(c->arg, e);
	cgroups_unref(c, e);
}

static struct cgroups_entry *find_asked(struct cgroups *c)
{
	struct cgroups_entry *e, *next;

	HASH_ITER (hh, c->all, e, next)
		if (e->asked)
			return e;
	return NULL;
}

/* The next one that waits; a helper that is not there answers nothing, and nobody waits. */
static void ask_next(struct cgroups *c)
{
	struct evict_request request = {.verb = EVICT_CGROUP};
	struct cgroups_entry *e;

	while ((e = find_asked(c))) {
		int r;

		request.cgroup_id = e->name.id;
		r = evict_send(c->evict, &request);
		if (r >= 0 || r == -EAGAIN) {
			c->waiting = r < 0 ? 0 : e->name.id;
			return; /* without room, the answer to another question makes it */
		}
		settle(c, e);
	}
}

static struct cgroups_entry *find(struct cgroups *c, uint64_t id)
{
	struct cgroups_entry *e = NULL;

	HASH_FIND(hh, c->all, &id, sizeof(id), e);
	return e;
}

static void drop(struct cgroups *c, struct cgroups_entry *e)
{
	HASH_DEL(c->all, e);
	free(e->name.path);
	free(e);
}

/* The one whose last use is longest ago, of those that nobody holds. */
static bool make_room(struct cgroups *c)
{
	struct cgroups_entry *e, *next;

	if (HASH_COUNT(c->all) < LIMIT_CGROUPS)
		return true;
	HASH_ITER (hh, c->all, e, next)
		if (!e->refs && !e->asked) {
			drop(c, e);
			return true;
		}
	return false;
}

static struct cgroups_entry *add(struct cgroups *c, uint64_t id)
{
	struct cgroups_entry *e = make_room(c) ? calloc(1, sizeof(*e)) : NULL;

	if (!e)
		return NULL;
	e->name.id = id;
	e->refs = 1; /* the caller's */
	e->asked = true;
	HASH_ADD(hh, c->all, name.id, sizeof(e->name.id), e);
	if (!c->waiting)
		ask_next(c);
	return e;
}

/* Used now: it is the last to leave. */
static void touch(struct cgroups *c, struct cgroups_entry *e)
{
	HASH_DEL(c->all, e);
	HASH_ADD(hh, c->all, name.id, sizeof(e->name.id), e);
}

struct cgroups_entry *cgroups_get(struct cgroups *c, uint64_t id)
{
	struct cgroups_entry *e = find(c, id);

	if (!e)
		return add(c, id);
	touch(c, e);
	e->refs++;
	return e;
}

void cgroups_unref(struct cgroups *c, struct cgroups_entry *e)
{
	if (!e || --e->refs || e->asked)
		return;
	/* What could not be named is asked for anew the next time. */
	if (!e->name.path)
		drop(c, e);
}

const struct cgroup_name *cgroups_look(struct cgroups *c, uint64_t id)
{
	struct cgroups_entry *e = id ? cgroups_get(c, id) : NULL;
	bool is_known = e && e->name.path;

	/* With a path it stays when it is given back. */
	cgroups_unref(c, e);
	return is_known ? &e->name : NULL;
}

/* Below the served cgroup, else as the whole path says. */
static void identify(const struct cgroups *c, struct cgroup_name *name)
{
	static const struct identity nobody;
	size_t n = strlen(c->served);

	if (!strncmp(name->path, c->served, n))
		identity_parse(name->path + n, &name->identity);
	if (identity_is_equal(&name->identity, &nobody))
		identity_parse(name->path, &name->identity);
}

static void take_path(struct cgroups *c, struct cgroups_entry *e, const char *path)
{
	size_t n = strlen(c->mount);

	if (strncmp(path, c->mount, n) || (path[n] && path[n] != '/'))
		return; /* of another mount: nothing that anybody here could name */
	e->name.path = strdup(path[n] ? path + n : "/");
	if (e->name.path)
		identify(c, &e->name);
}

void cgroups_answer(struct cgroups *c, const struct evict_answer *answer)
{
	struct cgroups_entry *e = find(c, answer->subject);

	c->waiting = 0;
	if (e && e->asked) {
		if (answer->r >= 0 && !e->name.path)
			take_path(c, e, answer->path);
		settle(c, e);
	}
	if (!c->waiting)
		ask_next(c);
}

void cgroups_lost(struct cgroups *c)
{
	c->waiting = 0;
	ask_next(c);
}

void cgroups_done(struct cgroups *c)
{
	struct cgroups_entry *e, *next;

	HASH_ITER (hh, c->all, e, next)
		drop(c, e);
}
