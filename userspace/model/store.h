/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Everything that was declared, by whom, and what a change to it would do. Pure: it neither reads
 * nor writes anything. Desired state lives here; what the kernel holds is read from the kernel.
 *
 *   store_plan(change) -> problems | plan      decide: owners, addresses, pools, policies
 *   kernel applies the plan (another room)
 *   store_commit(plan)                         make it the state; cannot fail
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "model/address.h"
#include "model/codec.h"
#include "model/problem.h"
#include "model/service.h"

struct store;

struct store_config {
	struct prefix pool4; /* 127.128.0.0/9 */
	struct prefix pool6; /* fd73:696e:6577::/64 */
	const struct prefix
		*allowed; /* virtual addresses that manifests may claim; pools are always allowed */
	size_t n_allowed;
};

/* A change that one source asks for. Borrowed until store_plan returns. */
struct change {
	const char *source;
	bool whole; /* objects not named are removed: a source's whole snapshot */
	struct object *upserts;
	size_t n_upserts;
	struct object_name {
		enum object_kind kind;
		const char *namespace, *name;
	} * deletes;
	size_t n_deletes;
	bool ignore_missing; /* deletes of what the source does not have are passed over */
	bool has_if_match;   /* refuse unless the source's generation is this */
	uint64_t if_match;
};

/* What would change: old and new are references (NULL: did not exist, will not exist). */
struct plan_service {
	struct service *old, *new;
};
struct plan_policy {
	struct policy *old, *new;
};
struct plan_registration {
	struct registration *old, *new;
};
struct plan {
	char *source;
	struct plan_service *services;
	size_t n_services;
	struct plan_policy *policies;
	size_t n_policies;
	struct plan_registration *registrations;
	size_t n_registrations;
	size_t n_unchanged;
	uint64_t
		changed_ms; /* CLOCK_REALTIME, for struct source; set by the caller before commit */
	uint64_t serial;    /* of the store that it was made for: another commit makes it void */
};

int store_new(const struct store_config *config, struct store **ret);
struct store *store_free(struct store *s);
DEFINE_CLEANUP(struct store *, store_free);

/*
 * The plan is good until the next commit; it lists changes by namespace and name.
 *
 * Whose address: a service without one (or with "allocated") gets one of each family that its
 * endpoints have, IPv4 if it has none, and keeps it as long as it lives and the pool holds it. Such
 * an address, and one with an any-port service, belongs to that service alone; others may be shared
 * port by port.
 */
/* 0 and a plan; -EINVAL (bad), -EEXIST (another source owns it), -ESTALE (if_match), -ENOENT (a
 * delete of nothing, unless ignore_missing), -E2BIG (a limit), each with problems; -ENOMEM.
 * Allocated addresses are chosen here. */
int store_plan(struct store *s, const struct change *change, struct problems *problems,
	       struct plan *ret);
void plan_done(struct plan *p);
/* How many objects it changes, of any kind. */
size_t plan_size(const struct plan *p);
/* The i-th of them: old and new are borrowed, and of OBJECT_NONE where there is none. */
enum object_kind plan_at(const struct plan *p, size_t i, struct object *ret_old,
			 struct object *ret_new);
/* Moves the plan's new objects into the store; raises the source's generation if anything changed.
 */
void store_commit(struct store *s, struct plan *plan);

struct service *store_find_service(const struct store *s, const char *namespace, const char *name);
struct policy *store_find_policy(const struct store *s, const char *namespace, const char *name);
struct registration *store_find_registration(const struct store *s, const char *namespace,
					     const char *name);
/* The entity tag of an object; 0: there is none of that name. */
uint64_t store_etag(const struct store *s, enum object_kind kind, const char *namespace,
		    const char *name);
/* The service that owns (addr, port or any, proto), and which of its ports; NULL: nobody. */
struct service *store_find_frontend(const struct store *s, const struct sn_frontend *f,
				    size_t *ret_port);

/* Sorted by namespace, name. The array is owned by the store and valid until the next commit. */
struct service *const *store_services(const struct store *s, size_t *ret_n);
struct policy *const *store_policies(const struct store *s, size_t *ret_n);
struct registration *const *store_registrations(const struct store *s, size_t *ret_n);

struct source {
	const char *name;
	uint64_t generation; /* +1 for each commit that changed something; the ETag of the source */
	size_t n_services, n_policies, n_registrations;
	uint64_t changed_ms; /* CLOCK_REALTIME of the last commit that said so; 0: unknown */
};
const struct source *store_sources(const struct store *s, size_t *ret_n);
uint64_t store_generation(const struct store *s, const char *source); /* 0: no such source */
/* At start: state read back from disk keeps its generation. */
int store_set_generation(struct store *s, const char *source, uint64_t generation);
