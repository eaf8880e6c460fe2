/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * See window.h. After object.c has loaded the maps; before publish.c writes and read.c reads them.
 * Must never map more than was asked for.
 */
#include "kernel/window.h"

#include <bpf/bpf.h>
#include <errno.h>
#include <linux/bpf.h>
#include <string.h>
#include <sys/mman.h>

#define WINDOW_STEP (64u << 10)

int window_open(struct window *w, int fd)
{
	struct bpf_map_info info = {};
	__u32 length = sizeof(info);
	size_t bytes;
	void *base;

	if (bpf_obj_get_info_by_fd(fd, &info, &length) < 0)
		return -errno;
	bytes = ((size_t)info.value_size * info.max_entries + 4095) & ~(size_t)4095;
	base = mmap(NULL, bytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (base == MAP_FAILED)
		return -errno;
	*w = (struct window){.base = base,
			     .stride = info.value_size,
			     .entries = info.max_entries,
			     .reserved = bytes,
			     .fd = fd};
	return 0;
}

void window_close(struct window *w)
{
	if (w->base)
		(void)munmap(w->base, w->reserved);
	*w = (struct window){.fd = -1};
}

int window_need(struct window *w, uint32_t index)
{
	size_t end = w->stride * ((size_t)index + 1);
	void *p;

	if (end <= w->mapped)
		return 0;
	if (index >= w->entries)
		return -ERANGE;
	end = (end + WINDOW_STEP - 1) / WINDOW_STEP * WINDOW_STEP;
	if (end > w->reserved)
		end = w->reserved;
	p = mmap(w->base + w->mapped, end - w->mapped, PROT_READ | PROT_WRITE,
		 MAP_SHARED | MAP_FIXED, w->fd, (off_t)w->mapped);
	if (p == MAP_FAILED)
		return -errno;
	w->mapped = end;
	return 0;
}

void window_trim(struct window *w, uint32_t index)
{
	size_t end =
		(w->stride * ((size_t)index + 1) + WINDOW_STEP - 1) / WINDOW_STEP * WINDOW_STEP;
	void *p;

	if (end >= w->mapped)
		return;
	p = mmap(w->base + end, w->mapped - end, PROT_NONE,
		 MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED, -1, 0);
	if (p != MAP_FAILED)
		w->mapped = end;
}
