/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What several registries say, as one: a service of the same namespace and name is one service. Its
 * ports, addresses, policy and labels are those of the registry with the highest precedence that
 * has it; its endpoints are those of all, each tagged with its registry; the same address and ports
 * twice belong to the first that still names them. Behind the guard (guard.h). Pure: clocks are
 * arguments.
 */
#pragma once

#include "model/limits.h"
#include "model/store.h"
#include "registry/registry.h"

struct merge;

struct merge_settings {
	unsigned int hold_percent; /* of a service's endpoints of one registry; default 50 */
	uint64_t hold_window_ms;   /* default 5,000 */
};

int merge_new(const struct merge_settings *settings, struct merge **ret);
struct merge *merge_free(struct merge *m); /* NULL is fine; returns NULL */
DEFINE_CLEANUP(struct merge *, merge_free);

/* `source`: its number (< LIMIT_REGISTRIES), its precedence unless merge_set_order() said another;
 * `tag` is copied. Objects are taken over. now_ms: CLOCK_MONOTONIC. -ENOMEM leaves
 * what was. */
struct merge_objects {
	struct object *items;
	size_t n;
};
int merge_snapshot(struct merge *m, unsigned int source, const char *tag,
		   struct merge_objects objects, uint64_t now_ms);
int merge_upsert(struct merge *m, unsigned int source, const char *tag, struct object *object,
		 uint64_t now_ms);
int merge_remove(struct merge *m, unsigned int source, const struct object_name *name,
		 uint64_t now_ms);
/* The registry answered, changed or not: what it took back and said once may settle (guard.h). Its
 * words do that, too. */
void merge_contact(struct merge *m, unsigned int source, uint64_t now_ms);
/* The registry does not answer, or without sense; or does again. It may have lost its data then:
 * what it takes back is doubted for longer (guard.h). */
void merge_set_away(struct merge *m, unsigned int source, bool away, uint64_t now_ms);
/* What becomes of a stale registry's endpoints: STALE_KEEP takes earlier words back; STALE_DRAIN:
 * weight 0; STALE_FAIL: as if it had none. */
int merge_set_stale(struct merge *m, unsigned int source, enum registry_on_stale how);
/* order[0] goes before order[1], ...: n different sources, and after them those that are not named.
 * What changes by that is told with the next take. */
void merge_set_order(struct merge *m, const unsigned int *order, size_t n);
/* The source is none any more: all that it said goes, unguarded, since a person took it away. Its
 * number may be another's then. */
void merge_forget(struct merge *m, unsigned int source);
/* An operator believes it: whatever is held of this source (NULL name: of all its services) goes.
 * Number let go. */
size_t merge_confirm(struct merge *m, unsigned int source, const char *namespace, const char *name);

/* Services of this source of which another word could confirm now that endpoints are gone, and that
 * are to be asked about (guard.h): how many, and the one that waits longest ("": none). */
struct merge_doubt {
	size_t n;
	char namespace[LIMIT_NAME + 1], name[LIMIT_NAME + 1];
};
void merge_doubt(struct merge *m, unsigned int source, uint64_t now_ms, struct merge_doubt *ret);
/* It is being asked; NULL name: about all of them. */
void merge_asked(struct merge *m, unsigned int source, const char *namespace, const char *name,
		 uint64_t now_ms);

/* What changed since the last take, as a change of the control API: new objects (owned by the
 * caller) and names of those that are gone. Also lets go what the guard has held until now.
 * *ret_urgent: an endpoint or a service went away, so do not wait for more. 0, -ENOMEM. */
struct merge_change {
	struct object *upserts;
	size_t n_upserts;
	struct object_name *deletes; /* texts owned */
	size_t n_deletes;
	bool urgent;
};
bool merge_has_change(const struct merge *m, bool *ret_urgent);
int merge_take(struct merge *m, uint64_t now_ms, struct merge_change *ret);
/* The same, with everything there is; deletes are those since the last take, as above. */
int merge_take_all(struct merge *m, uint64_t now_ms, struct merge_change *ret);
void merge_change_done(struct merge_change *c);
/* When merge_take() should be called again though nobody says anything; 0: never. */
uint64_t merge_next_ms(const struct merge *m);

struct merge_counts {
	size_t services, policies, endpoints,
		suspect; /* endpoints: without those that are suspect */
	uint64_t held_total, released_total, refused; /* refused: over a limit */
};
void merge_count(const struct merge *m, unsigned int source, struct merge_counts *ret);
/* Objects of one source as they are believed, for its last-good file: what is held is in there as
 * suspect, and is held again when it is read. Borrowed until the next call. */
int merge_visit(const struct merge *m, unsigned int source,
		int (*visit)(void *arg, const struct object *o), void *arg);
/* A merged service by name, as last taken, for DNS; NULL: none. Borrowed until the next take. */
const struct service *merge_find(const struct merge *m, const char *namespace, const char *name);
