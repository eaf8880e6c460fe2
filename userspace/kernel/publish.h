/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Desired services -> maps. A change is drafted and given its room first, so that it is applied
 * whole or not at all; then every service switches with one store.
 */
#pragma once

#include "kernel/kernel.h"
#include "model/store.h"

struct publish;

/* Reads what the kernel holds already: indexes stay what they are across a restart. */
int publish_new(struct kernel *k, struct publish **ret);
struct publish *publish_free(struct publish *p);
DEFINE_CLEANUP(struct publish *, publish_free);

/* Applies the plan to what the store has, and to services whose policy or fallback it changes.
 * `store`: NULL, nothing but the plan is declared. -ENOSPC: a map is full; -EBUSY: room is resting,
 * try again in a second; -ENOMEM. Nothing was changed then. *ret_removed: backends that new
 * datagrams must leave. */
int publish_apply(struct publish *p, const struct store *store, const struct plan *plan,
		  size_t *ret_removed);
/* At start: makes the kernel hold exactly the store's services. Removes what nobody declares,
 * unless `keep` says that some declarations could not be read. */
int publish_adopt(struct publish *p, const struct store *store, bool keep, size_t *ret_removed);
/* Did the last change take backends from services whose policy ends TCP connections then? */
bool publish_terminates(const struct publish *p);
/* The map without room for the last change that was refused with -ENOSPC or -EBUSY. */
const char *publish_full(const struct publish *p);
/* The program object was replaced: its maps are the same, their descriptors are not. */
void publish_rebind(struct publish *p, struct kernel *k);
/* Once a second or so: corrects what is counted of ejected and held members; holds may have ended.
 */
void publish_tick(struct publish *p);
