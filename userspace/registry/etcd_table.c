/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * See etcd_table.h. Before: etcd_decode.c. After: etcd.c. A row is one service's name as it can be
 * said; its entries are keys, also those that name no endpoint, so that how many there are can be
 * held against what the server counts. Two names in etcd that become one here are not mixed: the
 * one that was said first has it while it has endpoints.
 */
#include "registry/etcd_table.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/text.h"
#include "registry/etcd_entry.h"

#define BUCKETS 64
#define GONE_MOST 1024 /* rows that are kept for their names alone */

struct row {
	char name[LIMIT_NAME + 1];  /* "": keys that belong to no service */
	uint64_t hash, etag;        /* etag: of what was said; 0: nothing */
	char *owner;                /* the name in etcd that was said; NULL: none */
	struct etcd_entry *entries; /* by key */
	size_t n, room;
	struct row *next, *next_dirty;
	bool dirty, is_gone; /* gone: nothing is here, and that was said */
};

struct etcd_table {
	struct etcd_settings settings;
	struct draft_service *draft;
	struct row **buckets;
	size_t n_buckets, n_rows, n, n_bad, n_gone;
	struct row *dirty, **last_dirty;
	uint32_t list;
	char left_out[160];
};

int etcd_table_new(const struct etcd_settings *settings, struct etcd_table **ret)
{
	struct etcd_table *t = calloc(1, sizeof(*t));

	if (!t)
		return -ENOMEM;
	t->settings = *settings;
	t->last_dirty = &t->dirty;
	t->n_buckets = BUCKETS;
	t->buckets = calloc(BUCKETS, sizeof(struct row *));
	if (!t->buckets || draft_new(&t->draft) < 0) {
		etcd_table_free(t);
		return -ENOMEM;
	}
	*ret = t;
	return 0;
}

static void free_row(struct row *row)
{
	for (size_t i = 0; i < row->n; i++)
		free(row->entries[i].key);
	free(row->entries);
	free(row->owner);
	free(row);
}

struct etcd_table *etcd_table_free(struct etcd_table *t)
{
	if (!t)
		return NULL;
	for (size_t i = 0; t->buckets && i < t->n_buckets; i++) {
		for (struct row *row = t->buckets[i], *next; row; row = next) {
			next = row->next;
			free_row(row);
		}
	}
	free(t->buckets);
	draft_free(t->draft);
	free(t);
	return NULL;
}

/* --- rows ---------------------------------------------------------------------------------------
 */

static struct row **find_row(const struct etcd_table *t, const char *name, uint64_t hash)
{
	struct row **at = &t->buckets[hash & (t->n_buckets - 1)];

	while (*at && ((*at)->hash != hash || strcmp((*at)->name, name) != 0))
		at = &(*at)->next;
	return at;
}

static struct row *row_of(const struct etcd_table *t, const char *name)
{
	return *find_row(t, name, text_hash(name, strlen(name), 0));
}

/* Without memory for more it stays as it is: slower, not wrong. */
static void grow(struct etcd_table *t)
{
	size_t n = t->n_buckets * 2;
	struct row **buckets = calloc(n, sizeof(struct row *));

	if (!buckets)
		return;
	for (size_t i = 0; i < t->n_buckets; i++) {
		for (struct row *row = t->buckets[i], *next; row; row = next) {
			struct row **bucket = &buckets[row->hash & (n - 1)];

			next = row->next;
			row->next = *bucket;
			*bucket = row;
		}
	}
	free(t->buckets);
	t->buckets = buckets;
	t->n_buckets = n;
}

static struct row *get_row(struct etcd_table *t, const char *name)
{
	uint64_t hash = text_hash(name, strlen(name), 0);
	struct row **at = find_row(t, name, hash), *row;

	if (*at)
		return *at;
	row = calloc(1, sizeof(*row));
	if (!row)
		return NULL;
	row->hash = hash;
	(void)snprintf(row->name, sizeof(row->name), "%s", name);
	*at = row;
	if (++t->n_rows > t->n_buckets)
		grow(t);
	return row;
}

static void drop_row(struct etcd_table *t, struct row *row)
{
	struct row **at = find_row(t, row->name, row->hash);

	if (row->is_gone)
		t->n_gone--;
	*at = row->next;
	t->n_rows--;
	free_row(row);
}

static void touch(struct etcd_table *t, struct row *row)
{
	if (row->is_gone)
		t->n_gone--;
	row->is_gone = false;
	if (row->dirty || !*row->name)
		return;
	row->dirty = true;
	row->next_dirty = NULL;
	*t->last_dirty = row;
	t->last_dirty = &row->next_dirty;
}

/* --- keys ---------------------------------------------------------------------------------------
 */

/* What follows the prefix. False: it is not below it. */
static bool strip(const struct etcd_table *t, const struct etcd_kv *kv, const char **ret,
		  size_t *ret_n)
{
	size_t n = strlen(t->settings.prefix);

	if (kv->key_length <= n || memcmp(kv->key, t->settings.prefix, n) != 0)
		return false;
	*ret = kv->key + n;
	*ret_n = kv->key_length - n;
	return true;
}

static int compare(const struct etcd_entry *e, const char *key, size_t n)
{
	int r = memcmp(e->key, key, e->n < n ? e->n : n);

	return r ? r : (e->n > n) - (e->n < n);
}

/* Where it is, or would be. */
static size_t place(const struct row *row, const char *key, size_t n, bool *ret_found)
{
	size_t from = 0, to = row->n;

	*ret_found = false;
	while (from < to) {
		size_t at = from + (to - from) / 2;
		int r = compare(&row->entries[at], key, n);

		*ret_found |= r == 0;
		if (r < 0)
			from = at + 1;
		else
			to = at;
	}
	return from;
}

static int make_room(struct row *row)
{
	size_t room = row->room ? row->room * 2 : 4;
	struct etcd_entry *entries;

	if (row->n < row->room)
		return 0;
	entries = realloc(row->entries, room * sizeof(*entries));
	if (!entries)
		return -ENOMEM;
	row->entries = entries;
	row->room = room;
	return 0;
}

static void count_bad(struct etcd_table *t, const struct etcd_entry *e)
{
	if (e->usable && e->owner)
		return;
	t->n_bad++;
	(void)snprintf(t->left_out, sizeof(t->left_out), "%s%.80s names no endpoint: expected %s",
		       t->settings.prefix, e->key,
		       e->owner ? "{\"Addr\": \"ADDRESS:PORT\"}" : "SERVICE/KEY below the prefix");
}

/* Takes e. */
static int insert(struct etcd_table *t, struct row *row, struct etcd_entry *e)
{
	bool found;
	size_t at = place(row, e->key, e->n, &found);

	e->list = t->list;
	if (!found && (t->n >= LIMIT_FOUND_ENDPOINTS || make_room(row) < 0)) {
		free(e->key);
		return t->n >= LIMIT_FOUND_ENDPOINTS ? -E2BIG : -ENOMEM;
	}
	if (found) {
		struct etcd_entry *old = &row->entries[at];

		if (!etcd_entry_is_same(old, e))
			touch(t, row);
		t->n_bad -= !old->usable || !old->owner;
		free(old->key);
	} else {
		memmove(&row->entries[at + 1], &row->entries[at],
			(row->n - at) * sizeof(*row->entries));
		row->n++;
		t->n++;
		touch(t, row);
	}
	row->entries[at] = *e;
	count_bad(t, e);
	return 0;
}

static void forget(struct etcd_table *t, struct etcd_entry *e)
{
	t->n_bad -= !e->usable || !e->owner;
	t->n--;
	free(e->key);
}

static void remove_at(struct etcd_table *t, struct row *row, size_t at)
{
	struct etcd_entry *e = &row->entries[at];

	forget(t, e);
	row->n--;
	memmove(e, e + 1, (row->n - at) * sizeof(*e));
	touch(t, row);
}

int etcd_table_put(struct etcd_table *t, const struct etcd_kv *kv)
{
	char name[LIMIT_NAME + 1];
	const char *key;
	struct etcd_entry e;
	struct row *row;
	size_t n;
	int r;

	if (!strip(t, kv, &key, &n))
		return 0;
	r = etcd_entry_make(kv, key, n, &e);
	if (r < 0)
		return r;
	e.owner = etcd_entry_name(key, n, name);
	row = get_row(t, name);
	if (!row) {
		free(e.key);
		return -ENOMEM;
	}
	return insert(t, row, &e);
}

void etcd_table_delete(struct etcd_table *t, const struct etcd_kv *kv)
{
	char name[LIMIT_NAME + 1];
	const char *key;
	struct row *row;
	size_t n, at;
	bool found;

	if (!strip(t, kv, &key, &n))
		return;
	(void)etcd_entry_name(key, n, name);
	row = row_of(t, name);
	if (!row)
		return;
	at = place(row, key, n, &found);
	if (found)
		remove_at(t, row, at);
}

void etcd_table_begin(struct etcd_table *t)
{
	t->list++;
}

/* All at once: one by one, a million of which every other one goes would take an hour. */
static void sweep(struct etcd_table *t, struct row *row)
{
	size_t n = 0;

	for (size_t i = 0; i < row->n; i++) {
		if (row->entries[i].list == t->list)
			row->entries[n++] = row->entries[i];
		else
			forget(t, &row->entries[i]);
	}
	if (n < row->n)
		touch(t, row);
	row->n = n;
}

void etcd_table_end(struct etcd_table *t)
{
	for (size_t i = 0; i < t->n_buckets; i++)
		for (struct row *row = t->buckets[i], *next; row; row = next) {
			next = row->next;
			sweep(t, row);
			if (row->is_gone)
				drop_row(t, row);
		}
}

size_t etcd_table_count(const struct etcd_table *t)
{
	return t->n;
}

size_t etcd_table_left_out(const struct etcd_table *t, const char **ret_text)
{
	*ret_text = t->left_out;
	return t->n_bad;
}

/* --- services -----------------------------------------------------------------------------------
 */

/* Whose endpoints are said; false: nobody's. */
static bool choose_owner(struct row *row)
{
	for (size_t i = 0; row->owner && i < row->n; i++)
		if (etcd_entry_is_of(&row->entries[i], row->owner))
			return true;
	for (size_t i = 0; i < row->n; i++) {
		const struct etcd_entry *e = &row->entries[i];

		if (e->usable) {
			free(row->owner);
			row->owner = strndup(e->key, e->owner);
			return true;
		}
	}
	return false;
}

static int add_entry(struct etcd_table *t, const struct etcd_entry *e)
{
	const char *zone = *etcd_entry_zone(e) ? etcd_entry_zone(e) : t->settings.zone;
	const struct draft_endpoint d = {.addr = e->addr,
					 .ports = &e->port,
					 .weight = e->weight,
					 .zone = zone,
					 .instance = e->key};

	return draft_add_endpoint(t->draft, &d) == -ENOMEM ? -ENOMEM : 0;
}

/* 1 and the service; 0: there is none. -ENOMEM. */
static int build(struct etcd_table *t, struct row *row, struct service **ret)
{
	const struct etcd_settings *s = &t->settings;
	int r;

	if (!*row->name || !s->is_selected(s->arg, row->name) || !choose_owner(row))
		return 0;
	if (!row->owner)
		return -ENOMEM;
	r = draft_init(t->draft, s->namespace, row->name, s->tag);
	if (r >= 0)
		r = draft_add_port(t->draft, NULL, SN_PORT_ANY, SN_PROTO_TCP);
	for (size_t i = 0; r >= 0 && i < row->n; i++)
		if (etcd_entry_is_of(&row->entries[i], row->owner))
			r = add_entry(t, &row->entries[i]);
	if (r >= 0)
		r = draft_finish(t->draft, ret);
	return r == -ENOMEM ? r : r >= 0;
}

static struct row *pop_dirty(struct etcd_table *t)
{
	struct row *row = t->dirty;

	t->dirty = row->next_dirty;
	if (!t->dirty)
		t->last_dirty = &t->dirty;
	row->dirty = false;
	return row;
}

/* Of one that was said the name stays for a while, so that it can be looked for. */
static void bury(struct etcd_table *t, struct row *row)
{
	if (!row->owner || t->n_gone >= GONE_MOST) {
		drop_row(t, row);
		return;
	}
	row->is_gone = true;
	t->n_gone++;
}

/* 1: *ret is to be said. */
static int settle(struct etcd_table *t, struct row *row, struct etcd_change *ret)
{
	struct service *service = NULL;
	int r = build(t, row, &service);
	uint64_t before = row->etag;

	if (r < 0)
		return r;
	row->etag = r ? service->etag : 0;
	*ret = (struct etcd_change){.service = service};
	memcpy(ret->name, row->name, sizeof(ret->name));
	if (!r && !row->n)
		bury(t, row);
	if (ret->service && ret->service->etag == before)
		ret->service = service_unref(ret->service);
	else if (r || before)
		return 1;
	return 0;
}

int etcd_table_next(struct etcd_table *t, struct etcd_change *ret)
{
	int r = 0;

	while (!r && t->dirty) {
		struct row *row = pop_dirty(t);

		r = settle(t, row, ret);
		if (r < 0)
			touch(t, row);
	}
	return r;
}

int etcd_table_all(struct etcd_table *t, struct service ***ret, size_t *ret_n)
{
	struct service **services = calloc(t->n_rows + 1, sizeof(struct service *));
	size_t n = 0;
	int r = services ? 0 : -ENOMEM;

	for (size_t i = 0; r >= 0 && i < t->n_buckets; i++) {
		for (struct row *row = t->buckets[i]; row && r >= 0; row = row->next) {
			r = build(t, row, &services[n]);
			row->etag = r > 0 ? services[n]->etag : 0;
			n += r > 0;
		}
	}
	if (r < 0) {
		for (size_t i = 0; i < n; i++)
			service_unref(services[i]);
		free(services);
		return r;
	}
	*ret = services;
	*ret_n = n;
	return 0;
}

const char *etcd_table_owner(const struct etcd_table *t, const char *name)
{
	const struct row *row = row_of(t, name);

	if (!row || !row->owner)
		return NULL;
	for (size_t i = 0; i < row->n; i++)
		if (!etcd_entry_is_below(&row->entries[i], row->owner))
			return NULL;
	return row->owner;
}

/* Whether the row has it, as it is. */
static bool has(const struct etcd_table *t, const struct row *row, const struct etcd_kv *kv)
{
	bool found = false, same;
	struct etcd_entry e;
	const char *key;
	size_t n, at;

	if (!strip(t, kv, &key, &n) || etcd_entry_make(kv, key, n, &e) < 0)
		return false;
	at = place(row, key, n, &found);
	same = found && etcd_entry_is_same(&row->entries[at], &e);
	free(e.key);
	return same;
}

bool etcd_table_is_same(const struct etcd_table *t, const char *name, const struct etcd_kv *kvs,
			size_t n)
{
	const struct row *row = row_of(t, name);

	if (!row || row->dirty || row->n != n)
		return false;
	for (size_t i = 0; i < n; i++)
		if (!has(t, row, &kvs[i]))
			return false;
	return true;
}

void etcd_table_again(struct etcd_table *t, const char *name)
{
	struct row *row = row_of(t, name);

	touch(t, row);
	row->etag = 1; /* of no service, so that it differs */
}
