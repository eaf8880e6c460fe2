/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Who holds which virtual address and port: one hash table for all services. Pure; only the store
 * uses it. Taking room and using it are two steps, so that a commit cannot fail.
 */
#pragma once

#include "model/service.h"

/*
 * One element is either a frontend (key.proto is a protocol, `owner` its service, `value` which of
 * its ports) or an address (key.proto 0, `value` how many services have it, `owner` the one that
 * must be alone on it, if any).
 */
struct claim {
	struct sn_frontend key;
	uint32_t value;
	struct service *owner;
};

struct claims {
	struct claim *slots;
	size_t capacity; /* a power of two, or 0 */
	size_t n;
	uint64_t seed; /* keeps strangers from choosing what collides */
};

struct claim_conflict {
	struct service *owner; /* NULL: several, or one that shares the address */
	size_t port;           /* index of the claimant's port; meaningless when `alone` */
	bool alone;            /* the address cannot be shared, whatever the ports */
};

void claims_done(struct claims *c);
/* Room for the addresses and ports of services with that many ports in all. -ENOMEM. */
int claims_reserve(struct claims *c, size_t more);
/* Elements that a service needs for one address. */
static inline size_t claim_count(const struct service *s)
{
	return s->n_ports + 1;
}

/* Enters all ports of `s` at `addr`. False and a conflict: somebody holds one; nothing is entered.
 */
bool claim_hold(struct claims *c, struct service *s, const struct sn_addr *addr,
		struct claim_conflict *ret);
/* Takes back what claim_hold entered for the same service and address. */
void claim_release(struct claims *c, const struct service *s, const struct sn_addr *addr);

/* Exactly that frontend; with proto 0, the address. NULL: nobody's. */
const struct claim *claim_find(const struct claims *c, const struct sn_frontend *key);
