/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * See gone.h. Between push.c and what it says again; must never say a name twice.
 */
#include "agent/gone.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Without memory an insertion fails, and says so: the program must not end there. */
#define HASH_NONFATAL_OOM 1
#define uthash_nonfatal_oom(one) ((one)->lost = true)
#include <uthash.h>

struct gone_name {
	UT_hash_handle hh;
	struct object_name name; /* its texts are in key */
	bool lost;
	char key[2 * LIMIT_NAME + 3]; /* kind, namespace, 0, name, 0 */
};

/* The length; 0: such a name is no label, and sinewd never had it. */
static size_t make_key(enum object_kind kind, const char *namespace, const char *name,
		       char key[static 2 * LIMIT_NAME + 3])
{
	size_t first = strnlen(namespace, LIMIT_NAME + 1), second = strnlen(name, LIMIT_NAME + 1);

	if (first > LIMIT_NAME || second > LIMIT_NAME)
		return 0;
	key[0] = (char)kind;
	memcpy(key + 1, namespace, first + 1);
	memcpy(key + first + 2, name, second + 1);
	return first + second + 3;
}

static struct gone_name *find(const struct gone *g, const char *key, size_t n)
{
	struct gone_name *one = NULL;

	HASH_FIND(hh, g->names, key, n, one);
	return one;
}

static void drop(struct gone *g, struct gone_name *one)
{
	HASH_DEL(g->names, one);
	free(one);
}

int gone_add(struct gone *g, const struct object_name *name, bool *ret_full)
{
	struct gone_name *one = calloc(1, sizeof(*one)), *before;
	size_t n;

	*ret_full = false;
	if (!one)
		return -ENOMEM;
	n = make_key(name->kind, name->namespace, name->name, one->key);
	if (!n) {
		free(one);
		return 0;
	}
	one->name = (struct object_name){name->kind, one->key + 1,
					 one->key + 1 + strlen(one->key + 1) + 1};
	before = find(g, one->key, n);
	if (before)
		drop(g, before);
	HASH_ADD(hh, g->names, key, n, one);
	if (one->lost) {
		free(one);
		return -ENOMEM;
	}
	*ret_full = HASH_COUNT(g->names) > LIMIT_GONE;
	if (*ret_full)
		drop(g, g->names);
	return 0;
}

void gone_remove(struct gone *g, const struct object *o)
{
	char key[2 * LIMIT_NAME + 3];
	size_t n = g->names ? make_key(o->kind, object_namespace(o), object_name(o), key) : 0;
	struct gone_name *one = n ? find(g, key, n) : NULL;

	if (one)
		drop(g, one);
}

void gone_clear(struct gone *g)
{
	struct gone_name *one, *next;

	HASH_ITER (hh, g->names, one, next)
		drop(g, one);
}

size_t gone_count(const struct gone *g)
{
	return HASH_COUNT(g->names);
}

void gone_visit(const struct gone *g, void (*visit)(void *arg, const struct object_name *name),
		void *arg)
{
	for (const struct gone_name *one = g->names; one; one = one->hh.next)
		visit(arg, &one->name);
}
