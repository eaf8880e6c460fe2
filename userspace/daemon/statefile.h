/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * One source's state as a file: the same JSON list that the API takes, with its generation.
 */
#pragma once

#include "model/store.h"

/* How the name of a file ends that could not be read; renamed to .old once its source is written
 * anew. */
#define STATEFILE_BAD ".json.bad"

/* References to what is to be written; may be used on another thread while the store moves on. */
struct statefile {
	char *source;
	uint64_t generation;
	struct service **services;
	size_t n_services;
	struct policy **policies;
	size_t n_policies;
	struct registration **registrations;
	size_t n_registrations;
};

int statefile_take(struct statefile *f, const struct store *store, const char *source);
/* Writes <folder>/<source, percent-encoded>.json whole or not at all; an empty source's file goes.
 */
int statefile_write(const struct statefile *f, const char *folder);
/* Writes <folder>/<name>.json whole or not at all; NULL removes it. For other rooms' small files.
 */
int statefile_replace(const char *folder, const char *name, const char *text, size_t length);
void statefile_done(struct statefile *f);
/* Reads one file into the store as its source's whole snapshot. -EINVAL, -EIO, -ENOMEM. */
int statefile_read(const char *path, struct store *store);
