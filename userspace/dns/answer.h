/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * One query in, one answer out (RFC 1035, 2308, 2782, 3596, 6891, 8482); ldns knows the wire.
 * Answers are virtual addresses, which stay with their service: a cache that keeps one too long is
 * still right. Until it is known what there is, nobody is told that a name is not: no table is
 * SERVFAIL. Pure: no socket, no clock.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "dns/name.h"

#define DNS_UDP_PAYLOAD 1232 /* that passes any link whole (DNS flag day 2020) */
#define DNS_MESSAGE 65535

struct dns_settings {
	struct dns_names names;
	uint32_t ttl;       /* seconds */
	bool forwards;      /* names of others are for a resolver behind us; otherwise REFUSED */
	struct sn_addr own; /* where we listen: the zone's own address */
};

struct dns_answerer; /* settings made ready; may be used for any number of queries, one at a time */
int dns_answerer_new(const struct dns_settings *settings,
		     struct dns_answerer **ret);                /* -EINVAL, -ENOMEM */
struct dns_answerer *dns_answerer_free(struct dns_answerer *a); /* NULL is fine; returns NULL */
DEFINE_CLEANUP(struct dns_answerer *, dns_answerer_free);

enum dns_verdict {
	DNS_SEND,    /* what was written to buf */
	DNS_DROP,    /* no query: too short, or an answer itself */
	DNS_FORWARD, /* a query for a name of somebody else: what to ask was written to buf */
};

struct dns_query {
	const uint8_t *data;
	size_t length;
	size_t limit; /* bytes of an answer: DNS_MESSAGE over TCP, 512 over UDP (which EDNS raises)
		       */
};

struct dns_written {
	size_t length;
	size_t limit;       /* bytes of an answer that the asker takes */
	unsigned int rcode; /* of the header */
	bool truncated;
};

/*
 * `buf` holds DNS_MESSAGE bytes; `t` NULL: what there is is not known yet. What is to be forwarded
 * is the question with the asker's wishes (RD, CD, AD, DO) and, if the asker has EDNS, an OPT
 * record of our own: that of the asker is between the two of us (RFC 6891, 6.2.4). Its id is 0.
 */
enum dns_verdict dns_answer(struct dns_answerer *a, const struct dns_table *t,
			    const struct dns_query *query, uint8_t *buf, struct dns_written *ret);
