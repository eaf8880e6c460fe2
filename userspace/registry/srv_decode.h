/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Questions for SRV records and addresses, and what a resolver said to them (RFC 1035, 2308, 2782,
 * 3596); ldns knows the wire. Pure. Whether an answer belongs to its question was decided before
 * (dns/upstream.h).
 */
#pragma once

#include <sinew/abi.h>

#include "dns/name.h"
#include "dns/upstream.h"

#define SRV_RECORDS 4096   /* of one answer; a message of 64 KiB holds fewer */
#define SRV_ADDRESSES 8192 /* the same */

enum srv_type { SRV_A = 1, SRV_AAAA = 28, SRV_SRV = 33 };

enum srv_word {
	SRV_GIVEN,   /* there are records of that type */
	SRV_NOTHING, /* the name is there, and has none */
	SRV_NO_NAME, /* NXDOMAIN: the resolver knows of no such name */
	SRV_REFUSED, /* it does not answer us */
	SRV_FAILED,  /* SERVFAIL and the like */
};

struct srv_record {
	uint16_t priority, weight, port; /* host order */
	char target[DNS_NAME];           /* lower case; "": it is said that there is none (".") */
};

struct srv_address {
	char name[DNS_NAME]; /* lower case */
	struct sn_addr addr;
};

struct srv_answer {
	enum srv_word word;
	unsigned int rcode;
	uint32_t ttl_s; /* the least of its records'; without any, of their absence; 0: not said */
	struct srv_record *records; /* owned */
	size_t n_records;
	/* Of the name that was asked for, and of others that the resolver added; only good ones. */
	struct srv_address *addresses; /* owned */
	size_t n_addresses;
	size_t skipped; /* records that cannot be used */
};

/* The length of the query in buf, its id 0; -EINVAL: no name. */
int srv_encode(const char *name, enum srv_type type, uint8_t buf[static DNS_UPSTREAM_QUERY]);
/* `name` is what was asked for, in lower case; aliases are followed within the answer. -EBADMSG,
 * -ENOMEM; *ret is only written on success. */
int srv_decode(const uint8_t *answer, size_t n, const char *name, enum srv_type type,
	       struct srv_answer *ret);
void srv_answer_done(struct srv_answer *a);
