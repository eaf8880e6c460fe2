/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * See fake_kernel.h. After kernel/publish, adopt and window, which call it as they call libbpf and
 * the clock.
 */
#include "fake_kernel.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <assert.h>
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "sinew.skel.h"

#define BATCH 7 /* keys that one lookup hands out at most: more than one turn in every test */

struct bpf_map {
	int fd;
	uint32_t value_size, max_entries;
};

struct fake_kernel fake;
static struct bpf_map arrays[FAKE_ARRAYS], frontends;

static size_t page_round(size_t bytes)
{
	return (bytes + 4095) & ~(size_t)4095;
}

static void array_init(enum fake_array which, uint32_t value_size, uint32_t entries)
{
	size_t bytes = page_round((size_t)value_size * entries);
	int fd = memfd_create("array", MFD_CLOEXEC);

	assert(fd >= 0 && ftruncate(fd, (off_t)bytes) >= 0);
	arrays[which] = (struct bpf_map){fd, value_size, entries};
	fake.bytes[which] = (size_t)value_size * entries;
	fake.array[which] = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	assert(fake.array[which] != MAP_FAILED);
}

void fake_init(const struct fake_size *size)
{
	fake = (struct fake_kernel){.size = *size, .now_ns = 1000000000000};
	array_init(FAKE_SERVICES, sizeof(struct sn_service), size->services);
	array_init(FAKE_SLOTS, sizeof(struct sn_slot), size->slots);
	array_init(FAKE_BACKENDS, sizeof(struct sn_backend), size->backends);
	array_init(FAKE_POLICIES, sizeof(struct sn_policy), 16);
	array_init(FAKE_HEALTH, sizeof(struct sn_health), size->backends);
	array_init(FAKE_LATENCY, sizeof(struct sn_latency), size->backends);
	array_init(FAKE_SVC_STATS, sizeof(struct sn_svc_stats), size->services);
	array_init(FAKE_SVC_STATE, sizeof(struct sn_svc_state), size->services);
	array_init(FAKE_WINDOWS, sizeof(struct sn_window), size->backends);
	frontends = (struct bpf_map){-2, sizeof(uint32_t), size->frontends};
	fake.frontends = calloc(size->frontends, sizeof(*fake.frontends));
	assert(fake.frontends);
}

void fake_done(void)
{
	for (int i = 0; i < FAKE_ARRAYS; i++) {
		(void)munmap(fake.array[i], page_round(fake.bytes[i]));
		(void)close(arrays[i].fd);
	}
	free(fake.frontends);
	fake = (struct fake_kernel){};
}

void fake_open(struct kernel *k)
{
	struct window *windows[] = {&k->services, &k->slots,   &k->backends,  &k->policies,
				    &k->health,   &k->latency, &k->svc_stats, &k->svc_state};

	*k = (struct kernel){.lock_fd = -1,
			     .evict_link_fd = -1,
			     .evict_tcp_fd = -1,
			     .node = "here",
			     .zone = "near",
			     .meta = &fake.meta};
	k->skel = calloc(1, sizeof(*k->skel));
	assert(k->skel);
	k->skel->maps.sn_frontends = &frontends;
	k->skel->maps.sn_windows = &arrays[FAKE_WINDOWS];
	for (int i = 0; i < FAKE_WINDOWS; i++)
		if (window_open(windows[i], arrays[i].fd) < 0)
			abort();
}

void fake_close(struct kernel *k)
{
	window_close(&k->services);
	window_close(&k->slots);
	window_close(&k->backends);
	window_close(&k->policies);
	window_close(&k->health);
	window_close(&k->latency);
	window_close(&k->svc_stats);
	window_close(&k->svc_state);
	free(k->skel);
	k->skel = NULL;
}

/* --- copies ------------------------------------------------------------------------------- */

size_t fake_copy_size(void)
{
	size_t bytes = sizeof(struct fake_copy) + fake.size.frontends * sizeof(*fake.frontends);

	for (int i = 0; i < FAKE_ARRAYS; i++)
		bytes += fake.bytes[i];
	return bytes;
}

void fake_save(struct fake_copy *copy)
{
	char *at = copy->bytes;

	copy->n_frontends = fake.n_frontends;
	copy->serial = fake.meta.serial;
	memcpy(at, fake.frontends, fake.size.frontends * sizeof(*fake.frontends));
	at += fake.size.frontends * sizeof(*fake.frontends);
	for (int i = 0; i < FAKE_ARRAYS; at += fake.bytes[i++])
		memcpy(at, fake.array[i], fake.bytes[i]);
}

void fake_restore(const struct fake_copy *copy)
{
	const char *at = copy->bytes;

	fake.n_frontends = copy->n_frontends;
	fake.meta.serial = copy->serial;
	memcpy(fake.frontends, at, fake.size.frontends * sizeof(*fake.frontends));
	at += fake.size.frontends * sizeof(*fake.frontends);
	for (int i = 0; i < FAKE_ARRAYS; at += fake.bytes[i++])
		memcpy(fake.array[i], at, fake.bytes[i]);
}

/* --- what publishing calls ---------------------------------------------------------------- */

static uint32_t position_of(const struct sn_frontend *key)
{
	uint32_t i;

	for (i = 0; i < fake.n_frontends; i++)
		if (!memcmp(&fake.frontends[i].key, key, sizeof(*key)))
			break;
	return i;
}

uint32_t fake_find(const struct sn_frontend *key)
{
	uint32_t i = position_of(key);

	return i < fake.n_frontends ? fake.frontends[i].value : 0;
}

static void changed(void)
{
	if (fake.on_change)
		fake.on_change(fake.on_change_arg);
}

static int answer(int error)
{
	errno = error ? error : errno;
	return -error;
}

/* As the kernel's hash tables: -E2BIG when full. */
static int update(const struct sn_frontend *key, uint32_t value)
{
	uint32_t i = position_of(key);

	if (fake.fail_updates && !fake.fail_after--) {
		int error = fake.fail_updates;

		fake.fail_updates = 0;
		return error;
	}
	if (i == fake.size.frontends)
		return E2BIG;
	fake.n_frontends += i == fake.n_frontends;
	fake.frontends[i] = (struct fake_frontend){*key, value};
	changed();
	return 0;
}

static int update_windows(const uint32_t *keys, const struct sn_window *values, __u32 n)
{
	for (__u32 i = 0; i < n; i++) {
		assert(keys[i] < fake.size.backends);
		memcpy(fake_window(keys[i]), &values[i], sizeof(values[i]));
	}
	return 0;
}

int bpf_map_update_elem(int fd, const void *key, const void *value, __u64 flags)
{
	assert(fd == arrays[FAKE_WINDOWS].fd);
	return update_windows(key, value, 1);
}

int bpf_map_update_batch(int fd, const void *keys, const void *values, __u32 *count,
			 const struct bpf_map_batch_opts *opts)
{
	const struct sn_frontend *key = keys;
	const uint32_t *value = values;
	__u32 n = *count;

	if (fd == arrays[FAKE_WINDOWS].fd)
		return update_windows(keys, values, n);
	assert(fd == frontends.fd);
	for (*count = 0; *count < n; ++*count) {
		int error = update(&key[*count], value[*count]);

		if (error)
			return answer(error);
	}
	return 0;
}

int bpf_map_delete_elem(int fd, const void *key)
{
	uint32_t i = position_of(key);

	assert(fd == frontends.fd);
	if (i == fake.n_frontends)
		return answer(ENOENT);
	fake.frontends[i] = fake.frontends[--fake.n_frontends];
	changed();
	return 0;
}

int bpf_map_lookup_batch(int fd, void *in_batch, void *out_batch, void *keys, void *values,
			 __u32 *count, const struct bpf_map_batch_opts *opts)
{
	uint32_t from = in_batch ? *(uint32_t *)in_batch : 0, n = 0;

	assert(fd == frontends.fd && *count);
	for (; n < *count && n < BATCH && from + n < fake.n_frontends; n++) {
		((struct sn_frontend *)keys)[n] = fake.frontends[from + n].key;
		((uint32_t *)values)[n] = fake.frontends[from + n].value;
	}
	*count = n;
	*(uint32_t *)out_batch = from + n;
	return from + n == fake.n_frontends ? answer(ENOENT) : 0;
}

int bpf_obj_get_info_by_fd(int fd, void *ret, __u32 *length)
{
	struct bpf_map_info *info = ret;

	for (int i = 0; i < FAKE_ARRAYS; i++)
		if (arrays[i].fd == fd) {
			info->value_size = arrays[i].value_size;
			info->max_entries = arrays[i].max_entries;
			return 0;
		}
	return answer(EBADF);
}

int bpf_map__fd(const struct bpf_map *map)
{
	return map->fd;
}

__u32 bpf_map__max_entries(const struct bpf_map *map)
{
	return map->max_entries;
}

int clock_gettime(clockid_t id, struct timespec *ret)
{
	if (id != CLOCK_MONOTONIC || !fake.now_ns)
		return (int)syscall(SYS_clock_gettime, id, ret);
	*ret = (struct timespec){(time_t)(fake.now_ns / 1000000000),
				 (long)(fake.now_ns % 1000000000)};
	return 0;
}
