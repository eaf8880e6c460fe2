/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Ten thousand random words, answers, silences and confirmations against a model of merge.h and
 * guard.h in the simplest form: tables and loops, every figure counted anew each time. After each
 * the client, which is told changes alone, sees what the model says.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/text.h"
#include "registry/guard.h"
#include "say.h"

#define SOURCES 3
#define SERVICES 8
#define ENDPOINTS 6
#define ROUNDS 10000
#define PASSES 64

static uint64_t random_state;

static unsigned int draw(unsigned int below)
{
	random_state = random_state * 6364136223846793005ull + 1442695040888963407ull;
	return (unsigned int)(random_state >> 33) % below;
}

/* --- the model ---------------------------------------------------------------------------- */

struct model_service {
	bool is_there, is_said;
	int weight[ENDPOINTS];     /* of those it names or has named; -1: not there */
	uint64_t since[ENDPOINTS]; /* 0: it names it */
	uint64_t pass_ms[PASSES];  /* one for each endpoint that went */
	unsigned int n_pass;
};

struct model_source {
	struct model_service services[SERVICES];
	bool dark, blank, lost;
	uint64_t back_ms;
	enum registry_on_stale stale;
	uint64_t contact_ms;
	struct guard left; /* services that were emptied and let go; of the guard itself */
};

static struct model_source model[SOURCES];
static uint64_t now_ms;

/* A word: -1 where it names nothing. */
struct word {
	bool is_there;
	int weight[ENDPOINTS];
};

static bool is_emptied(const struct model_service *s)
{
	bool any = false;

	for (int e = 0; s->is_there && e < ENDPOINTS; e++) {
		if (s->weight[e] >= 0 && !s->since[e])
			return false;
		any |= s->weight[e] >= 0;
	}
	return any;
}

static bool has_any(const struct model_service *s)
{
	for (int e = 0; s->is_there && e < ENDPOINTS; e++)
		if (s->weight[e] >= 0)
			return true;
	return false;
}

/* Services that have endpoints, and those of them that are emptied. */
static void model_count(const struct model_source *m, unsigned int *full, unsigned int *emptied)
{
	*full = *emptied = 0;
	for (int i = 0; i < SERVICES; i++) {
		*full += has_any(&m->services[i]);
		*emptied += is_emptied(&m->services[i]);
	}
}

static bool is_sane(unsigned int services, unsigned int emptied)
{
	return emptied <= 1 || emptied * 5 <= services;
}

static bool is_dark(bool was, unsigned int services, unsigned int emptied)
{
	return !is_sane(services, emptied) && (was || emptied * 2 > services);
}

/* Those that were emptied and let go make it dark, too; but when it is no longer, it has not come
 * back. */
static void model_look(struct model_source *m, unsigned int full, unsigned int emptied,
		       uint64_t at_ms)
{
	unsigned int left = emptied ? (unsigned int)guard_count(&m->left, 30000, at_ms) : 0;
	bool lost = is_dark(m->lost, full, emptied);

	if (m->lost && !lost)
		m->back_ms = at_ms;
	m->lost = lost;
	m->dark = is_dark(m->dark, full + left, emptied + left);
}

static void model_look_around(struct model_source *m, uint64_t at_ms)
{
	unsigned int full, emptied;

	model_count(m, &full, &emptied);
	model_look(m, full, emptied, at_ms);
}

/* It names something, while something is still emptied. */
static void model_see(struct model_source *m, bool blank)
{
	unsigned int full, emptied;

	model_count(m, &full, &emptied);
	if (m->blank && !blank && emptied)
		m->back_ms = now_ms;
	m->blank = blank;
}

static bool is_back(const struct model_source *m, uint64_t at_ms)
{
	return !m->back_ms || at_ms >= m->back_ms + 90000;
}

static bool model_holds(struct model_service *s, const struct word *w)
{
	unsigned int before = 0, away = 0, gone = 0, left = 0, passed = 0;

	for (unsigned int i = 0; i < s->n_pass; i++)
		passed += now_ms - s->pass_ms[i] < 5000;
	for (int e = 0; e < ENDPOINTS; e++) {
		bool named = w->is_there && w->weight[e] >= 0;

		before += s->weight[e] >= 0;
		left += named;
		away += s->weight[e] >= 0 && !named;
		gone += s->weight[e] >= 0 && !named && !s->since[e];
	}
	if (gone && (!left || 2 * (away + passed) > before + passed))
		return true;
	for (; gone; gone--) {
		assert_true(s->n_pass < PASSES);
		s->pass_ms[s->n_pass++] = now_ms;
	}
	return false;
}

static void model_forget_passes(struct model_service *s)
{
	unsigned int n = 0;

	for (unsigned int i = 0; i < s->n_pass; i++)
		if (now_ms - s->pass_ms[i] < 5000)
			s->pass_ms[n++] = s->pass_ms[i];
	s->n_pass = n;
}

static void model_end(struct model_service *s)
{
	bool any = s->is_said;

	for (int e = 0; e < ENDPOINTS; e++)
		any |= s->weight[e] >= 0;
	if (any)
		return;
	s->is_there = false;
	s->n_pass = 0;
}

static void model_word(struct model_source *m, struct model_service *s, const struct word *w)
{
	bool hold = false, had = has_any(s);

	if (!s->is_there && !w->is_there)
		return;
	model_forget_passes(s);
	if (s->is_there)
		hold = model_holds(s, w);
	else
		memset(s->weight, -1, sizeof(s->weight));
	s->is_there = true;
	s->is_said = w->is_there;
	for (int e = 0; e < ENDPOINTS; e++) {
		if (w->is_there && w->weight[e] >= 0) {
			s->weight[e] = w->weight[e];
			s->since[e] = 0;
		} else if (s->weight[e] >= 0 && !s->since[e]) {
			s->weight[e] = hold ? s->weight[e] : -1;
			s->since[e] = hold ? now_ms : 0;
		} else if (s->weight[e] >= 0 && !m->dark && !m->blank && is_back(m, now_ms) &&
			   now_ms - s->since[e] >= 1000) {
			s->weight[e] = -1;
			s->since[e] = 0;
		}
	}
	if (had && !has_any(s))
		guard_note(&m->left, 1, 30000, now_ms);
	model_end(s);
}

static bool names_any(const struct word *w)
{
	for (int e = 0; e < ENDPOINTS; e++)
		if (w->is_there && w->weight[e] >= 0)
			return true;
	return false;
}

static void model_snapshot(struct model_source *m, const struct word *words)
{
	unsigned int full = 0, emptied = 0;
	bool blank = true;

	for (int i = 0; i < SERVICES; i++) {
		blank &= !words[i].is_there;
		full += has_any(&m->services[i]) || names_any(&words[i]);
		emptied += has_any(&m->services[i]) && !names_any(&words[i]);
	}
	model_see(m, blank);
	model_look(m, full, emptied, now_ms);
	for (int i = 0; i < SERVICES; i++)
		model_word(m, &m->services[i], &words[i]);
	model_look_around(m, now_ms);
	m->contact_ms = now_ms;
}

static unsigned int model_let_go(struct model_service *s)
{
	unsigned int n = 0;

	for (int e = 0; s->is_there && e < ENDPOINTS; e++)
		if (s->weight[e] >= 0 && s->since[e]) {
			s->weight[e] = -1;
			s->since[e] = 0;
			n++;
		}
	if (n)
		model_end(s);
	return n;
}

static bool model_is_settled(const struct model_source *m, const struct model_service *s)
{
	for (int e = 0; e < ENDPOINTS; e++)
		if (s->weight[e] >= 0 && s->since[e] && m->contact_ms < s->since[e] + 30000)
			return false;
	return true;
}

/* What settles does not depend on what has just settled beside it. */
static void model_settle(struct model_source *m)
{
	unsigned int full, emptied, left;

	model_count(m, &full, &emptied);
	left = emptied ? (unsigned int)guard_count(&m->left, 30000, m->contact_ms) : 0;
	if (m->blank || m->dark || !is_back(m, m->contact_ms) ||
	    !is_sane(full + left, emptied + left))
		return;
	for (int i = 0; i < SERVICES; i++) {
		bool had = has_any(&m->services[i]);

		if (!m->services[i].is_there || !model_is_settled(m, &m->services[i]))
			continue;
		(void)model_let_go(&m->services[i]);
		if (had && !has_any(&m->services[i]))
			guard_note(&m->left, 1, 30000, m->contact_ms);
	}
	model_look_around(m, m->contact_ms);
}

/* --- what the client should see ----------------------------------------------------------- */

static int rank_of(const struct model_source *m, int i, int e)
{
	const struct model_service *s = &m->services[i];

	if (!s->is_there || s->weight[e] < 0 || m->stale == STALE_FAIL)
		return 9;
	return s->since[e] ? 2 : m->stale == STALE_DRAIN ? 1 : 0;
}

static void append_endpoint(struct text_buffer *b, int i, int e)
{
	int best = 0, weight;

	for (int k = 1; k < SOURCES; k++)
		if (rank_of(&model[k], i, e) < rank_of(&model[best], i, e))
			best = k;
	if (rank_of(&model[best], i, e) == 9)
		return;
	weight = model[best].stale == STALE_DRAIN ? 0 : model[best].services[i].weight[e];
	text_append_format(b, " 10.0.%d.%d*%d@%c%s", i, e + 1, weight, 'a' + best,
			   model[best].services[i].since[e] ? "?" : "");
}

static char *model_view(void)
{
	struct text_buffer b = {};

	text_append(&b, "");
	for (int i = 0; i < SERVICES; i++) {
		int first = 0;

		while (first < SOURCES && !model[first].services[i].is_there)
			first++;
		if (first == SOURCES)
			continue;
		text_append_format(&b, "%ss%d:%d=10.96.%d.%d", b.n ? "; " : "", i, 80, first,
				   i + 1);
		for (int e = 0; e < ENDPOINTS; e++)
			append_endpoint(&b, i, e);
	}
	return text_take(&b);
}

static void assert_counts(const struct say *s, unsigned int source)
{
	size_t services = 0, named = 0, held = 0;
	struct merge_counts c;

	for (int i = 0; i < SERVICES; i++) {
		const struct model_service *x = &model[source].services[i];

		services += x->is_there;
		for (int e = 0; x->is_there && e < ENDPOINTS; e++) {
			named += x->weight[e] >= 0 && !x->since[e];
			held += x->weight[e] >= 0 && x->since[e];
		}
	}
	merge_count(s->m, source, &c);
	assert_int_equal(c.services, services);
	assert_int_equal(c.endpoints, named);
	assert_int_equal(c.suspect, held);
	assert_int_equal(c.held_total >= c.suspect, 1);
	assert_int_equal(c.refused, 0);
}

/* --- words -------------------------------------------------------------------------------- */

/* Mostly a little different from what it said, sometimes all anew or nothing. */
static void draw_word(const struct model_service *s, struct word *w)
{
	unsigned int how = draw(8);

	w->is_there = s->is_there ? draw(12) > 0 : draw(3) > 0;
	for (int e = 0; e < ENDPOINTS; e++) {
		bool has = s->is_there && s->weight[e] >= 0 && !s->since[e];

		w->weight[e] = has ? s->weight[e] : -1;
		if (how == 0)
			w->weight[e] = -1;
		else if (how == 1 || draw(5) == 0)
			w->weight[e] = draw(2) ? (int)draw(4) : -1;
	}
}

static void append_word(struct text_buffer *b, unsigned int source, int i, const struct word *w)
{
	text_append_format(b, "%ss%d:80=10.96.%u.%d", b->n ? "; " : "", i, source, i + 1);
	for (int e = ENDPOINTS - 1; e >= 0; e--)
		if (w->weight[e] >= 0)
			text_append_format(b, " 10.0.%d.%d*%d", i, e + 1, w->weight[e]);
}

static void one_snapshot(struct say *s, unsigned int source)
{
	bool nothing = draw(6) == 0, same = draw(4) == 0;
	struct text_buffer b = {};
	_cleanup_free_ char *text = NULL;
	struct word words[SERVICES];

	text_append(&b, "");
	for (int i = 0; i < SERVICES; i++) {
		const struct model_service *x = &model[source].services[i];

		draw_word(x, &words[i]);
		for (int e = 0; same && e < ENDPOINTS; e++)
			words[i].weight[e] = x->is_there && !x->since[e] ? x->weight[e] : -1;
		words[i].is_there = !nothing && (same ? x->is_said : words[i].is_there);
		if (words[i].is_there)
			append_word(&b, source, i, &words[i]);
	}
	text = text_take(&b);
	model_snapshot(&model[source], words);
	assert_int_equal(say_snapshot(s, 0, source, text), 0);
}

static void one_upsert(struct say *s, unsigned int source, int i)
{
	struct model_source *m = &model[source];
	struct text_buffer b = {};
	_cleanup_free_ char *text = NULL;
	struct word w;

	draw_word(&m->services[i], &w);
	w.is_there = true;
	append_word(&b, source, i, &w);
	text = text_take(&b);
	model_see(m, false);
	model_word(m, &m->services[i], &w);
	model_look_around(m, now_ms);
	m->contact_ms = now_ms;
	say_upsert(s, 0, source, text);
}

static void one_remove(struct say *s, unsigned int source, int i)
{
	struct model_source *m = &model[source];
	const struct word w = {};
	char name[8];

	(void)snprintf(name, sizeof(name), "s%d", i);
	model_word(m, &m->services[i], &w);
	model_look_around(m, now_ms);
	m->contact_ms = now_ms;
	say_remove(s, 0, source, name);
}

static void one_confirm(struct say *s, unsigned int source, int i)
{
	struct model_source *m = &model[source];
	uint64_t back_ms = m->back_ms;
	bool all = draw(2);
	unsigned int n = 0;
	char name[8];

	(void)snprintf(name, sizeof(name), "s%d", i);
	for (int k = 0; k < SERVICES; k++)
		if (all || k == i)
			n += model_let_go(&m->services[k]);
	model_look_around(m, m->contact_ms);
	m->back_ms = back_ms;
	assert_int_equal(merge_confirm(s->m, source, "default", all ? NULL : name), n);
}

static void one_stale(struct say *s, unsigned int source)
{
	model[source].stale = (enum registry_on_stale)draw(3);
	assert_int_equal(merge_set_stale(s->m, source, model[source].stale), 0);
}

static void one_round(struct say *s)
{
	static const unsigned int steps[] = {0, 1, 300, 700, 999, 1000, 1500, 4999, 5000, 20000};
	unsigned int source = draw(SOURCES), what = draw(32);
	int i = (int)draw(SERVICES);

	s->now_ms += steps[draw(ARRAY_SIZE(steps))];
	now_ms = s->now_ms;
	if (what < 4)
		one_snapshot(s, source);
	else if (what < 22)
		one_upsert(s, source, i);
	else if (what < 27)
		one_remove(s, source, i);
	else if (what == 27)
		one_confirm(s, source, i);
	else if (what == 28)
		one_stale(s, source);
	else {
		model[source].contact_ms = now_ms;
		merge_contact(s->m, source, now_ms);
	}
}

static void run(uint64_t seed)
{
	size_t held = 0, released = 0, told = 0;
	struct say s;

	random_state = seed;
	memset(model, 0, sizeof(model));
	say_init(&s);
	for (int round = 0; round < ROUNDS; round++) {
		_cleanup_free_ char *wanted = NULL;
		const char *seen;

		one_round(&s);
		for (int k = 0; k < SOURCES; k++)
			model_settle(&model[k]);
		wanted = model_view();
		seen = say_view(&s);
		if (strcmp(seen, wanted) != 0)
			fail_msg("seed %llu round %d:\n  wanted %s\n  seen   %s",
				 (unsigned long long)seed, round, wanted, seen);
		for (unsigned int k = 0; k < SOURCES; k++)
			assert_counts(&s, k);
		told += s.told;
	}
	for (unsigned int k = 0; k < SOURCES; k++) {
		struct merge_counts c;

		merge_count(s.m, k, &c);
		held += c.held_total;
		released += c.released_total;
	}
	print_message("seed %llu: %zu held, %zu let go, %zu told\n", (unsigned long long)seed, held,
		      released, told);
	assert_true(held > 1000 && released > 500 && told > 1000);
	say_done(&s);
}

static void test_random_words_against_a_model(void **state)
{
	for (uint64_t seed = 1; seed <= 3; seed++)
		run(seed);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_random_words_against_a_model),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
