/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * See consul_words.h. Before: consul_decode.c. After: consul.c compares what all keys say with what
 * they said before. It must never let one bad key cost another its word.
 */
#include "registry/consul_words.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "manifest/manifest.h"
#include "model/limits.h"
#include "registry/consul_book.h"

static void word_done(struct consul_word *word)
{
	(void)object_free_list(word->objects, word->n);
	free(word->key);
}

static void free_words(struct consul_word *items, size_t n)
{
	for (size_t i = 0; i < n; i++)
		word_done(&items[i]);
	free(items);
}

void consul_words_done(struct consul_words *w)
{
	free_words(w->items, w->n);
	*w = (struct consul_words){};
}

/* --- one key ---------------------------------------------------------------------------------- */

/* A manifest's object as one of this registry's. */
static int relabel(const struct object *o, const char *tag, struct object *ret)
{
	*ret = (struct object){.kind = o->kind};
	if (o->kind == OBJECT_SERVICE) {
		struct service copy = *o->service;

		copy.source = (char *)tag;
		return service_new(&copy, &ret->service);
	}
	if (o->kind == OBJECT_POLICY) {
		struct policy copy = *o->policy;

		copy.source = (char *)tag;
		return policy_new(&copy, &ret->policy);
	}
	return 0;
}

static int take_objects(struct consul_word *word, const char *tag, const struct manifest *m)
{
	struct object *objects = calloc(m->n + 1, sizeof(*objects));
	size_t n = 0;
	int r = objects ? 0 : -ENOMEM;

	for (size_t i = 0; r >= 0 && i < m->n; i++) {
		r = relabel(&m->objects[i], tag, &objects[n]);
		n += r >= 0 && objects[n].kind != OBJECT_NONE;
	}
	if (r < 0) {
		(void)object_free_list(objects, n);
		return r;
	}
	(void)object_free_list(word->objects, word->n);
	word->objects = objects;
	word->n = n;
	return 0;
}

static int read_key(struct consul_words *w, struct consul_word *word, const char *tag,
		    const struct consul_key *key)
{
	struct manifest m = {};
	int r = manifest_parse(key->key, key->value, key->length, &m);

	word->modified = key->modified;
	word->is_bad = r == -E2BIG || (r >= 0 && m.n_errors);
	if (r == -E2BIG)
		(void)snprintf(w->why, sizeof(w->why), "key %.80s is too large", key->key);
	else if (r >= 0 && m.n_errors)
		(void)snprintf(w->why, sizeof(w->why), "key %.60s:%zu:%zu: %.70s", key->key,
			       m.errors[0].line, m.errors[0].column, m.errors[0].message);
	else if (r >= 0)
		r = take_objects(word, tag, &m);
	if (r != -E2BIG)
		manifest_done(&m);
	return r == -E2BIG ? 0 : r;
}

/* --- all keys --------------------------------------------------------------------------------- */

/* A copy of what a key said before; empty when it was not there. */
static int copy_word(const struct consul_word *old, const char *key, struct consul_word *ret)
{
	size_t n = old ? old->n : 0;

	*ret = (struct consul_word){.key = strdup(key),
				    .objects = calloc(n + 1, sizeof(*ret->objects))};
	if (!ret->key || !ret->objects) {
		word_done(ret);
		return -ENOMEM;
	}
	for (size_t i = 0; i < n; i++)
		ret->objects[ret->n++] = consul_book_share(&old->objects[i]);
	if (old) {
		ret->modified = old->modified;
		ret->is_bad = old->is_bad;
	}
	return 0;
}

static const struct consul_word *find(const struct consul_words *w, const char *key, size_t *at)
{
	while (*at < w->n && strcmp(w->items[*at].key, key) < 0)
		++*at;
	return *at < w->n && !strcmp(w->items[*at].key, key) ? &w->items[*at] : NULL;
}

int consul_words_apply(struct consul_words *w, const char *tag, const struct consul_keys *keys)
{
	struct consul_words next = {.items = calloc(keys->n + 1, sizeof(*next.items))};
	size_t at = 0;

	if (!next.items)
		return -ENOMEM;
	for (size_t i = 0; i < keys->n; i++) {
		const struct consul_key *key = &keys->items[i];
		const struct consul_word *old = find(w, key->key, &at);
		struct consul_word *word = &next.items[next.n];
		int r = copy_word(old, key->key, word);

		if (r >= 0) {
			next.n++;
			if (!old || old->modified != key->modified)
				r = read_key(&next, word, tag, key);
		}
		if (r < 0) {
			consul_words_done(&next);
			return r;
		}
		next.bad += word->is_bad;
	}
	free_words(w->items, w->n);
	*w = next;
	return 0;
}

/* --- what they say together ------------------------------------------------------------------- */

int consul_words_compare(const struct object *a, const struct object *b)
{
	struct consul_title x = consul_book_title(a), y = consul_book_title(b);
	int r = (int)x.kind - (int)y.kind;

	if (!r)
		r = strcmp(x.namespace, y.namespace);
	return r ? r : strcmp(x.name, y.name);
}

struct place {
	const struct object *object;
	size_t word;
};

static int compare_places(const void *x, const void *y)
{
	const struct place *a = x, *b = y;
	int r = consul_words_compare(a->object, b->object);

	return r ? r : (a->word > b->word) - (a->word < b->word);
}

static size_t count(const struct consul_words *w)
{
	size_t n = 0;

	for (size_t i = 0; i < w->n; i++)
		n += w->items[i].n;
	return n;
}

int consul_words_gather(const struct consul_words *w, struct object **ret, size_t *ret_n,
			char why[static CONSUL_WHY])
{
	size_t total = count(w), n = 0, k = 0;
	_cleanup_free_ struct place *places = calloc(total + 1, sizeof(*places));
	struct object *objects;

	if (total > LIMIT_MERGED)
		return -E2BIG;
	objects = calloc(total + 1, sizeof(*objects));
	if (!places || !objects) {
		free(objects);
		return -ENOMEM;
	}
	*why = '\0';
	for (size_t i = 0; i < w->n; i++)
		for (size_t j = 0; j < w->items[i].n; j++)
			places[k++] = (struct place){&w->items[i].objects[j], i};
	qsort(places, total, sizeof(*places), compare_places);
	for (size_t i = 0; i < total; i++) {
		if (i && !consul_words_compare(places[i - 1].object, places[i].object))
			(void)snprintf(why, CONSUL_WHY, "key %.60s: %.60s is in another already",
				       w->items[places[i].word].key,
				       consul_book_title(places[i].object).name);
		else
			objects[n++] = consul_book_share(places[i].object);
	}
	*ret = objects;
	*ret_n = n;
	return 0;
}
