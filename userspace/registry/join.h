/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * One service out of the endpoints of several: of what a registry says and what is held of what it
 * said, and of what several registries say. For merge*.c alone. Pure.
 *
 *   join_begin -> (join_from -> join_add...)... -> join_sort -> (look at, drop) -> join_finish
 */
#pragma once

#include "model/limits.h"
#include "model/service.h"

#define JOIN_FROM (LIMIT_REGISTRIES + 1)

/* Of endpoints with the same address and ports the one with the lowest rank stays, then that of the
 * lowest source. */
struct join_mark {
	uint64_t since; /* the caller's; goes along */
	uint16_t weight;
	uint8_t source, rank, flags;
};

struct join_item {
	struct join_mark mark;
	uint32_t endpoint;
	uint8_t from;
	bool drop; /* not into the service */
};

struct join_from {
	const struct service *service;
	uint8_t port[LIMIT_PORTS]; /* of the shape's ports: which of its own it is */
	uint16_t zone[LIMIT_SERVICE_ZONES + 1], node[LIMIT_SERVICE_NODES + 1];
};

struct join {
	const struct service *shape;
	struct join_item *items; /* owned, as from; both stay for the next service */
	size_t n, capacity;
	struct join_from *from;
	size_t n_from;
};

/* The shape gives everything but endpoints: ports, addresses, policy, labels. It and the services
 * that follow are borrowed until join_finish(). */
int join_begin(struct join *j, const struct service *shape);
void join_done(struct join *j);

/*
 * Endpoints that follow are this service's. A port of the shape is the one of the same name there,
 * or of the same number and protocol, or the only one. False: it lacks one, so its endpoints are of
 * no use.
 */
bool join_from(struct join *j, const struct service *s);
/* Left out (*ret_added false) when the shape's addresses cannot lead to one of its family.
 * -ENOMEM. */
int join_add(struct join *j, size_t endpoint, const struct join_mark *mark, bool *ret_added);
/* By address and ports, each once. */
void join_sort(struct join *j);

/*
 * The service. `tags`: names of sources by number; NULL: endpoints name none. ret_since: of each
 * endpoint, caller frees; NULL: not wanted. Over LIMIT_ENDPOINTS those of the highest rank, then
 * source, are left out, and counted in left_out[source]. -ENOMEM.
 */
int join_finish(struct join *j, const char *const *tags, size_t left_out[LIMIT_REGISTRIES],
		struct service **ret, uint64_t **ret_since);
