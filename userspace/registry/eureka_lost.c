/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * See eureka_lost.h. Before: eureka_apps.c, which applies an answer. After: eureka_round.c asks.
 * Must never grow with what a server says: both numbers have a maximum.
 */
#include "registry/eureka_lost.h"

#include <string.h>

#include "base/text.h"
#include "model/limits.h"
#include "registry/draft.h"

static void clear(struct eureka_lost_app *app)
{
	for (size_t i = 0; i < app->n; i++)
		free(app->ids[i].id);
	app->n = 0;
}

void eureka_lost_forget(struct eureka_lost *l, struct eureka_lost_app *app)
{
	size_t behind = (size_t)(&l->apps[--l->n] - app);

	clear(app);
	free(app->app);
	memmove(app, app + 1, behind * sizeof(*app));
}

void eureka_lost_done(struct eureka_lost *l)
{
	while (l->n)
		eureka_lost_forget(l, &l->apps[l->n - 1]);
}

/* Where it is, or would be. */
static struct eureka_lost_app *place(struct eureka_lost *l, const char *app, bool *ret_found)
{
	size_t from = 0, to = l->n;

	*ret_found = false;
	while (from < to) {
		size_t at = from + (to - from) / 2;
		int r = strcmp(l->apps[at].app, app);

		*ret_found |= r == 0;
		if (r < 0)
			from = at + 1;
		else
			to = at;
	}
	return &l->apps[from];
}

static struct eureka_lost_app *find(struct eureka_lost *l, const char *app)
{
	bool found;
	struct eureka_lost_app *at = place(l, app, &found);

	return found ? at : NULL;
}

bool eureka_lost_is_old(const struct eureka_lost *l, const struct eureka_lost_app *app)
{
	return l->now_ms - app->at_ms > EUREKA_LOST_MS;
}

struct eureka_lost_app *eureka_lost_find(struct eureka_lost *l, const char *app)
{
	struct eureka_lost_app *found = find(l, app);

	return found && !eureka_lost_is_old(l, found) ? found : NULL;
}

/* The one whose loss is the longest ago makes room, but none of this very answer: one that takes
 * everything away would only replace its own. */
static bool make_room(struct eureka_lost *l)
{
	struct eureka_lost_app *oldest = &l->apps[0];

	if (l->n < EUREKA_LOST_APPS)
		return true;
	for (size_t i = 1; i < l->n; i++)
		if (l->apps[i].at_ms < oldest->at_ms)
			oldest = &l->apps[i];
	if (oldest->at_ms == l->now_ms)
		return false;
	eureka_lost_forget(l, oldest);
	return true;
}

static bool is_wanted(const struct eureka_lost *l, const char *app)
{
	char name[LIMIT_NAME + 1];

	return draft_name(app, name) >= 0 &&
	       (!l->r || registry_is_selected(l->r, name) || registry_is_selected(l->r, app));
}

/* NULL: it is of no interest, or there is no room. */
static struct eureka_lost_app *get(struct eureka_lost *l, const char *app)
{
	struct eureka_lost_app *at = find(l, app);
	bool found;
	char *copy;

	if (at || !is_wanted(l, app) || !make_room(l))
		return at;
	copy = strdup(app);
	if (!copy)
		return NULL;
	at = place(l, app, &found);
	memmove(at + 1, at, (size_t)(&l->apps[l->n] - at) * sizeof(*at));
	*at = (struct eureka_lost_app){.app = copy};
	l->n++;
	return at;
}

static void remove_id(struct eureka_lost_app *app, size_t at)
{
	free(app->ids[at].id);
	app->n--;
	memmove(&app->ids[at], &app->ids[at + 1], (app->n - at) * sizeof(*app->ids));
}

static void add(struct eureka_lost *l, const struct eureka_instance *i)
{
	struct eureka_lost_app *app = get(l, i->app);
	uint64_t rank = text_hash(i->id, strlen(i->id), l->seed);
	size_t at = 0;
	char *id;

	if (!app)
		return;
	if (eureka_lost_is_old(l, app))
		clear(app);
	app->at_ms = l->now_ms;
	app->changed = true;
	while (at < app->n && app->ids[at].rank < rank)
		at++;
	if (at == EUREKA_LOST_IDS || (at < app->n && !strcmp(app->ids[at].id, i->id)))
		return;
	id = strdup(i->id);
	if (!id)
		return;
	if (app->n == EUREKA_LOST_IDS)
		remove_id(app, app->n - 1);
	memmove(&app->ids[at + 1], &app->ids[at], (app->n - at) * sizeof(*app->ids));
	app->ids[at] = (struct eureka_lost_id){.id = id, .rank = rank};
	app->n++;
}

/* It is usable again. */
static void take_back(struct eureka_lost *l, const struct eureka_instance *i)
{
	struct eureka_lost_app *app = l->n ? find(l, i->app) : NULL;

	if (!app)
		return;
	app->changed = true;
	for (size_t at = 0; at < app->n; at++) {
		if (!strcmp(app->ids[at].id, i->id)) {
			remove_id(app, at);
			break;
		}
	}
	if (!app->n)
		eureka_lost_forget(l, app);
}

static int compare(const struct eureka_instance *a, const struct eureka_instance *b)
{
	int r = strcmp(a->app, b->app);

	return r ? r : strcmp(a->id, b->id);
}

void eureka_lost_note(struct eureka_lost *l, const struct eureka_apps *a,
		      const struct eureka_answer *answer, bool is_delta)
{
	size_t i = 0, j = 0;

	while (i < a->n || j < answer->n) {
		const struct eureka_instance *before = i < a->n ? &a->instances[i] : NULL,
					     *now = j < answer->n ? &answer->instances[j] : NULL;
		int r = !before ? 1 : !now ? -1 : compare(before, now);
		bool was = r <= 0 && eureka_instance_is_usable(before), is = is_delta && was;

		if (r >= 0)
			is = !now->deleted && eureka_instance_is_usable(now);
		if (was && !is)
			add(l, before);
		else if (is && !was)
			take_back(l, now);
		i += r <= 0;
		j += r >= 0;
	}
}
