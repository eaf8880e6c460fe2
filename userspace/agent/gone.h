/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Names of what sinewd was told to remove, for as long as it cannot be told all there is: they are
 * told again when it may have missed that, or have lost it, for it answers before it is on disk.
 * Before: push.c takes a change. After: push.c sends it. Pure; must never hold what is there again.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "model/limits.h"
#include "model/store.h"

struct gone_name;

struct gone {
	struct gone_name *names; /* owned; those that are gone for the longest first */
};

/* Zeroed is empty. Of more than LIMIT_GONE the one that is gone for the longest is forgotten, and
 * *ret_full set. -ENOMEM. */
int gone_add(struct gone *g, const struct object_name *name, bool *ret_full);
/* It is there again; or was never gone. */
void gone_remove(struct gone *g, const struct object *o);
void gone_clear(struct gone *g);

size_t gone_count(const struct gone *g);
void gone_visit(const struct gone *g, void (*visit)(void *arg, const struct object_name *name),
		void *arg);
