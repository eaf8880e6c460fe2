/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A list of objects as a stream: {"apiVersion", "kind", "metadata", "items": [ ... ]}, one item
 * per step. Private to control/.
 */
#pragma once

#include <yyjson.h>

#include "control/stream.h"
#include "model/codec.h"

struct listing {
	struct stream stream;
	const char *kind;
	/* Makes item i the root of doc. */
	int (*render)(struct listing *l, yyjson_mut_doc *doc, size_t i);
	union {
		struct service **services; /* references, of kind `of` */
		struct policy **policies;
		struct registration **registrations;
		void **items;
	};
	enum object_kind of;
	struct object *more; /* references, shown after the services */
	size_t n, n_more;    /* n counts both */
	size_t next;
	bool is_flat; /* an item renders as an array whose members are the items */
	bool begun, any;
	size_t part;         /* of item `next`, kept by a flat render; 0: it is complete */
	uint64_t generation; /* of a source; 0: not shown */
	char *token;         /* "continue" */
};

/* Room for `max` items; they are services unless `of` is set. */
int listing_new(const char *kind, int (*render)(struct listing *l, yyjson_mut_doc *doc, size_t i),
		size_t max, struct listing **ret);
/* More follow after this one; without memory the token is missing, which ends the paging early and
 * is therefore an error of the stream. */
void listing_continue(struct listing *l, const char *namespace, const char *name);
