/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What a registry said last, as a file: an agent that starts while the registry is away keeps all
 * of it. One file per registry, <folder>/<name>.json, canonical JSON.
 */
#pragma once

#include "model/codec.h"
#include "registry/merge.h"

/* Writes all that `source` of the merge said, whole or not at all. -errno, -ENOMEM. */
int lastgood_write(const struct merge *m, unsigned int source, const struct registry *r,
		   const char *folder);
/* Reads it. -ENOENT: there is none; -EBADMSG: it cannot be used (logged), or is about another kind
 * of registry; -E2BIG, -errno, -ENOMEM. */
int lastgood_read(const char *folder, const struct registry_config *config, struct object **ret,
		  size_t *ret_n);
/* The registry is followed no more: what it said is not to come back with another of its name. 0
 * also when there was none; -errno. */
int lastgood_remove(const char *folder, const char *name);
