/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The pods of this node as one registry tells them, by the uids of their cgroups. Pure and bounded:
 * LIMIT_PODS; what is over that is left out and counted.
 */
#pragma once

#include "model/pod.h"
#include "registry/registry.h"

#define PODS_LINGER_MS 300000

struct pods_item {
	struct pod *pod;
	unsigned int seen;  /* the list that it was in last */
	uint64_t missed_ms; /* since when a list is without it; 0: none is */
};

struct pods {
	struct pods_item *items; /* by uid, then namespace and name */
	size_t n;
	unsigned int seen;         /* which list it is */
	size_t left_out;           /* of the list that is current */
	bool wanted;               /* somebody asked for them; else there are none */
	bool listed;               /* told whole, at least once since then */
	enum registry_error error; /* why they are not known, or not followed any more */
	char text[200], hint[200]; /* of it, for people */
	char node[LIMIT_NODE + 1]; /* whose pods they are */
};

int pods_new(struct pods **ret);
struct pods *pods_free(struct pods *p); /* returns NULL */

/* Takes it, in place of what had its namespace and name, also when it fails: -E2BIG. 1: there was
 * none with its uid. */
int pods_put(struct pods *p, struct pod *pod);
void pods_delete(struct pods *p, const char *namespace, const char *name);
/* A list begins. What was not put until its end is gone once lists have been without it for
 * PODS_LINGER_MS, or for lack of room: a server that lost its data is no reason to forget whose
 * socket it is that still listens. A begin without an end takes nothing away. `now_ms` is never 0.
 */
void pods_begin(struct pods *p);
void pods_end(struct pods *p, uint64_t now_ms);
void pods_clear(struct pods *p);
/* The one with that uid, borrowed until the next change; NULL: none is known, or several claim it.
 */
const struct pod *pods_find(const struct pods *p, const char *uid);
