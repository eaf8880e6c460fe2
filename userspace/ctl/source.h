/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Sending a change of a source (what apply and delete -f do) and telling how it went: problems of
 * the daemon point into the body, and are told with the file that the object came from.
 */
#pragma once

#include "ctl/input.h"

struct source_change {
	const char *method; /* "PATCH": a delta, "PUT": the whole source */
	const char *body;
	size_t length;
	const struct input *input; /* where the objects came from */
	const char *list; /* "/upsert/", "/delete/" or "/items/": how pointers to them begin */
	const char *done; /* "applied", "deleted" */
};

/* To the source of --source; honours --dry-run and -o. < 0: told. */
int source_send(struct ctl *c, const struct source_change *change);
