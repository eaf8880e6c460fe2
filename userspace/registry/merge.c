/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * See merge.h. Before: sources say words. After: merge_take.c makes a change of them. Must never
 * take half a word: it is decided for every object first, and then taken.
 */
#include "registry/merge.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "model/limits.h"
#include "registry/merge_state.h"

#define KEY (2 * LIMIT_NAME + 3) /* "s" or "p", namespace, "/", name */

int merge_new(const struct merge_settings *settings, struct merge **ret)
{
	struct merge *m = calloc(1, sizeof(*m));

	if (!m)
		return -ENOMEM;
	m->settings.hold_percent = settings->hold_percent;
	m->settings.hold_window_ms = settings->hold_window_ms;
	for (unsigned int i = 0; i < LIMIT_REGISTRIES; i++)
		m->sources[i].order = (uint8_t)i;
	*ret = m;
	return 0;
}

struct merge *merge_free(struct merge *m)
{
	struct merge_node *node, *tmp;

	if (!m)
		return NULL;
	HASH_ITER (hh, m->nodes, node, tmp) {
		HASH_DEL(m->nodes, node);
		merge_node_free(node);
	}
	join_done(&m->join);
	free(m);
	return NULL;
}

/* --- nodes -------------------------------------------------------------------------------- */

/* The length; 0: such a name is no label, and nobody has it. */
static size_t make_key(enum object_kind kind, const char *namespace, const char *name,
		       char ret[static KEY + 1])
{
	size_t n = strnlen(namespace, LIMIT_NAME + 1), length = strnlen(name, LIMIT_NAME + 1);

	if (n > LIMIT_NAME || length > LIMIT_NAME)
		return 0;
	ret[0] = kind == OBJECT_SERVICE ? 's' : 'p';
	memcpy(ret + 1, namespace, n);
	ret[n + 1] = '/';
	memcpy(ret + n + 2, name, length + 1);
	return n + 2 + length;
}

static struct merge_node *find_node(const struct merge *m, enum object_kind kind,
				    const char *namespace, const char *name)
{
	char key[KEY + 1];
	size_t n = make_key(kind, namespace, name, key);
	struct merge_node *node = NULL;

	if (n)
		HASH_FIND(hh, m->nodes, key, n, node);
	return node;
}

static int add_node(struct merge *m, const struct object *o, struct merge_node **ret)
{
	const char *namespace =
		o->kind == OBJECT_SERVICE ? o->service->namespace : o->policy->namespace;
	const char *name = o->kind == OBJECT_SERVICE ? o->service->name : o->policy->name;
	char key[KEY + 1];
	size_t n = make_key(o->kind, namespace, name, key);
	struct merge_node *node;

	if (!n || HASH_COUNT(m->nodes) >= LIMIT_MERGED)
		return -E2BIG;
	node = calloc(1, sizeof(*node) + n + 1);
	if (!node)
		return -ENOMEM;
	node->kind = o->kind;
	memcpy(node->key, key, n + 1);
	HASH_ADD_KEYPTR(hh, m->nodes, node->key, n, node);
	if (!node->key[0]) {
		free(node);
		return -ENOMEM;
	}
	*ret = node;
	return 0;
}

static void insert_part(const struct merge *m, struct merge_node *node, struct merge_part *p)
{
	struct merge_part **at = &node->parts;

	while (*at && m->sources[(*at)->source].order < m->sources[p->source].order)
		at = &(*at)->next_part;
	p->next_part = *at;
	*at = p;
}

static struct merge_part *add_part(const struct merge *m, struct merge_node *node,
				   unsigned int source)
{
	struct merge_part *p = calloc(1, sizeof(*p));

	if (!p)
		return NULL;
	p->source = source;
	insert_part(m, node, p);
	return p;
}

/* -E2BIG: over a limit; -ENOMEM. */
static int get_part(struct merge *m, unsigned int source, const struct object *o,
		    struct merge_node **ret_node, struct merge_part **ret)
{
	struct merge_node *node =
		o->kind == OBJECT_SERVICE
			? find_node(m, o->kind, o->service->namespace, o->service->name)
			: find_node(m, o->kind, o->policy->namespace, o->policy->name);
	struct merge_part *p;
	int r = node ? 0 : add_node(m, o, &node);

	if (r < 0)
		return r;
	p = merge_find_part(node, source);
	if (!p)
		p = add_part(m, node, source);
	if (!p)
		return -ENOMEM;
	*ret_node = node;
	*ret = p;
	return 0;
}

/* --- words -------------------------------------------------------------------------------- */

/* One that is of another type from now on has another tag. */
static struct merge_source *get_source(struct merge *m, unsigned int source, const char *tag)
{
	struct merge_source *s = &m->sources[source];
	struct merge_node *node, *tmp;

	assert(source < LIMIT_REGISTRIES);
	if (!strncmp(s->tag, tag, sizeof(s->tag) - 1))
		return s;
	(void)snprintf(s->tag, sizeof(s->tag), "%s", tag);
	HASH_ITER (hh, m->nodes, node, tmp)
		if (merge_find_part(node, source))
			merge_mark(m, node);
	return s;
}

static int decide_policy(struct merge_part *p, struct policy *policy)
{
	if (policy ? p->now.policy && policy_is_equal(policy, p->now.policy) : !p->now.policy)
		return 0;
	p->next.policy = policy_ref(policy);
	p->pending = true;
	p->went = !policy;
	return 0;
}

/* An object of which it has been said that it is there. */
static int decide(struct merge *m, struct merge_part *p, const struct object *o, uint64_t now_ms)
{
	return o->kind == OBJECT_SERVICE ? merge_word(m, p, o->service, now_ms)
					 : decide_policy(p, o->policy);
}

/* --- snapshots ---------------------------------------------------------------------------- */

static int mention(struct merge *m, unsigned int source, const struct object *o, uint64_t now_ms)
{
	struct merge_node *node;
	struct merge_part *p;
	int r = get_part(m, source, o, &node, &p);

	if (r == -E2BIG || (r >= 0 && p->mentioned)) {
		m->sources[source].refused++;
		return 0;
	}
	if (r < 0)
		return r;
	p->mentioned = true;
	return decide(m, p, o, now_ms);
}

static bool has_endpoints(const struct merge_part *p)
{
	return p && p->now.believed && p->now.believed->n_endpoints;
}

/* What a snapshot leaves out counts before anything in it can confirm. */
static void forecast(struct merge *m, unsigned int source, const struct merge_objects *objects,
		     uint64_t now_ms)
{
	struct merge_source *s = &m->sources[source];
	size_t emptied = 0, full = 0;
	struct merge_node *node, *tmp;
	bool blank = true;

	for (size_t i = 0; i < objects->n; i++) {
		const struct service *x = objects->items[i].service;
		struct merge_part *p = NULL;

		if (objects->items[i].kind != OBJECT_SERVICE)
			continue;
		blank = false;
		node = find_node(m, OBJECT_SERVICE, x->namespace, x->name);
		if (node)
			p = merge_find_part(node, source);
		if (p)
			p->mentioned = x->n_endpoints > 0;
		full += x->n_endpoints && !has_endpoints(p);
	}
	HASH_ITER (hh, m->nodes, node, tmp) {
		struct merge_part *p = merge_find_part(node, source);

		if (!has_endpoints(p))
			continue;
		full++;
		emptied += !p->mentioned;
	}
	merge_note_blank(s, blank, now_ms);
	merge_note_dark(m, s, full, emptied, now_ms);
}

static void forget_mentions(struct merge *m, unsigned int source)
{
	struct merge_node *node, *tmp;

	HASH_ITER (hh, m->nodes, node, tmp) {
		struct merge_part *p = merge_find_part(node, source);

		if (p)
			p->mentioned = false;
	}
}

/* Policies are no endpoints; they go with a snapshot, unless it comes from a broken registry. */
static int decide_missing(struct merge *m, unsigned int source, uint64_t now_ms)
{
	const struct merge_source *s = &m->sources[source];
	struct merge_node *node, *tmp;
	int r = 0;

	HASH_ITER (hh, m->nodes, node, tmp) {
		struct merge_part *p = merge_find_part(node, source);

		if (!p || p->mentioned || r < 0)
			continue;
		if (node->kind == OBJECT_SERVICE)
			r = merge_word(m, p, NULL, now_ms);
		else if (!s->dark && !s->blank)
			r = decide_policy(p, NULL);
	}
	return r;
}

static void end_words(struct merge *m, unsigned int source, bool commit)
{
	struct merge_node *node, *tmp;

	HASH_ITER (hh, m->nodes, node, tmp) {
		struct merge_part *p = merge_find_part(node, source);

		if (p && commit)
			merge_word_commit(m, node, p);
		else if (p)
			merge_word_abort(p);
	}
}

int merge_snapshot(struct merge *m, unsigned int source, const char *tag,
		   struct merge_objects objects, uint64_t now_ms)
{
	struct merge_source *s = get_source(m, source, tag);
	bool dark = s->dark, blank = s->blank, lost = s->lost;
	uint64_t back_ms = s->back_ms;
	int r = 0;

	forecast(m, source, &objects, now_ms);
	forget_mentions(m, source);
	for (size_t i = 0; i < objects.n && r >= 0; i++)
		if (objects.items[i].kind != OBJECT_NONE)
			r = mention(m, source, &objects.items[i], now_ms);
	if (r >= 0)
		r = decide_missing(m, source, now_ms);
	end_words(m, source, r >= 0);
	forget_mentions(m, source);
	(void)object_free_list(objects.items, objects.n);
	if (r < 0) {
		s->dark = dark;
		s->blank = blank;
		s->lost = lost;
		s->back_ms = back_ms;
		return r;
	}
	merge_look_around(m, s, now_ms);
	s->contact_ms = now_ms;
	return 0;
}

/* --- deltas ------------------------------------------------------------------------------- */

int merge_upsert(struct merge *m, unsigned int source, const char *tag, struct object *object,
		 uint64_t now_ms)
{
	struct merge_source *s = get_source(m, source, tag);
	uint64_t back_ms = s->back_ms;
	bool blank = s->blank;
	struct merge_node *node;
	struct merge_part *p;
	int r = get_part(m, source, object, &node, &p);

	if (r == -E2BIG)
		s->refused++;
	merge_note_blank(s, blank && object->kind != OBJECT_SERVICE, now_ms);
	if (r >= 0)
		r = decide(m, p, object, now_ms);
	if (r >= 0)
		merge_word_commit(m, node, p);
	object_done(object);
	if (r < 0 && r != -E2BIG) {
		s->blank = blank;
		s->back_ms = back_ms;
		return r;
	}
	merge_look_around(m, s, now_ms);
	s->contact_ms = now_ms;
	return 0;
}

int merge_remove(struct merge *m, unsigned int source, const struct object_name *name,
		 uint64_t now_ms)
{
	struct merge_node *node = find_node(m, name->kind, name->namespace, name->name);
	struct merge_part *p = node ? merge_find_part(node, source) : NULL;
	struct merge_source *s = &m->sources[source];
	int r = 0;

	if (p)
		r = node->kind == OBJECT_SERVICE ? merge_word(m, p, NULL, now_ms)
						 : decide_policy(p, NULL);
	if (r < 0)
		return r;
	if (p)
		merge_word_commit(m, node, p);
	merge_look_around(m, s, now_ms);
	s->contact_ms = now_ms;
	return 0;
}

/* --- what is held, and who is silent ------------------------------------------------------ */

void merge_contact(struct merge *m, unsigned int source, uint64_t now_ms)
{
	m->sources[source].contact_ms = now_ms;
}

void merge_set_away(struct merge *m, unsigned int source, bool away, uint64_t now_ms)
{
	struct merge_source *s = &m->sources[source];

	if (s->away && !away)
		s->back_ms = now_ms ? now_ms : 1;
	s->away = away;
}

int merge_set_stale(struct merge *m, unsigned int source, enum registry_on_stale how)
{
	struct merge_node *node, *tmp;

	if (m->sources[source].stale == how)
		return 0;
	m->sources[source].stale = how;
	m->urgent |= how != STALE_KEEP;
	HASH_ITER (hh, m->nodes, node, tmp)
		if (merge_find_part(node, source))
			merge_mark(m, node);
	return 0;
}

/* --- sources come and go ------------------------------------------------------------------ */

static void sort_parts(struct merge *m, struct merge_node *node)
{
	struct merge_part *p = node->parts, *next;

	if (!p || !p->next_part)
		return;
	node->parts = NULL;
	for (; p; p = next) {
		next = p->next_part;
		insert_part(m, node, p);
	}
	merge_mark(m, node);
}

void merge_set_order(struct merge *m, const unsigned int *order, size_t n)
{
	uint8_t places[LIMIT_REGISTRIES];
	struct merge_node *node, *tmp;
	bool changed = false;
	uint8_t next = 0;

	memset(places, UINT8_MAX, sizeof(places));
	for (size_t i = 0; i < n; i++) {
		assert(order[i] < LIMIT_REGISTRIES && places[order[i]] == UINT8_MAX);
		places[order[i]] = next++;
	}
	for (unsigned int i = 0; i < LIMIT_REGISTRIES; i++) {
		if (places[i] == UINT8_MAX)
			places[i] = next++;
		changed |= m->sources[i].order != places[i];
		m->sources[i].order = places[i];
	}
	HASH_ITER (hh, m->nodes, node, tmp)
		if (changed)
			sort_parts(m, node);
}

void merge_forget(struct merge *m, unsigned int source)
{
	struct merge_source *s = &m->sources[source];
	struct merge_node *node, *tmp;

	assert(source < LIMIT_REGISTRIES);
	HASH_ITER (hh, m->nodes, node, tmp) {
		struct merge_part **at = &node->parts, *p;

		while (*at && (*at)->source != source)
			at = &(*at)->next_part;
		p = *at;
		if (!p)
			continue;
		*at = p->next_part;
		m->urgent |= p->now.believed || p->now.policy;
		merge_words_done(&p->now);
		free(p);
		merge_mark(m, node);
	}
	*s = (struct merge_source){.order = s->order};
}

static size_t let_go(struct merge *m, struct merge_node *node, struct merge_part *p,
		     uint64_t now_ms)
{
	size_t n = p->now.n_held;

	if (!n)
		return 0;
	merge_word_release(p, now_ms);
	merge_word_commit(m, node, p);
	return n;
}

size_t merge_confirm(struct merge *m, unsigned int source, const char *namespace, const char *name)
{
	struct merge_source *s = &m->sources[source];
	uint64_t back_ms = s->back_ms; /* who is believed has not come back */
	struct merge_node *node, *tmp;
	size_t n = 0;

	HASH_ITER (hh, m->nodes, node, tmp) {
		struct merge_part *p = merge_find_part(node, source);

		if (p && (!name || node == find_node(m, OBJECT_SERVICE, namespace, name)))
			n += let_go(m, node, p, 0);
	}
	merge_look_around(m, s, s->contact_ms);
	s->back_ms = back_ms;
	return n;
}

/* Nothing of a source settles that lost much, or everything. */
static bool may_settle(const struct merge_source *s)
{
	size_t left = merge_count_left(s, s->emptied, s->contact_ms);

	return merge_may_confirm(s, s->contact_ms) &&
	       guard_is_sane(s->full + left, s->emptied + left);
}

static bool has_settled(const struct merge *m, const struct merge_part *p)
{
	const struct merge_source *s = &m->sources[p->source];

	return p->now.n_held && may_settle(s) && guard_is_settled(p->now.held_ms, s->contact_ms);
}

static bool may_any_settle(const struct merge *m)
{
	for (unsigned int i = 0; i < LIMIT_REGISTRIES; i++)
		if (may_settle(&m->sources[i]))
			return true;
	return false;
}

void merge_settle(struct merge *m)
{
	struct merge_node *node, *tmp;

	if (!may_any_settle(m))
		return;
	HASH_ITER (hh, m->nodes, node, tmp)
		for (struct merge_part *p = node->parts; p; p = p->next_part)
			if (has_settled(m, p))
				(void)let_go(m, node, p, m->sources[p->source].contact_ms);
	for (unsigned int i = 0; i < LIMIT_REGISTRIES; i++)
		merge_look_around(m, &m->sources[i], m->sources[i].contact_ms);
}

uint64_t merge_next_ms(const struct merge *m)
{
	const struct merge_node *node;
	uint64_t first = 0;

	if (!may_any_settle(m))
		return 0;
	for (node = m->nodes; node; node = node->hh.next)
		for (const struct merge_part *p = node->parts; p; p = p->next_part) {
			uint64_t due = p->now.held_ms + GUARD_SETTLE_MS;

			if (has_settled(m, p) && (!first || due < first))
				first = due;
		}
	return first;
}

/* --- looks -------------------------------------------------------------------------------- */

void merge_count(const struct merge *m, unsigned int source, struct merge_counts *ret)
{
	const struct merge_source *s = &m->sources[source];

	*ret = (struct merge_counts){.services = s->services,
				     .policies = s->policies,
				     .endpoints = s->named,
				     .suspect = s->held,
				     .held_total = s->held_total,
				     .released_total = s->released_total,
				     .refused = s->refused};
}

int merge_visit(const struct merge *m, unsigned int source,
		int (*visit)(void *arg, const struct object *o), void *arg)
{
	int r = 0;

	for (struct merge_node *node = m->nodes; node && r >= 0; node = node->hh.next) {
		const struct merge_part *p = merge_find_part(node, source);
		struct object o = {.kind = node->kind};

		if (!p || (!p->now.believed && !p->now.policy))
			continue;
		o.service = p->now.believed;
		o.policy = p->now.policy;
		r = visit(arg, &o);
	}
	return r < 0 ? r : 0;
}

const struct service *merge_find(const struct merge *m, const char *namespace, const char *name)
{
	const struct merge_node *node = find_node(m, OBJECT_SERVICE, namespace, name);

	return node ? node->merged.service : NULL;
}
