/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * An mmap'ed BPF array of which only the part in use is mapped: every mapped page counts as ours,
 * and the arrays are sized for the largest node. The address range is reserved once, so pointers
 * into the window stay valid while it grows.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

struct window {
	char *base;
	size_t stride; /* bytes of one element */
	uint32_t entries;
	size_t mapped;   /* bytes from base that are mapped */
	size_t reserved; /* bytes of address space */
	int fd;          /* of the map; borrowed */
};

int window_open(struct window *w, int fd);
void window_close(struct window *w);
/* Makes elements 0..index reachable. -ERANGE beyond the map. */
int window_need(struct window *w, uint32_t index);
/* Unmaps what lies behind element `index` again. */
void window_trim(struct window *w, uint32_t index);

static inline void *window_at(const struct window *w, uint32_t index)
{
	return w->base + w->stride * index;
}
