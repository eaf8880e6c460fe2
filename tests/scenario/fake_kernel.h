/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The maps that publishing writes, as plain memory that outlives the daemon's side of them, and the
 * few libbpf calls over it. Defined in the test program, they take the place of libbpf's.
 *
 * Array maps are memory files: windows map them as they map BPF arrays, page by page, and what was
 * not asked for is not there. The clock stands still until a test moves it. There is one kernel at
 * a time.
 */
#pragma once

#include <sinew/flow.h>
#include <sinew/health.h>
#include <sinew/meta.h>
#include <sinew/policy.h>
#include <sinew/service.h>
#include <stdint.h>

#include "kernel/kernel.h"

struct fake_size {
	uint32_t frontends, services, slots, backends; /* max_entries */
};

enum fake_array {
	FAKE_SERVICES,
	FAKE_SLOTS,
	FAKE_BACKENDS,
	FAKE_POLICIES,
	FAKE_HEALTH,
	FAKE_LATENCY,
	FAKE_SVC_STATS,
	FAKE_SVC_STATE,
	FAKE_WINDOWS, /* nobody maps these: user space writes them by system calls */
	FAKE_ARRAYS
};

struct fake_frontend {
	struct sn_frontend key;
	uint32_t value;
};

/* Everything that stays when the daemon goes. */
struct fake_kernel {
	struct fake_size size;
	char *array[FAKE_ARRAYS]; /* whole, writable: the programs' view */
	size_t bytes[FAKE_ARRAYS];
	struct fake_frontend *frontends;
	uint32_t n_frontends;
	struct sn_meta meta;
	uint64_t now_ns;
	int fail_updates;             /* errno of the next update; 0: none */
	uint32_t fail_after;          /* keys that it still takes */
	void (*on_change)(void *arg); /* after each key that came or went */
	void *on_change_arg;
};
extern struct fake_kernel fake;

void fake_init(const struct fake_size *size);
void fake_done(void);
/* As kernel_open and kernel_close: what a daemon has of these maps. */
void fake_open(struct kernel *k);
void fake_close(struct kernel *k);

/* A copy of all maps, for fake_restore; the caller frees it. */
struct fake_copy {
	uint32_t n_frontends, serial;
	char bytes[];
};
size_t fake_copy_size(void);
void fake_save(struct fake_copy *copy);
void fake_restore(const struct fake_copy *copy);

static inline struct sn_service *fake_service(uint32_t i)
{
	return (struct sn_service *)fake.array[FAKE_SERVICES] + i;
}
static inline struct sn_slot *fake_slot(uint32_t i)
{
	return (struct sn_slot *)fake.array[FAKE_SLOTS] + i;
}
static inline struct sn_backend *fake_backend(uint32_t i)
{
	return (struct sn_backend *)fake.array[FAKE_BACKENDS] + i;
}
static inline struct sn_health *fake_health(uint32_t i)
{
	return (struct sn_health *)fake.array[FAKE_HEALTH] + i;
}
static inline struct sn_svc_state *fake_state(uint32_t service)
{
	return (struct sn_svc_state *)fake.array[FAKE_SVC_STATE] + service;
}
static inline struct sn_policy *fake_policy(uint32_t i)
{
	return (struct sn_policy *)fake.array[FAKE_POLICIES] + i;
}
static inline struct sn_window *fake_window(uint32_t backend)
{
	return (struct sn_window *)fake.array[FAKE_WINDOWS] + backend;
}
/* The index that a key leads to; 0: none. */
uint32_t fake_find(const struct sn_frontend *key);
