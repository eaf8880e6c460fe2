/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Registrations x listeners -> what is to be in which registry, and for each Registration why there
 * is nothing. Pure: what it must know of the world is asked through struct match_world.
 */
#pragma once

#include "model/pod.h"
#include "register/instance.h"
#include "register/listener.h"

enum match_reason {
	MATCH_OK,
	MATCH_QUIET,       /* nothing of the workload listens at the port */
	MATCH_NO_REGISTRY, /* agent.yaml has none of that name */
	MATCH_READ_ONLY,   /* its kind is only read by a node */
	MATCH_NO_ADDRESS,  /* listens at all addresses, and nobody said which to announce */
	MATCH_NO_LABELS,   /* of a container, and nobody knows its labels */
	MATCH_NO_POD,      /* of a pod, and nobody knows that pod, or not yet what is asked of it */
	MATCH_TAKEN,       /* another Registration registers the same already */
	MATCH_FULL,        /* more than LIMIT_INSTANCES */
	_MATCH_REASON_MAX
};
const char *match_reason_name(enum match_reason r); /* "no_address" */
const char *match_reason_text(enum match_reason r); /* for people, with what to do */

struct match_world {
	const char *node;
	const struct sn_addr *address; /* of listeners at all addresses; NULL: none */
	void *arg;
	/* Index of a registry that can be written; -ENOENT: there is none; -EROFS: it is only read.
	 */
	int (*registry)(void *arg, const char *name);
	/* Whether a container has all these labels; -EAGAIN: not known (yet). */
	int (*has_labels)(void *arg, const char *container, const struct label *labels, size_t n);
	/* The pod of that uid, borrowed; NULL: not known (yet). */
	const struct pod *(*pod)(void *arg, const char *uid);
};

struct match_instance {
	struct instance *instance;
	unsigned int registry;
	size_t registration; /* index */
};

struct match {
	struct match_instance *items; /* by registry, then id; each once */
	size_t n, capacity;
	enum match_reason *reasons; /* of each registration; OK: it has an instance */
	size_t n_reasons;
	bool doubt; /* who somebody is that listens was not known: there may be more instances */
};

/* Of two Registrations that mean the same instance the first one (by namespace and name, which is
 * their order) wins. -ENOMEM: *ret is untouched. */
int match_make(struct registration *const *registrations, size_t n,
	       const struct listener_table *listeners, const struct match_world *world,
	       struct match *ret);
void match_done(struct match *m);
/* Whether a Registration by pod means the pod, and that container of it (an id; NULL: none is
 * known): 1, 0; -EAGAIN: not known (yet). */
int match_pod(const struct registration *r, const struct pod *p, const char *container);
