/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What a word of a registry does to what is believed of one service: the rule of guard.h, with
 * endpoints. Before: merge.c finds the part. After: it takes the word. Must never change what is
 * believed before the whole word is decided.
 */
#include <assert.h>
#include <errno.h>
#include <stdlib.h>

#include "registry/merge_state.h"

enum rank { RANK_NAMED, RANK_KEPT };

void merge_words_done(struct merge_words *w)
{
	(void)policy_unref(w->policy);
	(void)service_unref(w->said);
	(void)service_unref(w->believed);
	free(w->since);
	*w = (struct merge_words){};
}

void merge_word_abort(struct merge_part *p)
{
	merge_words_done(&p->next);
	p->pending = p->went = false;
	p->holds = p->released = 0;
	p->emptied_ms = 0;
}

/* --- figures of a source ------------------------------------------------------------------ */

static void book(struct merge_source *s, const struct merge_words *w, long sign)
{
	size_t n = w->believed ? w->believed->n_endpoints : 0;

	s->policies += (size_t)(sign * !!w->policy);
	s->services += (size_t)(sign * !!w->believed);
	s->full += (size_t)(sign * !!n);
	s->named += (size_t)sign * (n - w->n_held);
	s->held += (size_t)sign * w->n_held;
	s->emptied += (size_t)(sign * (w->n_held && w->n_held == n));
}

void merge_word_commit(struct merge *m, struct merge_node *node, struct merge_part *p)
{
	struct merge_source *s = &m->sources[p->source];

	if (!p->pending)
		return;
	book(s, &p->now, -1);
	book(s, &p->next, 1);
	s->held_total += p->holds;
	s->released_total += p->released;
	m->urgent |= p->went;
	if (p->emptied_ms)
		guard_note(&s->left, 1, GUARD_SETTLE_MS, p->emptied_ms);
	if (p->now.held_ms != p->next.held_ms)
		p->asked = 0;
	merge_words_done(&p->now);
	p->now = p->next;
	p->next = (struct merge_words){};
	merge_word_abort(p);
	merge_mark(m, node);
}

/* --- the first word ----------------------------------------------------------------------- */

static size_t count_suspects(const struct service *s)
{
	size_t n = 0;

	for (size_t i = 0; i < s->n_endpoints; i++)
		n += s->endpoints[i].flags & ENDPOINT_SUSPECT;
	return n;
}

/* Only a last-good state has suspects: they were held when it was written. */
static int strip(struct merge *m, unsigned int source, struct service *s, struct service **ret)
{
	size_t left_out[LIMIT_REGISTRIES] = {0};
	int r = join_begin(&m->join, s);
	bool added;

	if (r < 0)
		return r;
	(void)join_from(&m->join, s);
	for (size_t i = 0; r >= 0 && i < s->n_endpoints; i++) {
		struct join_mark mark = {.weight = s->endpoints[i].weight,
					 .source = (uint8_t)source};

		if (!(s->endpoints[i].flags & ENDPOINT_SUSPECT))
			r = join_add(&m->join, i, &mark, &added);
	}
	if (r < 0)
		return r;
	join_sort(&m->join);
	return join_finish(&m->join, NULL, left_out, ret, NULL);
}

static int take_first(struct merge *m, struct merge_part *p, struct service *named, uint64_t now_ms)
{
	struct merge_words *next = &p->next;
	size_t n = count_suspects(named);

	if (!n) {
		next->said = service_ref(named);
	} else {
		int r = strip(m, p->source, named, &next->said);

		if (r < 0)
			return r;
		next->since = calloc(named->n_endpoints, sizeof(*next->since));
		if (!next->since)
			return -ENOMEM;
		for (size_t i = 0; i < named->n_endpoints; i++)
			if (named->endpoints[i].flags & ENDPOINT_SUSPECT)
				next->since[i] = now_ms;
		next->held_ms = now_ms;
	}
	next->n_held = n;
	next->believed = service_ref(named);
	return 0;
}

/* --- another word ------------------------------------------------------------------------- */

static int add_all(struct merge *m, struct merge_part *p, const struct service *s, enum rank rank)
{
	const uint64_t *since = rank == RANK_KEPT ? p->now.since : NULL;
	int r = 0;
	bool added;

	for (size_t i = 0; r >= 0 && i < s->n_endpoints; i++) {
		bool held = s->endpoints[i].flags & ENDPOINT_SUSPECT;
		struct join_mark mark = {.weight = s->endpoints[i].weight,
					 .source = (uint8_t)p->source,
					 .rank = (uint8_t)rank,
					 .flags = rank == RANK_KEPT ? ENDPOINT_SUSPECT : 0,
					 .since = held && since ? since[i] : 0};

		r = join_add(&m->join, i, &mark, &added);
		p->went |= !added && rank == RANK_KEPT;
	}
	return r;
}

/* What it says now, and behind that what is believed and it does not say. With ports of another
 * kind nothing could be kept: if it also names nobody, the service stays as it was. */
static int gather(struct merge *m, struct merge_part *p, struct service *named)
{
	struct service *believed = p->now.believed;
	struct service *shape = named ? named : believed;
	int r = join_begin(&m->join, shape);
	bool fits;

	if (r < 0)
		return r;
	if (named) {
		(void)join_from(&m->join, named);
		r = add_all(m, p, named, RANK_NAMED);
	}
	fits = join_from(&m->join, believed);
	if (r >= 0 && !fits && !named->n_endpoints) {
		r = join_begin(&m->join, believed);
		fits = r >= 0 && join_from(&m->join, believed);
	}
	p->went |= !fits;
	if (r >= 0 && fits)
		r = add_all(m, p, believed, RANK_KEPT);
	if (r >= 0)
		join_sort(&m->join);
	return r;
}

static void weigh(const struct merge *m, const struct merge_part *p, struct guard_loss *ret)
{
	*ret = (struct guard_loss){.before = p->now.believed->n_endpoints};
	for (size_t i = 0; i < m->join.n; i++) {
		const struct join_mark *mark = &m->join.items[i].mark;

		ret->left += mark->rank == RANK_NAMED;
		ret->held += mark->rank == RANK_KEPT && mark->since;
		ret->gone += mark->rank == RANK_KEPT && !mark->since;
	}
}

/* Sorts out what stays. now_ms is no 0 here: see merge_word(). */
static void judge(struct merge *m, struct merge_part *p, const struct guard_loss *loss,
		  uint64_t now_ms)
{
	const struct merge_source *s = &m->sources[p->source];
	bool hold = guard_holds(&p->next.guard, &m->settings, loss, now_ms);
	bool may_confirm = !s->dark && !s->blank && !s->away && guard_is_back(s->back_ms, now_ms);

	for (size_t i = 0; i < m->join.n; i++) {
		struct join_item *item = &m->join.items[i];

		if (item->mark.rank == RANK_NAMED)
			continue;
		if (item->mark.since) {
			item->drop = may_confirm && guard_is_confirmed(item->mark.since, now_ms);
			p->released += item->drop;
		} else {
			item->drop = !hold;
			p->holds += hold;
			item->mark.since = now_ms;
		}
		p->went |= item->drop;
		p->next.n_held += !item->drop;
		if (!item->drop && item->mark.since > p->next.held_ms)
			p->next.held_ms = item->mark.since;
	}
}

/* It ends as nothing at all. */
static void note_emptied(struct merge_part *p, uint64_t now_ms)
{
	bool had = p->now.believed && p->now.believed->n_endpoints;

	if (had && (!p->next.believed || !p->next.believed->n_endpoints))
		p->emptied_ms = now_ms;
}

static int take_next(struct merge *m, struct merge_part *p, struct service *named, uint64_t now_ms)
{
	struct merge_words *next = &p->next;
	size_t left_out[LIMIT_REGISTRIES] = {0};
	struct guard_loss loss;
	int r = gather(m, p, named);

	if (r < 0)
		return r;
	next->guard = p->now.guard;
	weigh(m, p, &loss);
	judge(m, p, &loss, now_ms);
	p->went |= !named && !next->n_held;
	next->said = service_ref(named);
	if (!next->n_held) {
		next->believed = service_ref(named);
		note_emptied(p, now_ms);
		return 0;
	}
	r = join_finish(&m->join, NULL, left_out, &next->believed, &next->since);
	if (r < 0)
		return r;
	next->n_held = count_suspects(next->believed);
	m->sources[p->source].refused += left_out[p->source];
	return 0;
}

/* Held endpoints are those with a time; at the very first millisecond it is the second. */
int merge_word(struct merge *m, struct merge_part *p, struct service *named, uint64_t now_ms)
{
	_cleanup_(service_unrefp) struct service *clean = NULL;
	const struct merge_words *now = &p->now;
	int r = 0;

	assert(!p->pending);
	if (!now->believed && !named)
		return 0;
	if (named && now->believed && count_suspects(named)) {
		r = strip(m, p->source, named, &clean);
		named = clean;
	}
	if (r >= 0 && named && now->said && !now->n_held && service_is_equal(named, now->said))
		return 0;
	if (r >= 0)
		r = now->believed ? take_next(m, p, named, now_ms ? now_ms : 1)
				  : take_first(m, p, named, now_ms ? now_ms : 1);
	if (r < 0)
		merge_word_abort(p);
	else
		p->pending = true;
	return r;
}

void merge_word_release(struct merge_part *p, uint64_t now_ms)
{
	p->next.said = service_ref(p->now.said);
	p->next.believed = service_ref(p->now.said);
	p->next.guard = p->now.guard;
	p->released = p->now.n_held;
	p->pending = p->went = true;
	note_emptied(p, now_ms);
}
