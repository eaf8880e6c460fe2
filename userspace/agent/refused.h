/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Objects that sinewd does not take (an address out of range, a name that another source owns), so
 * that the others need not wait for them. As many as there can be objects: with one more than fits
 * in here nothing would reach sinewd at all. Pure.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <yyjson.h>

#include "model/codec.h"
#include "model/store.h"

#define REFUSED_MAX 65536
#define REFUSED_TEXT 160
#define REFUSED_BUCKETS 4096 /* a power of two */

struct refused {
	struct refused_item {
		enum object_kind kind;
		char name[136]; /* "namespace/name" */
		char reason[REFUSED_TEXT];
		bool room;     /* sinewd would take it if it were not full */
		uint32_t next; /* in its bucket: index + 1; 0: the last */
	} * items;             /* owned; the latest last */
	size_t n, capacity, n_room;
	uint32_t buckets[REFUSED_BUCKETS];
};

/* Forgets all; what was allocated is given back. Zeroed is empty, too. */
void refused_clear(struct refused *f);

/* "namespace/name" of an object. */
const char *refused_name(const struct object *o, char buf[static 136]);
bool refused_has(const struct refused *f, const struct object *o);
bool refused_is_for_room(const struct refused *f, const struct object *o);
bool refused_has_name(const struct refused *f, const struct object_name *name);
/* It does not fit into sinewd, which has no objection to it otherwise. False: it was known, or
 * there is no memory. */
bool refused_add_room(struct refused *f, const struct object *o, const char *reason);
/* They get another chance, all of those. */
void refused_forget_room(struct refused *f);
/* An object is new or gone: it gets another chance. */
void refused_forget(struct refused *f, enum object_kind kind, const char *name);
/*
 * Learns from a problem document (RFC 9457) about a request that held `sent`, in order: pointers
 * begin with `list` ("/items/" or "/upsert/"), or the detail names the object in words ("service
 * shop/payments: ..."). How many objects were new to it; without memory, fewer than were named.
 */
size_t refused_learn(struct refused *f, yyjson_val *problem, const char *list,
		     const struct object *sent, size_t n);
