/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Cgroups by their ids: path and identity, remembered. A path takes a question to the helper
 * (kernel/evict.h), so whoever wants one is called back. A cgroup does not change its path, and an
 * id is not used again, so what is known stays right when the cgroup is gone; the bound is what
 * makes it leave.
 */
#pragma once

#include <stddef.h>
#include <uthash.h>

#include "kernel/evict.h"
#include "model/listener.h"

struct cgroups_entry {
	struct cgroup_name name; /* what others see */
	unsigned int refs;       /* it stays at least as long as there are any */
	bool asked;              /* an answer is still to come */
	UT_hash_handle hh;       /* by id; in the order of their last use */
};

struct cgroups {
	struct evict *evict;
	const char *mount;  /* borrowed; its prefix is taken off paths */
	const char *served; /* borrowed: as paths are shown; whoever chose it knows what is below */
	/* A name is known, or known to be none. */
	void (*named)(void *arg, struct cgroups_entry *e);
	void *arg;
	struct cgroups_entry *all;
	uint64_t waiting; /* the id that the helper is asked about; 0: none */
};

/* The entry of that id, with one reference more, for cgroups_unref. e->asked: the name is still to
 * come. NULL: no memory, or all LIMIT_CGROUPS are in use. */
struct cgroups_entry *cgroups_get(struct cgroups *c, uint64_t id);
void cgroups_unref(struct cgroups *c, struct cgroups_entry *e);
/* What is known now of the cgroup with that id, without a reference: good until the loop turns.
 * NULL: nothing yet; it is asked for, so that it is known a moment later. */
const struct cgroup_name *cgroups_look(struct cgroups *c, uint64_t id);
/* An answer to EVICT_CGROUP. */
void cgroups_answer(struct cgroups *c, const struct evict_answer *answer);
/* There will be no more answers. */
void cgroups_lost(struct cgroups *c);
void cgroups_done(struct cgroups *c);
