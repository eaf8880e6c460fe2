/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Programs of other owners that run on our hooks, for people to know of. Only looks.
 */
#pragma once

#include "kernel/kernel.h"

#define OWNER_CGROUPS 4096 /* that are looked at below ours */

struct owner {
	uint32_t program;
	enum kernel_hook hook;
	bool before;      /* runs before ours, so it may hide addresses from us */
	uint32_t cgroups; /* below ours that it is attached to; 0: ours or one above */
	char cgroup[96];  /* the first of these, from ours on */
};

/* Those that run for sockets of our own cgroup; the kernel says in which order. How many, at most
 * max. */
size_t owner_list(const struct kernel *k, struct owner *ret, size_t max);
/* Those attached to cgroups below, at hooks that rewrite addresses: each runs before ours there.
 * Takes a while, and may run on any thread. */
size_t owner_list_below(const char *cgroup, struct owner *ret, size_t max);
