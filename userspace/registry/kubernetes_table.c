/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Objects of one kind by namespace and name: a hash table that doubles. It must never decide
 * anything; what rows mean is for the join.
 */
#include "registry/kubernetes_table.h"

#include <stdio.h>
#include <string.h>

#include "base/text.h"
#include "model/limits.h"

#define KEY (LIMIT_NAME + 1 + KUBERNETES_NAME + 1)
#define BUCKETS 64

static uint64_t make_key(const char *namespace, const char *name, char ret[static KEY])
{
	int n = snprintf(ret, KEY, "%s/%s", namespace, name);

	return text_hash(ret, (size_t)n < KEY ? (size_t)n : KEY - 1, 0);
}

static struct kubernetes_row *find(const struct kubernetes_table *t, uint64_t hash, const char *key)
{
	struct kubernetes_row *row = t->n_buckets ? t->buckets[hash & (t->n_buckets - 1)] : NULL;

	while (row && (row->hash != hash || strcmp(row->key, key)))
		row = row->next;
	return row;
}

struct kubernetes_row *kubernetes_table_find(const struct kubernetes_table *t,
					     const char *namespace, const char *name)
{
	char key[KEY];
	uint64_t hash = make_key(namespace, name, key);

	return find(t, hash, key);
}

static void insert(struct kubernetes_table *t, struct kubernetes_row *row)
{
	struct kubernetes_row **bucket = &t->buckets[row->hash & (t->n_buckets - 1)];

	row->next = *bucket;
	*bucket = row;
}

/* Without memory for more it stays as it is: slower, not wrong. */
static bool grow(struct kubernetes_table *t)
{
	struct kubernetes_table old = *t;
	size_t n = old.n_buckets ? old.n_buckets * 2 : BUCKETS;
	struct kubernetes_row **buckets = calloc(n, sizeof(struct kubernetes_row *));

	if (!buckets)
		return old.n_buckets != 0;
	t->buckets = buckets;
	t->n_buckets = n;
	for (size_t i = 0; i < old.n_buckets; i++) {
		for (struct kubernetes_row *row = old.buckets[i], *next; row; row = next) {
			next = row->next;
			insert(t, row);
		}
	}
	free(old.buckets);
	return true;
}

struct kubernetes_row *kubernetes_table_get(struct kubernetes_table *t, const char *namespace,
					    const char *name)
{
	char key[KEY];
	uint64_t hash = make_key(namespace, name, key);
	struct kubernetes_row *row = find(t, hash, key);

	if (row)
		return row;
	if (t->n >= t->n_buckets && !grow(t))
		return NULL;
	row = calloc(1, sizeof(*row));
	if (!row)
		return NULL;
	row->hash = hash;
	row->key = strdup(key);
	if (!row->key) {
		free(row);
		return NULL;
	}
	insert(t, row);
	t->n++;
	return row;
}

void kubernetes_row_bury(struct kubernetes_row *row, uint64_t now_ms)
{
	struct kubernetes_ghost **at = &row->ghosts, *ghost;

	while ((ghost = *at)) {
		if (ghost->until_ms > now_ms) {
			at = &ghost->next;
			continue;
		}
		*at = ghost->next;
		kubernetes_object_free(ghost->object);
		free(ghost);
	}
}

static void free_row(struct kubernetes_row *row)
{
	kubernetes_row_bury(row, UINT64_MAX);
	kubernetes_object_free(row->object);
	free(row->key);
	free(row);
}

void kubernetes_table_drop(struct kubernetes_table *t, struct kubernetes_row *row)
{
	struct kubernetes_row **at = &t->buckets[row->hash & (t->n_buckets - 1)];

	while (*at != row)
		at = &(*at)->next;
	*at = row->next;
	t->n--;
	free_row(row);
}

void kubernetes_table_done(struct kubernetes_table *t)
{
	for (size_t i = 0; i < t->n_buckets; i++) {
		for (struct kubernetes_row *row = t->buckets[i], *next; row; row = next) {
			next = row->next;
			free_row(row);
		}
	}
	free(t->buckets);
	*t = (struct kubernetes_table){};
}

struct kubernetes_row *kubernetes_table_next(const struct kubernetes_table *t,
					     const struct kubernetes_row *row)
{
	size_t i = 0;

	if (row && row->next)
		return row->next;
	if (row)
		i = (row->hash & (t->n_buckets - 1)) + 1;
	while (i < t->n_buckets && !t->buckets[i])
		i++;
	return i < t->n_buckets ? t->buckets[i] : NULL;
}
