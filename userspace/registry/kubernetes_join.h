/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Services, EndpointSlices and Nodes as they are now, and what they come to together: services of
 * Sinew. Pure: clocks are arguments, and it says only what changed.
 *
 * An endpoint that moves from one slice to another is gone in one event and there again in another,
 * in either order. So what a slice lost is still there for SETTLE; what is new is told at once.
 */
#pragma once

#include "model/codec.h"
#include "registry/draft.h"
#include "registry/kubernetes_decode.h"

/* Between the two writes of a move the controller waits for one answer of the API server: a few
 * milliseconds. What is over that makes every removal late. */
#define KUBERNETES_SETTLE_MS 16
#define KUBERNETES_OBJECTS 200000  /* of one kind */
#define KUBERNETES_MAPS (2u << 20) /* bytes of all ConfigMaps: each change reads them all */

struct kubernetes_join;

/* `tag` ("kubernetes/prod") and `zone` (of endpoints for which nobody says one; NULL: none) are
 * borrowed. */
int kubernetes_join_new(const char *tag, const char *zone, struct kubernetes_join **ret);
struct kubernetes_join *kubernetes_join_free(struct kubernetes_join *j); /* returns NULL */
DEFINE_CLEANUP(struct kubernetes_join *, kubernetes_join_free);

/* Node ports and external addresses become services, too; `name` is this node's, and borrowed. */
void kubernetes_join_set_node(struct kubernetes_join *j, const char *name);

/* Takes the object, in place of what had its kind and name, also when it fails: -ENOMEM, -E2BIG
 * (over KUBERNETES_OBJECTS, LIMIT_FOUND_ENDPOINTS or KUBERNETES_MAPS; it is left out, and what was
 * there stays). */
int kubernetes_join_put(struct kubernetes_join *j, struct kubernetes_object *o, uint64_t now_ms);
void kubernetes_join_delete(struct kubernetes_join *j, const struct kubernetes_object *o,
			    uint64_t now_ms);
/* A list of that kind begins; at its end whatever was not put since is gone. A begin without an end
 * takes nothing away. */
void kubernetes_join_begin(struct kubernetes_join *j, enum kubernetes_kind kind);
void kubernetes_join_end(struct kubernetes_join *j, enum kubernetes_kind kind, uint64_t now_ms);

/* Everything, for a snapshot; nothing is left to be told then. -ENOMEM. */
int kubernetes_join_all(struct kubernetes_join *j, struct object **ret, size_t *ret_n);

struct kubernetes_change {
	struct service *service;      /* owned by the caller; NULL: it is gone */
	char namespace[64], name[64]; /* of one that is gone */
};
/* 1: *ret is a change that is due; 0: none is; -ENOMEM. */
int kubernetes_join_next(struct kubernetes_join *j, uint64_t now_ms, struct kubernetes_change *ret);
/* When the first of those that wait is due; 0: none waits. */
uint64_t kubernetes_join_due(const struct kubernetes_join *j);

/* All of a Service is to be told again by kubernetes_join_next(); its row is of kubernetes_build.h.
 */
struct kubernetes_row;
void kubernetes_join_again(struct kubernetes_join *j, struct kubernetes_row *service,
			   uint64_t now_ms);

/* Whether a ConfigMap that was left out for room might have some now: a list would tell. */
bool kubernetes_join_wants_maps(const struct kubernetes_join *j);
/* Whether ConfigMaps changed since the last call. */
bool kubernetes_join_take_policies(struct kubernetes_join *j);
/* The object after *at (NULL: the first; it is moved on), of a kind other than services, in an
 * order of its own. NULL: no more. */
struct kubernetes_row;
const struct kubernetes_object *kubernetes_join_visit(const struct kubernetes_join *j,
						      enum kubernetes_kind kind,
						      const struct kubernetes_row **at);

struct kubernetes_join_counts {
	size_t objects[_KUBERNETES_KIND_MAX], endpoints;
	size_t left_out; /* since new(): what services, drafts and limits left out */
	size_t partial;  /* since new(): endpoints without one of the ports of the others */
};
void kubernetes_join_count(const struct kubernetes_join *j, struct kubernetes_join_counts *ret);
