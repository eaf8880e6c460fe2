/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Two of the helper's verbs (evict.h): who listens, by sock_diag in every network namespace, and
 * the path of a cgroup by its id. Both need capabilities that the daemon has given up. Looks only;
 * nothing is changed.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "kernel/evict.h"

#define LOOKOUT_KEPT 1024 /* namespaces that are looked at again and again */

struct lookout {
	int home_fd;      /* the helper's own namespace */
	int listeners_fd; /* sn_listeners */
	int cgroup_fd;    /* any folder of the cgroup mount */
	/* Where somebody listened whom the programs did not see begin: such a one's end is not
	 * seen, either. */
	struct lookout_kept {
		uint64_t inode;
		int fd;
	} kept[LOOKOUT_KEPT];
	size_t n_kept, next;
};

/* All namespaces, or (unless request->streams) the kept ones for as long as a look may take; the
 * next look begins where this one stopped. Sends what it finds to `fd`; *ret is the last answer,
 * for the caller to send. */
void lookout_sweep(struct lookout *l, const struct evict_request *request, int fd,
		   struct evict_answer *ret);
/* ret->path, or ret->r: -ESTALE, there is no such cgroup any more. */
void lookout_cgroup(const struct lookout *l, const struct evict_request *request,
		    struct evict_answer *ret);
/* Is that one of its descriptors? */
bool lookout_uses(const struct lookout *l, int fd);
