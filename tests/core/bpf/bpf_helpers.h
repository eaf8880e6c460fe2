/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Stands in for libbpf's header of this name when the stages are compiled for user space: the same
 * macros and helpers, over core/kernel.h. Found before it on the include path.
 */
#pragma once

#include <linux/types.h>

#include "core/kernel.h"

#ifdef __GNUC__
#pragma GCC diagnostic ignored "-Wunknown-pragmas" /* how clang shall unroll */
#endif

#define SEC(name)
#define __uint(name, value) int(*name)[value]
#define __type(name, value) __typeof__(value) *name
#undef __always_inline
#define __always_inline inline __attribute__((always_inline))
#define __noinline __attribute__((noinline))
#define __weak __attribute__((weak))

/* A map is told by its address; its definition says the rest. */
#define core_of(map)                                                                               \
	core_map_at(&(map)->type,                                                                  \
		    &(const struct core_shape){sizeof(*(map)->type) / sizeof(int),                 \
					       sizeof(*(map)->max_entries) / sizeof(int),          \
					       sizeof(*(map)->key), sizeof(*(map)->value)})
#define core_of_storage(map)                                                                       \
	core_map_at(&(map)->type,                                                                  \
		    &(const struct core_shape){sizeof(*(map)->type) / sizeof(int), 16,             \
					       sizeof(void *), sizeof(*(map)->value)})

#define bpf_map_lookup_elem(map, key) core_lookup(core_of(map), key)
#define bpf_map_update_elem(map, key, value, flags) core_update(core_of(map), key, value, flags)
#define bpf_map_delete_elem(map, key) core_delete(core_of(map), key)
#define bpf_sk_storage_get(map, sk, value, flags) core_storage(core_of_storage(map), sk, flags)

#define bpf_ktime_get_ns() ((__u64)core.now)
#define bpf_ktime_get_coarse_ns() ((__u64)core.now)
#define bpf_get_prandom_u32() core_random()
#define bpf_get_current_cgroup_id() ((__u64)core.cgroup_id)
#define bpf_get_current_ancestor_cgroup_id(level) ((__u64)core.cgroup_id + (__u64)(level)*0)

#define bpf_ringbuf_reserve(ring, size, flags) core_reserve(size)
#define bpf_ringbuf_submit(record, flags) core_submit(record)

#define bpf_loop(n, step, context, flags)                                                          \
	({                                                                                         \
		long i_ = 0;                                                                       \
		while (i_ < (long)(n) && !step((__u32)i_++, context))                              \
			;                                                                          \
		i_;                                                                                \
	})
