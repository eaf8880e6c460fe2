/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * See kernel.h. Arrays are as large as their definition says, to the byte, so that a sanitizer sees
 * who reads past one; hash tables are searched from one list in order of use, the latest first.
 */
#include "core/kernel.h"

#include <assert.h>
#include <errno.h>
#include <linux/bpf.h>
#include <sinew/event.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#define HASH 4096u

struct entry {
	struct entry *next;          /* of the same hash */
	struct entry *newer, *older; /* by use */
	unsigned char bytes[];       /* key, value */
};

struct core_map {
	struct core_map *next;
	struct core_shape shape;
	unsigned char *array;
	struct entry *hash[HASH];
	struct entry *newest, *oldest;
	size_t n;
};

struct core core;
static struct core_map *all;
static size_t ring_used, events_room;

/* Strong where the stages have them weak, and not constant. */
volatile uint32_t sn_node, sn_flow_mask = 1023;

void core_set_node(uint32_t node)
{
	sn_node = node;
}

void core_set_flow_mask(uint32_t mask)
{
	sn_flow_mask = mask;
}

static bool is_array(const struct core_map *map)
{
	return map->shape.type == BPF_MAP_TYPE_ARRAY ||
	       map->shape.type == BPF_MAP_TYPE_PERCPU_ARRAY;
}

static void array_new(struct core_map *map)
{
	map->array = calloc(map->shape.max_entries, map->shape.value_size);
	assert(map->array);
}

struct core_map *core_map_at(void *at, const struct core_shape *shape)
{
	struct core_map *map;

	memcpy(&map, at, sizeof(map));
	if (map)
		return map;
	map = calloc(1, sizeof(*map));
	assert(map);
	map->shape = *shape;
	if (is_array(map))
		array_new(map);
	map->next = all;
	all = map;
	memcpy(at, &map, sizeof(map));
	return map;
}

/* --- hash tables, of which the least recently used entry goes ------------------------------- */

static size_t value_at(const struct core_map *map)
{
	return (map->shape.key_size + 7) / 8 * 8;
}

static struct entry **bucket_of(struct core_map *map, const void *key)
{
	const unsigned char *bytes = key;
	uint32_t h = 2166136261u;

	for (size_t i = 0; i < map->shape.key_size; i++)
		h = (h ^ bytes[i]) * 16777619u;
	return &map->hash[(h ^ h >> 16) % HASH];
}

static struct entry *find(struct core_map *map, const void *key)
{
	for (struct entry *e = *bucket_of(map, key); e; e = e->next)
		if (!memcmp(e->bytes, key, map->shape.key_size))
			return e;
	return NULL;
}

static void unlist(struct core_map *map, struct entry *e)
{
	if (e->newer)
		e->newer->older = e->older;
	else
		map->newest = e->older;
	if (e->older)
		e->older->newer = e->newer;
	else
		map->oldest = e->newer;
}

static void list_as_newest(struct core_map *map, struct entry *e)
{
	e->newer = NULL;
	e->older = map->newest;
	if (e->older)
		e->older->newer = e;
	else
		map->oldest = e;
	map->newest = e;
}

static void entry_remove(struct core_map *map, struct entry *e)
{
	struct entry **at = bucket_of(map, e->bytes);

	while (*at != e)
		at = &(*at)->next;
	*at = e->next;
	unlist(map, e);
	map->n--;
	free(e);
}

static long entry_add(struct core_map *map, const void *key, const void *value)
{
	struct entry *e, **at = bucket_of(map, key);

	if (map->n >= map->shape.max_entries) {
		if (map->shape.type != BPF_MAP_TYPE_LRU_HASH)
			return -E2BIG;
		entry_remove(map, map->oldest);
	}
	e = calloc(1, sizeof(*e) + value_at(map) + map->shape.value_size);
	assert(e);
	memcpy(e->bytes, key, map->shape.key_size);
	memcpy(e->bytes + value_at(map), value, map->shape.value_size);
	e->next = *at;
	*at = e;
	list_as_newest(map, e);
	map->n++;
	return 0;
}

/* --- the helpers ---------------------------------------------------------------------------- */

void *core_lookup(struct core_map *map, const void *key)
{
	struct entry *e;
	uint32_t index;

	if (is_array(map)) {
		memcpy(&index, key, sizeof(index));
		return index < map->shape.max_entries ? map->array + index * map->shape.value_size
						      : NULL;
	}
	e = find(map, key);
	if (!e)
		return NULL;
	unlist(map, e);
	list_as_newest(map, e);
	return e->bytes + value_at(map);
}

long core_update(struct core_map *map, const void *key, const void *value, uint64_t flags)
{
	void *known = core_lookup(map, key);

	if (!known)
		return is_array(map)        ? -E2BIG
		       : flags == BPF_EXIST ? -ENOENT
					    : entry_add(map, key, value);
	if (flags == BPF_NOEXIST)
		return -EEXIST;
	memcpy(known, value, map->shape.value_size);
	return 0;
}

long core_delete(struct core_map *map, const void *key)
{
	struct entry *e = is_array(map) ? NULL : find(map, key);

	if (!e)
		return is_array(map) ? -EINVAL : -ENOENT;
	entry_remove(map, e);
	return 0;
}

size_t core_count(const struct core_map *map)
{
	return map->n;
}

static void map_empty(struct core_map *map)
{
	while (map->oldest)
		entry_remove(map, map->oldest);
	if (map->array)
		memset(map->array, 0, map->shape.max_entries * map->shape.value_size);
}

void core_resize(struct core_map *map, uint32_t max_entries)
{
	map_empty(map);
	map->shape.max_entries = max_entries;
	if (!is_array(map))
		return;
	free(map->array);
	array_new(map);
}

void *core_storage(struct core_map *map, const void *sk, uint64_t flags)
{
	uint64_t zeros[16] = {0};
	void *known;

	assert(map->shape.value_size <= sizeof(zeros));
	known = core_lookup(map, &sk);
	if (known || !(flags & BPF_SK_STORAGE_GET_F_CREATE))
		return known;
	return entry_add(map, &sk, zeros) ? NULL : core_lookup(map, &sk);
}

/* SplitMix64 (Steele, Lea, Flood, 2014). */
uint32_t core_random(void)
{
	uint64_t z = core.random += 0x9e3779b97f4a7c15ull;

	z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9ull;
	z = (z ^ z >> 27) * 0x94d049bb133111ebull;
	return (uint32_t)(z ^ z >> 31);
}

/* --- events --------------------------------------------------------------------------------- */

void *core_reserve(size_t size)
{
	if (ring_used + size > core.ring_bytes)
		return NULL;
	ring_used += size;
	/* not zeroed: the kernel's is not either */
	return memset(malloc(size), 0xa5, size);
}

void core_submit(void *record)
{
	if (core.n_events == events_room) {
		events_room = events_room ? events_room * 2 : 64;
		core.events = realloc(core.events, events_room * sizeof(*core.events));
		assert(core.events);
	}
	core.events[core.n_events++] = record;
}

void core_forget_events(void)
{
	for (size_t i = 0; i < core.n_events; i++)
		free(core.events[i]);
	core.n_events = 0;
	ring_used = 0;
}

void core_reset(uint64_t seed)
{
	for (struct core_map *map = all; map; map = map->next)
		map_empty(map);
	core_forget_events();
	core.now = 3600ull * 1000000000;
	core.random = seed;
	core.cgroup_id = 1;
	core.ring_bytes = 1u << 20;
	sn_node = 0;
}

/* The handles in the definitions stay: nothing may be looked up afterwards. */
void core_end(void)
{
	core_forget_events();
	free(core.events);
	while (all) {
		struct core_map *map = all;

		all = map->next;
		map_empty(map);
		free(map->array);
		free(map);
	}
}
