/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Objects of one kind by namespace and name, for kubernetes_join.c alone. A row of a service is
 * there as soon as a slice names it, without an object until the service itself is seen.
 */
#pragma once

#include "registry/kubernetes_decode.h"

/* A slice as it was before it lost endpoints. */
struct kubernetes_ghost {
	struct kubernetes_ghost *next;
	struct kubernetes_object *object;
	uint64_t until_ms;
};

struct kubernetes_row {
	struct kubernetes_row *next; /* in its bucket */
	uint64_t hash;
	char *key; /* "namespace/name" */
	unsigned int seen;
	struct kubernetes_object *object;
	/* of a slice */
	struct kubernetes_row *owner, *sibling;
	/* of a service */
	struct kubernetes_row *slices; /* linked by sibling */
	struct kubernetes_row *next_dirty;
	struct kubernetes_ghost *ghosts; /* the latest first */
	uint64_t due_ms;
	unsigned int part; /* the next to be told of */
	uint32_t told;     /* which parts, bit by bit */
	bool dirty;
};

struct kubernetes_table {
	struct kubernetes_row **buckets; /* a power of two */
	size_t n_buckets, n;
	unsigned int seen; /* the list being taken in */
};

/* NULL: none. */
struct kubernetes_row *kubernetes_table_find(const struct kubernetes_table *t,
					     const char *namespace, const char *name);
/* The row, made if there is none; NULL: no memory. */
struct kubernetes_row *kubernetes_table_get(struct kubernetes_table *t, const char *namespace,
					    const char *name);
/* Takes it out and frees it and its object. */
void kubernetes_table_drop(struct kubernetes_table *t, struct kubernetes_row *row);
/* Forgets ghosts whose time is over. */
void kubernetes_row_bury(struct kubernetes_row *row, uint64_t now_ms);
void kubernetes_table_done(struct kubernetes_table *t);
/* The row after `row` (NULL: the first) in an order of the table's own; a row handed out may be
 * dropped once the next one is known. NULL: no more. */
struct kubernetes_row *kubernetes_table_next(const struct kubernetes_table *t,
					     const struct kubernetes_row *row);
