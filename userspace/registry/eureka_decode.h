/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What a Eureka server answers to GET apps and apps/delta, as a list of instances. Pure.
 */
#pragma once

#include <sinew/abi.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/cleanup.h"
#include "base/json.h"

/* In the order of their names, as the hash code has them. */
enum eureka_status {
	EUREKA_DOWN,
	EUREKA_OUT_OF_SERVICE,
	EUREKA_STARTING,
	EUREKA_UNKNOWN, /* and whatever else a server says */
	EUREKA_UP,
	_EUREKA_STATUS_MAX
};
const char *eureka_status_name(enum eureka_status s);

struct eureka_instance {
	char *app;      /* as the server spells it: "PAY" */
	char *id;       /* its instanceId; of old clients, its hostName */
	char *zone;     /* of its metadata, or of its data centre; NULL: none */
	char *metadata; /* keys and their texts in turn, each with its NUL, one more at the end;
			   NULL: none. Without the zone, and at most LIMIT_LABELS */
	enum eureka_status status, overridden;
	bool deleted;     /* of a delta: it is gone */
	bool has_address; /* else ipAddr is no address, and it only counts */
	struct sn_addr addr;
	uint16_t port, secure_port; /* host order; 0: not enabled */
	size_t order;               /* its place in the answer */
};

struct eureka_answer {
	struct eureka_instance *instances; /* owned */
	size_t n;
	size_t skipped; /* without an application, an id or a status */
	char *hashcode; /* apps__hashcode; NULL: not said */
};

/*
 * An application and an instance may each be an object or an array; numbers may be texts. 0;
 * -EBADMSG with a sentence: no such answer; -E2BIG: over LIMIT_ANSWER or LIMIT_FOUND_ENDPOINTS;
 * -ENOMEM. *ret is only written on success. (Netflix/eureka, EurekaJacksonCodec.java)
 */
int eureka_decode(const char *text, size_t length, struct eureka_answer *ret,
		  char ret_error[static JSON_ERROR]);
/* What it answers to GET apps/APP/ID: one instance. As above; also -EBADMSG: it does not name its
 * application and its id. */
struct eureka_one {
	struct eureka_instance instance;
	uint64_t memory_ms; /* so long the server has known it at least, by its own clock, since
			       when it is up; 0: who knows. It survives no restart of the server */
};
int eureka_decode_one(const char *text, size_t length, struct eureka_one *ret,
		      char ret_error[static JSON_ERROR]);
void eureka_instance_done(struct eureka_instance *i);
void eureka_answer_done(struct eureka_answer *a);
