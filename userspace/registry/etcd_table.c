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

#define BUCKETS 64

struct entry {
	char *key;    /* what follows the prefix, then a NUL, then the zone; owned */
	size_t n;     /* bytes of the key */
	size_t owner; /* of these, the service's name */
	struct sn_addr addr;
	uint16_t port, weight;
	bool usable;
	uint32_t list; /* that had it last */
};

struct row {
	char name[LIMIT_NAME + 1]; /* "": keys that belong to no service */
	uint64_t hash, etag;       /* etag: of what was said; 0: nothing */
	char *owner;               /* the name in etcd that was said; NULL: none */
	struct entry *entries;     /* by key */
	size_t n, room;
	struct row *next, *next_dirty;
	bool dirty;
};

struct etcd_table {
	struct etcd_settings settings;
	struct draft_service *draft;
	struct row **buckets;
	size_t n_buckets, n_rows, n, n_bad;
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

	*at = row->next;
	t->n_rows--;
	free_row(row);
}

static void touch(struct etcd_table *t, struct row *row)
{
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

/* The service's name and how many bytes it has in the key; "" and 0: it belongs to none. */
static size_t name_of(const char *key, size_t n, char ret[static LIMIT_NAME + 1])
{
	const char *slash = memchr(key, '/', n);
	char raw[LIMIT_INSTANCE_ID + 1];
	size_t length = slash ? (size_t)(slash - key) : 0;

	*ret = '\0';
	if (!length || length + 1 == n || n > LIMIT_INSTANCE_ID || memchr(key, '\0', n))
		return 0;
	memcpy(raw, key, length);
	raw[length] = '\0';
	return draft_name(raw, ret) < 0 ? 0 : length;
}

static int compare(const struct entry *e, const char *key, size_t n)
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

static int make_entry(const struct etcd_kv *kv, const char *key, size_t n, struct entry *ret)
{
	struct etcd_endpoint e = {};
	size_t zone;
	int r = etcd_decode_endpoint(kv->value, kv->value_length, &e);

	if (r == -ENOMEM)
		return r;
	zone = strlen(e.zone);
	*ret = (struct entry){.n = n,
			      .addr = e.addr,
			      .port = e.port,
			      .weight = e.weight,
			      .usable = r >= 0,
			      .key = malloc(n + zone + 2)};
	if (!ret->key)
		return -ENOMEM;
	memcpy(ret->key, key, n);
	ret->key[n] = '\0';
	memcpy(ret->key + n + 1, e.zone, zone + 1);
	return 0;
}

static const char *zone_of(const struct entry *e)
{
	return e->key + e->n + 1;
}

static bool is_same(const struct entry *a, const struct entry *b)
{
	return a->usable == b->usable && !memcmp(&a->addr, &b->addr, sizeof(a->addr)) &&
	       a->port == b->port && a->weight == b->weight && !strcmp(zone_of(a), zone_of(b));
}

static int make_room(struct row *row)
{
	size_t room = row->room ? row->room * 2 : 4;
	struct entry *entries;

	if (row->n < row->room)
		return 0;
	entries = realloc(row->entries, room * sizeof(*entries));
	if (!entries)
		return -ENOMEM;
	row->entries = entries;
	row->room = room;
	return 0;
}

static void count_bad(struct etcd_table *t, const struct entry *e)
{
	if (e->usable && e->owner)
		return;
	t->n_bad++;
	(void)snprintf(t->left_out, sizeof(t->left_out), "%s%.80s names no endpoint: expected %s",
		       t->settings.prefix, e->key,
		       e->owner ? "{\"Addr\": \"ADDRESS:PORT\"}" : "SERVICE/KEY below the prefix");
}

/* Takes e. */
static int insert(struct etcd_table *t, struct row *row, struct entry *e)
{
	bool found;
	size_t at = place(row, e->key, e->n, &found);

	e->list = t->list;
	if (!found && (t->n >= LIMIT_FOUND_ENDPOINTS || make_room(row) < 0)) {
		free(e->key);
		return t->n >= LIMIT_FOUND_ENDPOINTS ? -E2BIG : -ENOMEM;
	}
	if (found) {
		struct entry *old = &row->entries[at];

		if (!is_same(old, e))
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

static void forget(struct etcd_table *t, struct entry *e)
{
	t->n_bad -= !e->usable || !e->owner;
	t->n--;
	free(e->key);
}

static void remove_at(struct etcd_table *t, struct row *row, size_t at)
{
	struct entry *e = &row->entries[at];

	forget(t, e);
	row->n--;
	memmove(e, e + 1, (row->n - at) * sizeof(*e));
	touch(t, row);
}

int etcd_table_put(struct etcd_table *t, const struct etcd_kv *kv)
{
	char name[LIMIT_NAME + 1];
	const char *key;
	struct entry e;
	struct row *row;
	size_t n;
	int r;

	if (!strip(t, kv, &key, &n))
		return 0;
	r = make_entry(kv, key, n, &e);
	if (r < 0)
		return r;
	e.owner = name_of(key, n, name);
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
	(void)name_of(key, n, name);
	row = *find_row(t, name, text_hash(name, strlen(name), 0));
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
		for (struct row *row = t->buckets[i]; row; row = row->next)
			sweep(t, row);
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

static bool is_of(const struct entry *e, const char *owner)
{
	return e->usable && strlen(owner) == e->owner && !memcmp(e->key, owner, e->owner);
}

/* Whose endpoints are said; false: nobody's. */
static bool choose_owner(struct row *row)
{
	for (size_t i = 0; row->owner && i < row->n; i++)
		if (is_of(&row->entries[i], row->owner))
			return true;
	free(row->owner);
	row->owner = NULL;
	for (size_t i = 0; i < row->n; i++) {
		const struct entry *e = &row->entries[i];

		if (e->usable) {
			row->owner = strndup(e->key, e->owner);
			return true;
		}
	}
	return false;
}

static int add_entry(struct etcd_table *t, const struct entry *e)
{
	const char *zone = *zone_of(e) ? zone_of(e) : t->settings.zone;
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
		if (is_of(&row->entries[i], row->owner))
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
		drop_row(t, row);
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
