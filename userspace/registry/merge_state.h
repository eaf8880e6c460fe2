/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What a merge holds, for merge.c and merge_word.c alone. A node is an object by kind and name; a
 * part of it is what one registry says of it. A word is first decided for each part (`next`), and
 * then taken for all of them, which cannot fail.
 */
#pragma once

/* Without memory an insertion fails, and says so: the program must not end there. */
#define HASH_NONFATAL_OOM 1
#define uthash_nonfatal_oom(node) ((node)->key[0] = '\0')
#include <uthash.h>

#include "registry/guard.h"
#include "registry/join.h"
#include "registry/merge.h"

/* All NULL: the registry does not have it. */
struct merge_words {
	struct policy *policy;
	struct service *said;     /* without suspects; NULL: no longer named */
	struct service *believed; /* and with those that are held; the same one if none is */
	uint64_t *since;          /* of each endpoint believed; NULL: none is held */
	size_t n_held;
	uint64_t held_ms; /* of the last hold */
	struct guard guard;
};

struct merge_part {
	struct merge_part *next_part; /* of the same node, by precedence */
	unsigned int source;
	struct merge_words now, next;
	bool pending;           /* next is to become now */
	bool went;              /* and something goes away with it */
	bool mentioned;         /* by the snapshot that is being taken */
	size_t holds, released; /* of the pending word */
	uint64_t emptied_ms;    /* by the pending word, what was emptied is let go; 0: not */
	unsigned int asked;     /* how often since the last hold */
	uint64_t asked_ms;
};

struct merge_node {
	UT_hash_handle hh;
	struct merge_node *next_dirty;
	bool dirty;
	bool was_built; /* fresh is what it has become */
	enum object_kind kind;
	struct merge_part *parts;
	struct object merged, fresh; /* as last taken; OBJECT_NONE: not there */
	char key[];
};

struct merge_source {
	char tag[LIMIT_SOURCE + 1];
	uint8_t order; /* 0 wins; each has another */
	enum registry_on_stale stale;
	bool dark, blank, away; /* see guard.h */
	bool lost;              /* dark, without those that were let go */
	uint64_t contact_ms, back_ms;
	size_t services, full, emptied, policies, named, held; /* full: that have endpoints */
	struct guard left; /* of those that were emptied, the ones that were let go */
	uint64_t held_total, released_total, refused;
};

struct merge {
	struct guard_settings settings;
	struct merge_source sources[LIMIT_REGISTRIES];
	struct merge_node *nodes, *dirty;
	struct join join;
	bool urgent;
};

/* What this registry says of the node; NULL: nothing. */
static inline struct merge_part *merge_find_part(const struct merge_node *node, unsigned int source)
{
	struct merge_part *p = node->parts;

	while (p && p->source != source)
		p = p->next_part;
	return p;
}

/* Must be told again. */
static inline void merge_mark(struct merge *m, struct merge_node *node)
{
	if (node->dirty)
		return;
	node->dirty = true;
	node->next_dirty = m->dirty;
	m->dirty = node;
}

/* Of the services of a source that were emptied and let go, those that still count when so many
 * are emptied. */
size_t merge_count_left(const struct merge_source *s, size_t emptied, uint64_t now_ms);
/* It has, or will have, so many services with endpoints, so many of them emptied. */
void merge_note_dark(struct merge *m, struct merge_source *s, size_t full, size_t emptied,
		     uint64_t now_ms);
void merge_note_blank(struct merge_source *s, bool blank, uint64_t now_ms);
/* The same of what it has now. */
void merge_look_around(struct merge *m, struct merge_source *s, uint64_t now_ms);
/* Whether another word of it could confirm something, as merge_word.c has it. */
bool merge_may_confirm(const struct merge_source *s, uint64_t now_ms);

/* Lets go what has settled; see guard.h. */
void merge_settle(struct merge *m);

/* Decides what it means for the part that `named` (borrowed; NULL: it is gone) is said now. -ENOMEM
 * leaves the part without a pending word. */
int merge_word(struct merge *m, struct merge_part *p, struct service *named, uint64_t now_ms);
/* Whatever is held of it goes: pending. now_ms 0: by hand. */
void merge_word_release(struct merge_part *p, uint64_t now_ms);
/* The pending word is taken, or forgotten. */
void merge_word_commit(struct merge *m, struct merge_node *node, struct merge_part *p);
void merge_word_abort(struct merge_part *p);
void merge_node_free(struct merge_node *node);
void merge_words_done(struct merge_words *w);
