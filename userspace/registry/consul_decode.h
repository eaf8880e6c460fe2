/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What a Consul server answers to GET catalog/services, health/service/NAME and kv/PREFIX?recurse,
 * as plain data. Pure: bytes in, data out, bounded. It decides what an instance's checks come to,
 * and nothing else; see consul_service.h.
 */
#pragma once

#include <sinew/abi.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/json.h"

/* --- which services there are ----------------------------------------------------------------- */

struct consul_catalog {
	char **names; /* sorted, each once; owned */
	size_t n;
	size_t skipped; /* names that are none: empty, or over LIMIT_INSTANCE_ID */
};

/* 0; -EBADMSG with a sentence: no such answer; -E2BIG: over LIMIT_ANSWER or LIMIT_MERGED; -ENOMEM.
 * *ret is only written on success; so with the others. */
int consul_decode_catalog(const char *text, size_t length, struct consul_catalog *ret,
			  char ret_error[static JSON_ERROR]);
void consul_catalog_done(struct consul_catalog *c);

/* --- the instances of one --------------------------------------------------------------------- */

/*
 * The worst of its checks, the node's among them (serfHealth: the node itself does not answer).
 * Maintenance is a critical check of Consul's own by which a person takes an instance or a node
 * out; beside another critical one it is critical.
 */
enum consul_state { CONSUL_PASSING, CONSUL_WARNING, CONSUL_MAINTENANCE, CONSUL_CRITICAL };

/* Texts and values are the document's; texts without a value are "", values NULL. */
struct consul_instance {
	const char *node, *id; /* never "" : an id is unique on its node */
	const char *address;   /* Service.Address, or the node's */
	struct sn_addr addr;   /* of the address */
	bool has_address;      /* else it is a name, or no target */
	uint16_t port;         /* host order; 0: none */
	enum consul_state state;
	uint16_t weight; /* for its state: Weights.Passing or .Warning; 0: takes nothing new */
	const char *zone;
	yyjson_val *tags, *meta; /* an array, an object; NULL: none */
};

struct consul_health {
	yyjson_doc *doc;
	struct consul_instance *instances; /* owned; by node, then id; each once */
	size_t n;
	size_t skipped; /* entries without a node, an id or a service, or the same again */
};

/*
 * An answer is believed whole: an entry that is no object is -EBADMSG, one that only lacks
 * something is skipped. -E2BIG: over LIMIT_ANSWER or LIMIT_FOUND_ENDPOINTS.
 */
int consul_decode_health(const char *text, size_t length, struct consul_health *ret,
			 char ret_error[static JSON_ERROR]);
void consul_health_done(struct consul_health *h);

/* --- keys ------------------------------------------------------------------------------------- */

struct consul_key {
	char *key;
	char *value; /* NUL-terminated; may hold others */
	size_t length;
	uint64_t modified; /* its ModifyIndex */
};

struct consul_keys {
	struct consul_key *items; /* owned; by key, each once; those without a value left out */
	size_t n;
	size_t skipped; /* entries whose key or value cannot be used */
};

/* -E2BIG: over LIMIT_ANSWER or LIMIT_DOCUMENTS. */
int consul_decode_keys(const char *text, size_t length, struct consul_keys *ret,
		       char ret_error[static JSON_ERROR]);
void consul_keys_done(struct consul_keys *k);
