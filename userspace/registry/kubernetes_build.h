/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * One service out of a Service and its slices; for kubernetes_join.c, and kubernetes_look.c, which
 * only looks.
 *
 * Where agent.yaml asks for external addresses, a Service comes to several services: its own, one
 * at this node's address with the node ports, and one for each pair of external addresses.
 */
#pragma once

#include "registry/kubernetes_join.h"
#include "registry/kubernetes_table.h"

#define KUBERNETES_PARTS (2 + KUBERNETES_OUTSIDE) /* services of one Service */

struct kubernetes_join {
	const char *tag, *zone;
	const char *node; /* this one; NULL: nothing external is wanted */
	struct kubernetes_table tables[_KUBERNETES_KIND_MAX];
	struct kubernetes_row *dirty, *later; /* later: looked at, and not due */
	struct draft_service *draft;
	size_t endpoints, map_bytes, left_out, partial;
	bool told;     /* a snapshot was taken */
	bool policies; /* ConfigMaps changed */
	/* Since they were listed last: one found no room, and then some was freed. */
	bool maps_lack_room, maps_freed_room;
};

/* How many services a Service may come to. */
static inline unsigned int kubernetes_parts(const struct kubernetes_join *j)
{
	return j->node ? KUBERNETES_PARTS : 1;
}

/* The names of a part: -EINVAL: it can have none. */
int kubernetes_build_name(const struct kubernetes_row *row, unsigned int part,
			  char ret_namespace[static 64], char ret_name[static 64]);
/* Whether the name of a part is that of another Service. */
bool kubernetes_build_is_taken(const struct kubernetes_join *j, const struct kubernetes_row *row,
			       unsigned int part);
/* The service; NULL: there is none, or none that can be offered. -ENOMEM. */
int kubernetes_build(struct kubernetes_join *j, const struct kubernetes_row *row, unsigned int part,
		     struct service **ret);
