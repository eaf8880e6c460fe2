/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * See eureka_round.h. Before: eureka_lost.c. After: eureka_look.c asks and decodes.
 *
 * A server that was started anew says 404 to everything, until with the next heartbeats its clients
 * are back, one after the other. So who vouches must be remembered for GUARD_RETURN_MS, three
 * heartbeats, by the server's own clock; and is asked last, for it speaks for what was said before.
 * Behind one address there may be several servers, each with a memory of its own, which answer in
 * turn: hence several answers, even of one witness. Any that is missing ends it.
 */
#include "registry/eureka_round.h"

#include <errno.h>
#include <string.h>

#include "model/limits.h"
#include "registry/draft.h"

void eureka_round_done(struct eureka_round *round)
{
	for (size_t i = 0; i < round->n; i++) {
		free(round->questions[i].app);
		free(round->questions[i].id);
	}
	for (size_t i = 0; i < round->n_apps; i++)
		free(round->apps[i]);
	*round = (struct eureka_round){};
}

static int add(struct eureka_round *round, const char *app, const char *id, size_t of)
{
	struct eureka_question q = {.app = strdup(app), .id = strdup(id), .of = of};

	if (!q.app || !q.id) {
		free(q.app);
		free(q.id);
		return -ENOMEM;
	}
	round->questions[round->n++] = q;
	return 0;
}

static bool is_about(const struct eureka_lost *lost, const struct eureka_lost_app *app,
		     const char *name)
{
	char its[LIMIT_NAME + 1];

	return app->n && !eureka_lost_is_old(lost, app) &&
	       (!name || (draft_name(app->app, its) >= 0 && !strcmp(its, name)));
}

static size_t choose(struct eureka_lost *lost, const char *name, size_t turn,
		     struct eureka_lost_app *ret[static EUREKA_ROUND_APPS])
{
	size_t n = 0, first = lost->n ? turn * EUREKA_ROUND_APPS % lost->n : 0;

	for (size_t i = 0; i < lost->n && n < EUREKA_ROUND_APPS; i++) {
		struct eureka_lost_app *app = &lost->apps[(first + i) % lost->n];

		if (is_about(lost, app, name))
			ret[n++] = app;
	}
	return n;
}

static int add_lost(struct eureka_round *round, struct eureka_lost *lost, const char *name,
		    size_t turn)
{
	struct eureka_lost_app *apps[EUREKA_ROUND_APPS];
	size_t n = choose(lost, name, turn, apps);
	int r = 0;

	for (size_t i = 0; r >= 0 && i < n; i++) {
		round->apps[i] = strdup(apps[i]->app);
		if (!round->apps[i])
			return -ENOMEM;
		round->n_apps++;
		apps[i]->changed = false;
		for (size_t k = 0; r >= 0 && k < apps[i]->n && k < EUREKA_ROUND_LOST / n; k++)
			r = add(round, apps[i]->app, apps[i]->ids[k].id, i);
	}
	round->n_lost = round->n;
	return r;
}

/* Spread over all there are, from a place that is another one each turn. */
static size_t find_witnesses(const struct eureka_apps *a, size_t turn,
			     const struct eureka_instance *ret[static EUREKA_ROUND_WITNESSES])
{
	size_t parts = a->n < EUREKA_ROUND_WITNESSES ? a->n : EUREKA_ROUND_WITNESSES, n = 0;

	for (size_t part = 0; part < parts; part++) {
		size_t from = part * a->n / parts, many = (part + 1) * a->n / parts - from;

		for (size_t i = 0; i < many; i++) {
			const struct eureka_instance *it = &a->instances[from + (turn + i) % many];

			if (!eureka_instance_is_usable(it))
				continue;
			ret[n++] = it;
			break;
		}
	}
	return n;
}

static int add_witnesses(struct eureka_round *round, const struct eureka_apps *a, size_t turn)
{
	const struct eureka_instance *found[EUREKA_ROUND_WITNESSES];
	size_t n = find_witnesses(a, turn, found);
	int r = 0;

	for (size_t i = 0; n && r >= 0 && i < EUREKA_ROUND_WITNESSES; i++) {
		const struct eureka_instance *it = found[(turn + i) % n];

		r = add(round, it->app, it->id, 0);
	}
	return r;
}

int eureka_round_begin(struct eureka_round *round, struct eureka_lost *lost,
		       const struct eureka_apps *apps, const char *name, size_t turn)
{
	int r = add_lost(round, lost, name, turn);

	if (r >= 0 && round->n_lost)
		r = add_witnesses(round, apps, turn);
	if (r < 0 || round->n == round->n_lost) {
		eureka_round_done(round);
		return r;
	}
	return 1;
}

static bool is_refuted(const struct eureka_round *round)
{
	for (size_t i = 0; i < round->n_apps; i++)
		if (!round->refuted[i])
			return false;
	return true;
}

static enum eureka_verdict take_lost(struct eureka_round *round, const struct eureka_reply *reply)
{
	if (reply->known && reply->usable)
		round->refuted[round->questions[round->at].of] = true;
	do {
		round->at++;
	} while (round->at < round->n_lost && round->refuted[round->questions[round->at].of]);
	return is_refuted(round) ? EUREKA_REFUTED : EUREKA_MORE;
}

enum eureka_verdict eureka_round_take(struct eureka_round *round, const struct eureka_reply *reply)
{
	if (round->at < round->n_lost)
		return take_lost(round, reply);
	if (!reply->known)
		return EUREKA_NOTHING;
	round->vouched += reply->memory_ms >= GUARD_RETURN_MS;
	if (round->vouched == EUREKA_ROUND_VOUCHED)
		return EUREKA_GONE;
	return ++round->at < round->n ? EUREKA_MORE : EUREKA_NOTHING;
}
