/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What publish.c, adopt.c and read.c share: one entry per (address, port, protocol) that the kernel
 * serves. For this room only.
 */
#pragma once

#include <uthash.h>

#include "kernel/index.h"
#include "kernel/publish.h"

struct member {
	uint32_t backend;  /* index in sn_backends */
	uint32_t endpoint; /* index in owner->endpoints */
};

struct entry {
	struct sn_frontend key;
	uint32_t index; /* in sn_services */
	struct service
		*owner; /* reference; NULL: read from the kernel, nobody has claimed it yet */
	uint32_t port;  /* index in owner->ports */
	uint32_t n_members;
	struct member *members;
	uint32_t *former; /* backends that left but whose counters are still in the kernel */
	uint32_t n_former;
	int32_t miscount;     /* of ejected members, when last looked at */
	struct traffic *past; /* counters of backends whose index was given on; NULL: none */
	UT_hash_handle hh;
};

struct publish {
	struct kernel *k;
	int frontends_fd;
	struct entry *entries;   /* by key */
	struct entry **by_index; /* [k->services.entries] */
	struct index_pool services, backends, slots;
	struct service *canary; /* canary.h; NULL: not there now */
	size_t draining_moves;  /* backends that datagram sockets must leave, since last asked */
};

/* One frontend as it should become. */
struct draft {
	struct entry *entry;
	bool is_new;
	struct service *service; /* borrowed */
	uint32_t port;
	uint32_t n; /* members, draining ones included */
	uint32_t n_active;
	struct draft_member {
		struct sn_backend want;
		uint32_t backend; /* 0 until given */
		uint32_t endpoint;
		bool is_new;
	} * members;
	bool needs_set;        /* the set differs from what the kernel has */
	uint32_t first;        /* extent in sn_slots, header included */
	struct sn_slot *slots; /* header and members as they will be written */
};

/* Elements of sn_slots that a set takes; a header that is no set's claims too many, not few. */
static inline uint32_t set_elements(const struct sn_set *set)
{
	uint64_t n = SN_SET_HEADER;

	for (int i = 0; i < SN_LEVELS; i++)
		n += set->count[i];
	return n < UINT32_MAX ? (uint32_t)n : UINT32_MAX;
}

struct drafts {
	struct draft *items;
	size_t n, allocated;
};

/* draft.c. The entry is found, or made and not yet in any table. */
int draft_service(struct publish *p, struct service *s, struct drafts *drafts);
/* Builds d->slots from the members, which have their indexes; says whether the kernel's differ. */
int draft_build_set(struct publish *p, struct draft *d);
void drafts_done(struct drafts *drafts);
struct entry *entry_free(struct entry *e);
struct entry *entry_find(const struct publish *p, const struct sn_frontend *key);
void entry_insert(struct publish *p, struct entry *e);
/* Visits the frontends of a service: callback(arg, key, port index); stops at < 0. */
int entry_each_key(const struct service *s,
		   int (*visit)(void *arg, const struct sn_frontend *key, uint32_t port),
		   void *arg);

/* adopt.c: fills p from the kernel's maps. */
int adopt_read(struct publish *p);
/* publish_hold.c: counts the members that are ejected or held anew. */
void publish_recount(struct publish *p, struct entry *e);
/* recycle.c: frees indexes whose rest is over, keeping what was counted. */
void recycle_rested(struct publish *p, uint64_t now_ns);
/* Unmaps what lies behind the highest index in use. */
void recycle_windows(struct publish *p);
uint64_t publish_now_ns(void);
