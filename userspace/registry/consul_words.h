/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Keys of Consul's KV tree as manifests: what each of them last said. A key that cannot be used
 * keeps its last word, so that a slip of the keyboard empties nothing. Pure.
 */
#pragma once

#include "model/codec.h"
#include "registry/consul_decode.h"

#define CONSUL_WHY 160

struct consul_word {
	char *key;
	uint64_t modified;      /* of the last reading, good or not */
	struct object *objects; /* its last word; owned */
	size_t n;
	bool is_bad; /* its last reading was of no use */
};

struct consul_words {
	struct consul_word *items; /* by key */
	size_t n;
	size_t bad;
	char why[CONSUL_WHY]; /* about one that turned bad with the last answer; "": none did */
};

/* Reads what is new in an answer, and forgets keys that are not in it. `tag` is the source of the
 * objects. -ENOMEM leaves what was. */
int consul_words_apply(struct consul_words *w, const char *tag, const struct consul_keys *keys);
/*
 * What all keys say, by kind, namespace and name; of the same name twice the first key's, and *why
 * tells of the other. For object_free_list(). -E2BIG: over LIMIT_MERGED; -ENOMEM.
 */
int consul_words_gather(const struct consul_words *w, struct object **ret, size_t *ret_n,
			char why[static CONSUL_WHY]);
/* The order of consul_words_gather(). */
int consul_words_compare(const struct object *a, const struct object *b);
void consul_words_done(struct consul_words *w);
