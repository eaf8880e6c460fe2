/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What a registry has of a node's instances, out of its listings: an agent that was killed finds
 * what it had registered. Pure, bounded: of more than LIMIT_INSTANCES the rest is left to its
 * leases.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "base/json.h"

struct owned {
	char *id, *service;
	uint64_t lease; /* etcd; else 0 */
};

struct owned_list {
	struct owned *items;
	size_t n;
};

/*
 * Those that carry the node's name and an id of its form; anything else is passed over. 0; -EBADMSG
 * with a sentence: not such an answer; -E2BIG: over LIMIT_ANSWER; -ENOMEM.
 */
int owned_decode_consul(const char *text, size_t length, const char *node, struct owned_list *ret,
			char ret_error[static JSON_ERROR]); /* GET /v1/agent/services */
int owned_decode_eureka(const char *text, size_t length, const char *node, struct owned_list *ret,
			char ret_error[static JSON_ERROR]); /* GET apps */
int owned_decode_etcd(const char *text, size_t length, const char *node, struct owned_list *ret,
		      char ret_error[static JSON_ERROR]); /* POST /v3/kv/range */
void owned_list_done(struct owned_list *l);
