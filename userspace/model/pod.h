/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The noun Pod: what Kubernetes calls a workload that a cgroup tells only by its uid. Immutable,
 * one block of memory. A registry that knows pods keeps them; registrations are compared with them.
 */
#pragma once

#include <sinew/abi.h>
#include <stdbool.h>
#include <stddef.h>

#include "base/cleanup.h"
#include "model/identity.h"
#include "model/label.h"

/* One that runs, or ran last. */
struct pod_container {
	char id[IDENTITY_CONTAINER + 1];
	char *name;
};

struct pod {
	char uid[IDENTITY_POD + 1]; /* as the kubelet names its cgroup */
	char *namespace, *name;
	struct label *labels;
	size_t n_labels;
	struct pod_container *containers;
	size_t n_containers;
	struct sn_addr addresses[LIMIT_ADDRESSES]; /* the first is the one that it prefers */
	size_t n_addresses;
	bool is_partial; /* it has more labels than are kept: one that is not here may be there */
};

/* A copy of what `draft` describes; the draft stays the caller's. -ENOMEM. */
int pod_new(const struct pod *draft, struct pod **ret);
struct pod *pod_free(struct pod *p);                     /* returns NULL */
struct pod **pod_free_list(struct pod **list, size_t n); /* returns NULL */
DEFINE_CLEANUP(struct pod *, pod_free);

/* Whether it has each of these labels: 1, 0; -EAGAIN: that is not known. */
int pod_has_labels(const struct pod *p, const struct label *wanted, size_t n);
/* Of a list by uid, without doubles: the one with that uid; NULL: there is none. */
const struct pod *pod_find(struct pod *const *list, size_t n, const char *uid);
/* What its container with that id is called; NULL: that is not known (yet). */
const char *pod_find_container(const struct pod *p, const char *id);
