/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What publish.c, adopt.c and read.c share: one entry per (address, port, protocol) that the kernel
 * serves. For this room only.
 */
#pragma once

#include <uthash.h>

#include "kernel/index.h"
#include "kernel/publish.h"

/* A level that is none: too far away for a policy that does not let connections spill. */
#define LEVEL_ASIDE SN_LEVELS

struct member {
	uint32_t backend;  /* index in sn_backends */
	uint32_t endpoint; /* index in owner->endpoints, or in those of the fallback */
	uint16_t via;      /* 0: the owner's own; else of its fallback entry->via[via - 1] */
	uint8_t level;     /* of preference */
};

struct entry {
	struct sn_frontend key;
	uint32_t index; /* in sn_services */
	struct service
		*owner; /* reference; NULL: read from the kernel, nobody has claimed it yet */
	uint32_t port;  /* index in owner->ports */
	uint32_t n_members;
	struct member *members;
	struct service **via; /* references: fallback services that lend their backends */
	uint32_t n_via;
	uint32_t *former; /* backends that left but whose counters are still in the kernel */
	uint32_t n_former;
	int32_t miscount;     /* of ejected members, when last looked at */
	struct traffic *past; /* counters of backends whose index was given on; NULL: none */
	UT_hash_handle hh;
};

static inline bool member_is_own(const struct member *m, size_t endpoint)
{
	return !m->via && m->endpoint == endpoint;
}

/* rules.c: sn_policies. */
struct rules {
	struct index_pool pool;
	uint32_t *users;         /* [pool.max]: entries that lead there */
	struct sn_policy *known; /* [pool.max]: what is there, of those that have users */
	uint32_t last;           /* found last */
	uint32_t ours;           /* the built-in default; always in use */
};

struct publish {
	struct kernel *k;
	int frontends_fd, windows_fd;
	struct entry *entries;   /* by key */
	struct entry **by_index; /* [k->services.entries] */
	struct index_pool services, backends, slots;
	struct rules rules;
	struct service *canary; /* canary.h; NULL: not there now */
	bool terminates;        /* the last change left connections that their policy ends */
	const char *wanting;    /* the map in which room was looked for last */
	size_t draining_moves;  /* backends that datagram sockets must leave, since last asked */
};

/* One frontend as it should become. */
struct draft {
	struct entry *entry;
	bool is_new;
	struct service *service;     /* borrowed */
	const struct policy *policy; /* the same; NULL: the built-in default */
	uint32_t port;
	uint32_t n; /* members, draining ones included */
	uint32_t n_active;
	struct draft_member {
		struct sn_backend want;
		uint32_t backend; /* 0 until given */
		uint32_t endpoint;
		uint16_t via;
		uint8_t level;
		bool is_suspect; /* picked after all who are not */
		bool is_new;
	} * members;
	struct service **via; /* references */
	uint32_t n_via;
	uint32_t rules;        /* index in sn_policies; 0 until taken */
	bool needs_set;        /* the set differs from what the kernel has */
	uint32_t first;        /* extent in sn_slots, header included */
	uint32_t n_slots;      /* its length */
	struct sn_slot *slots; /* header and members as they will be written */
};

static inline const struct sn_policy *draft_rules(const struct draft *d)
{
	return d->policy ? &d->policy->rules : policy_default_rules();
}

/* Elements of sn_slots that a set takes; a header that is no set's claims too many, not few. */
static inline uint32_t set_elements(const struct sn_set *set)
{
	uint64_t n = SN_SET_HEADER;

	for (int i = 0; i < SN_LEVELS; i++)
		n += set->count[i];
	return n < UINT32_MAX ? (uint32_t)n : UINT32_MAX;
}

/* declared.c: what is declared once the plan is applied. Either may be NULL. */
struct declared {
	const struct store *store;
	const struct plan *plan;
};
/* NULL: nobody declares that; of a policy, the built-in default is meant then. */
struct service *declared_service(const struct declared *d, const char *namespace, const char *name);
const struct policy *declared_policy(const struct declared *d, const struct service *s);
/* Visits services that the plan does not name, but whose policy or fallback it changes. */
int declared_each_touched(const struct declared *d, int (*visit)(void *arg, struct service *s),
			  void *arg);

struct drafts {
	const struct declared *declared;
	struct draft *items;
	size_t n, allocated;
};

/* draft.c. The entry is found, or made and not yet in any table. */
int draft_service(struct publish *p, struct service *s, struct drafts *drafts);
/* What identifies a backend within its service: address and port. */
bool draft_is_same_backend(const struct sn_backend *a, const struct sn_backend *b);
uint32_t draft_hash_backend(const struct sn_backend *b);
/* draft_member.c: fills d->members and d->via, and counts. */
int draft_members(const struct publish *p, struct draft *d, const struct declared *declared);
/* Which port of a fallback service stands in for that one: of the same name, of the same number, or
 * its only one of the protocol; -1: none. */
int draft_fallback_port(const struct service *s, const struct service_port *like);
/* draft_set.c: builds d->slots from the members, which have their indexes; says whether the
 * kernel's differ. */
int draft_build_set(struct publish *p, struct draft *d);
void drafts_done(struct drafts *drafts);
struct entry *entry_free(struct entry *e);
struct entry *entry_find(const struct publish *p, const struct sn_frontend *key);
void entry_insert(struct publish *p, struct entry *e);
/* Visits the frontends of a service: callback(arg, key, port index); stops at < 0. */
int entry_each_key(const struct service *s,
		   int (*visit)(void *arg, const struct sn_frontend *key, uint32_t port),
		   void *arg);

/* rules.c. Take: the index of such rules, which has one user more; -ENOSPC, -EBUSY. Untake: what
 * was taken and not shown to the kernel. Write: before the first service leads there. */
int rules_init(struct publish *p);
void rules_done(struct publish *p);
int rules_take(struct publish *p, const struct sn_policy *want, uint64_t now_ns, uint32_t *ret);
void rules_untake(struct publish *p, uint32_t index);
void rules_give(struct publish *p, uint32_t index, uint64_t now_ns);
void rules_write(struct publish *p, uint32_t index);
/* onRemove: terminate? */
bool rules_terminate(const struct publish *p, const struct entry *e);
/* After the services are read: what they lead to is in use, and the default is there. */
int rules_adopt(struct publish *p);

/* adopt.c: fills p from the kernel's maps. */
int adopt_read(struct publish *p);
/* publish_room.c: all that the drafts need, or nothing. Untake: one draft that is not written. */
int publish_take_room(struct publish *p, struct drafts *drafts);
void publish_untake_room(struct publish *p, struct draft *d);
/* publish_recount.c: counts the members that are ejected or held anew. Before a smaller set is
 * shown the number falls, or the programs would find too few usable for a moment. */
void publish_recount(struct publish *p, struct entry *e);
void publish_recount_draft(struct publish *p, const struct draft *d);
/* recycle.c: frees indexes whose rest is over, keeping what was counted. */
void recycle_rested(struct publish *p, uint64_t now_ns);
/* Unmaps what lies behind the highest index in use. */
void recycle_windows(struct publish *p);
uint64_t publish_now_ns(void);
