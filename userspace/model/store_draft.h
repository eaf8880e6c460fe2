/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A plan in the making: one draft for each object that a change names. store_plan.c finds the
 * drafts and turns them into a plan, store_address.c decides about services' addresses,
 * store_fallback.c about circles. Only they include this.
 */
#pragma once

#include "model/store_state.h"

/* How a service comes to an address, in the order in which they are served. */
enum want_kind {
	WANT_NONE,
	WANT_KEPT,     /* it was given this one from the pool before */
	WANT_EXPLICIT, /* declared */
	WANT_HINT,     /* a state file or a copy says it had this one from the pool */
	WANT_FRESH,    /* any of the pool */
	WANT_MAX,
};

struct want {
	enum want_kind kind;
	bool held; /* entered in the store's claims for the time of planning */
	struct sn_addr addr;
};

struct draft {
	struct store_name name;
	const struct object *given; /* NULL: it is to be removed */
	void *old;                  /* borrowed from the store */
	void *new;                  /* a reference */
	bool unchanged;
	bool bad;            /* has a problem: nothing more is said about it */
	struct want want[2]; /* IPv4, IPv6 */
};

struct drafts {
	struct draft *items; /* sorted by namespace and name */
	size_t n;
};

struct planner {
	struct store *store;
	const struct change *change;
	struct problems *problems;
	struct drafts services, policies, registrations;
	size_t n_unchanged; /* deletes that were passed over */
	bool released;      /* the claims of old services are taken back for the time of planning */
	int error;          /* the first one */
};

/* Adds a problem that begins with the object's kind and name; the first error is the plan's. */
__attribute__((format(printf, 4, 5))) void store_plan_refuse(struct planner *p, struct draft *d,
							     int error, const char *format, ...);
/* The draft of that name; NULL: the change does not touch it. */
struct draft *store_plan_find(const struct drafts *drafts, const struct store_name *name);

/* Gives every new service its addresses and checks who may have which. 0, -ENOMEM; what is wrong is
 * refused. The store's claims are as before afterwards. */
int store_address_plan(struct planner *p);
/* Refuses services whose fallback would lead back to them. 0, -ENOMEM. */
int store_fallback_plan(struct planner *p);
