/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A kernel for the decision core in user space: maps, a clock, chance and a ring of events, all the
 * test's to set. Below bpf/bpf_helpers.h, through which the stages of bpf/stage/ see it. One thread
 * only; what many CPUs do is tested in the kernel.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

struct sn_event;

/* What the test sets and looks at. */
struct core {
	uint64_t now;       /* both clocks */
	uint64_t random;    /* seed, and state of what the stages draw */
	uint64_t cgroup_id; /* of the caller */
	size_t ring_bytes;  /* room for records that nobody has read; 0: none */
	struct sn_event **events;
	size_t n_events;
};
extern struct core core;

/* The shape that a map's definition gives. */
struct core_shape {
	uint32_t type, max_entries;
	size_t key_size, value_size;
};
struct core_map;

/* The map whose handle is at `at`, a pointer in the map's definition that nobody else uses. */
struct core_map *core_map_at(void *at, const struct core_shape *shape);
void *core_lookup(struct core_map *map, const void *key);
long core_update(struct core_map *map, const void *key, const void *value, uint64_t flags);
long core_delete(struct core_map *map, const void *key);
size_t core_count(const struct core_map *map);
/* Entries that it has instead of what its definition says, which is emptied. */
void core_resize(struct core_map *map, uint32_t max_entries);
/* Socket storage: one socket, whose address is the key. */
void *core_storage(struct core_map *map, const void *sk, uint64_t flags);

uint32_t core_random(void);
void *core_reserve(size_t size);
void core_submit(void *record);
void core_forget_events(void);

/* Settings of bpf/knobs.bpf.h; each is what the stages read. */
void core_set_node(uint32_t node);
void core_set_flow_mask(uint32_t mask);

/* Empties every map, forgets the events; the clock begins at an hour. */
void core_reset(uint64_t seed);
/* Gives everything back, so that a leak is one. */
void core_end(void);
