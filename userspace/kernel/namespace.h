/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The host's network namespaces, one after the other: those of processes, and those with a name.
 * Needs CAP_SYS_ADMIN, so only the helper (evict.h) walks; its thread ends where it began.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#define NAMESPACE_MAX 4096 /* visited in one walk */

struct namespace_walk {
	/* Called inside, once for each; fd is of the namespace, borrowed. < 0: it failed there. */
	int (*visit)(void *arg, uint64_t inode, int fd);
	void *arg;
	uint64_t seen[NAMESPACE_MAX];
	size_t n;
	uint32_t visited, failed;
	int r; /* of the first that failed */
};

/* visit and arg are set; the rest is filled in. */
void namespace_walk(struct namespace_walk *w, int home_fd);
