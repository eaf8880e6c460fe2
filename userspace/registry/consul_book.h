/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What a Consul server's answers come to, object by object. Two voices may name the same service: a
 * manifest below the KV prefix, which a person wrote for Sinew, goes before the catalogue. Pure.
 */
#pragma once

#include "base/cleanup.h"
#include "model/codec.h"

enum consul_voice { CONSUL_BY_KEY, CONSUL_BY_CATALOG, _CONSUL_VOICE_MAX };

struct consul_book;

int consul_book_new(struct consul_book **ret);
struct consul_book *consul_book_free(struct consul_book *b); /* NULL is fine; returns NULL */
DEFINE_CLEANUP(struct consul_book *, consul_book_free);

struct consul_title {
	enum object_kind kind;
	const char *namespace, *name;
};

/* What now counts under a title. */
struct consul_entry {
	const struct object *now; /* borrowed until the next call; NULL: nothing */
	bool changed;             /* by this call */
};

/* Takes the object (NULL: this voice has none), which has that title. -ENOMEM leaves what was. */
int consul_book_set(struct consul_book *b, enum consul_voice voice,
		    const struct consul_title *title, struct object *object,
		    struct consul_entry *ret);
/* What one voice says under a title; NULL: nothing. Borrowed until the next set. */
const struct object *consul_book_find(const struct consul_book *b, enum consul_voice voice,
				      const struct consul_title *title);
/* All that counts, as objects of the caller's. -ENOMEM. */
int consul_book_all(const struct consul_book *b, struct object **ret, size_t *ret_n);

/* Another reference. */
struct object consul_book_share(const struct object *o);
struct consul_title consul_book_title(const struct object *o); /* texts are the object's */
