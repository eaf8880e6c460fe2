/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What was said of a Eureka server's applications, so that only what is another is said again.
 * Pure, but for the selection that the registry's config has.
 */
#pragma once

#include "registry/eureka_service.h"
#include "registry/registry.h"

struct eureka_book {
	const struct registry *r;
	struct draft_service *draft;
	struct eureka_said *said; /* owned, by name */
	size_t n, room;
	size_t left_out; /* of the last whole one, and of changes since */
	char left_text[160];
};

int eureka_book_init(struct eureka_book *b, const struct registry *r);
void eureka_book_done(struct eureka_book *b);
/* Everything, as a snapshot, which is what was said from now on. -ENOMEM. */
int eureka_book_all(struct eureka_book *b, const struct eureka_apps *a, struct object **ret,
		    size_t *ret_n);
/* One application after a change: 0: as it was said; EUREKA_UPSERT with an object to say;
 * EUREKA_REMOVE with the name: it is gone, or no instance of it has a port; -ENOMEM: nothing is
 * known to have been said, take all. */
enum { EUREKA_UPSERT = 1, EUREKA_REMOVE, EUREKA_SAME };
int eureka_book_app(struct eureka_book *b, const struct eureka_apps *a, const char *app,
		    struct object *ret, char ret_name[static 64]);
/* What there is to be said of this name, though it was said before: as above; 0: nothing. */
int eureka_book_again(struct eureka_book *b, const struct eureka_apps *a, const char *name,
		      struct object *ret);
