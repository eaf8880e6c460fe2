/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What listens on this host, as sinewd tells it (GET /v1/listeners): a line of its stream -> an
 * event -> a table. Pure.
 */
#pragma once

#include <sinew/abi.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <yyjson.h>

#include "base/json.h"

struct listener {
	uint64_t cookie;     /* of its socket: who it is, on this host until it is booted anew */
	struct sn_addr addr; /* zero: every address of its host, or container */
	uint16_t port;       /* host order */
	uint8_t proto;       /* SN_PROTO_* */
	char *cgroup; /* below the top of cgroup v2, "/system.slice/payments.service"; "": gone */
	char *unit, *container; /* NULL: none; like pod in the block that cgroup begins */
	char *pod;              /* its uid */
};

enum listener_event { LISTENER_OTHER, LISTENER_ADDED, LISTENER_DELETED, LISTENER_SYNCED };

/* 0, and for ADDED and DELETED a listener for listener_done(); OTHER is a word of a later sinewd,
 * to be passed over. -EBADMSG (ret_error says why), -ENOMEM. */
int listener_decode_event(const char *line, size_t length, enum listener_event *ret_event,
			  struct listener *ret, char ret_error[static JSON_ERROR]);
int listener_copy(const struct listener *from, struct listener *ret); /* -ENOMEM */
void listener_done(struct listener *l);

/* A set by cookies, sorted by port and protocol first. A port is gone when the last one is. */
struct listener_table {
	struct listener *items;
	size_t n, capacity;
};

/* Takes l over, also on failure; one of the same cookie is replaced. -E2BIG (LIMIT_LISTENERS),
 * -ENOMEM. */
int listener_table_add(struct listener_table *t, struct listener *l);
/* Whether it was there. */
bool listener_table_remove(struct listener_table *t, const struct listener *l);
/* The first one of a port and protocol, and how many follow each other from there. */
const struct listener *listener_table_find(const struct listener_table *t, uint16_t port,
					   uint8_t proto, size_t *ret_n);
bool listener_is_wildcard(const struct listener *l);
void listener_table_done(struct listener_table *t);
