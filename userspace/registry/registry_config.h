/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What agent.yaml says of one registry, as something that several hold: a source that follows it, a
 * writer, and whoever may put another in its place. And what is different between two of them.
 */
#pragma once

#include "registry/registry.h"

/* What `from` has, with one reference; it is empty then. NULL: no memory, and it is as it was. */
struct registry_config *registry_config_take(struct registry_config *from);
struct registry_config *registry_config_ref(struct registry_config *c);
/* NULL is fine; the last one frees it. One that is not counted stays. */
void registry_config_unref(struct registry_config *c);
/* Frees what is in it. */
void registry_config_done(struct registry_config *c);

/* Whether a source would do the same with both: all but the name, and what its host alone looks at
 * (onStale). */
bool registry_config_is_equal(const struct registry_config *a, const struct registry_config *b);
/* Whether what is written by one is found by the other: the same place, however one gets in. */
bool registry_config_is_same_place(const struct registry_config *a,
				   const struct registry_config *b);
