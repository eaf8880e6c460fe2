/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What a resolver said to a query that was passed on: whether it answers that query at all, and
 * what of it the asker gets (RFC 5452, RFC 6891). Pure.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

/* A query with one question and, at most, an OPT record without options: answer.h writes it. */
#define DNS_UPSTREAM_QUERY 320

struct dns_upstream {
	uint8_t data[DNS_UPSTREAM_QUERY]; /* with the id that the resolver sees */
	size_t length;
};

enum dns_upstream_word {
	DNS_UPSTREAM_FOREIGN,   /* no answer to this query: a stray, or a forgery */
	DNS_UPSTREAM_ANSWERED,  /* good, or "no such name" */
	DNS_UPSTREAM_TRUNCATED, /* the rest is to be had over TCP */
	DNS_UPSTREAM_UNABLE,    /* it cannot say; another may */
};

/* -EINVAL: no query as answer.h writes them. */
int dns_upstream_make(const uint8_t *query, size_t n, uint16_t id, struct dns_upstream *ret);
enum dns_upstream_word dns_upstream_read(const struct dns_upstream *u, const uint8_t *answer,
					 size_t n);

/* Makes of a good answer, in place, that to the asker's query, which has another id and the same
 * question: cut, if it is longer than `limit`. Returns its length. `answer` holds at least
 * DNS_UPSTREAM_QUERY bytes. */
struct dns_upstream_asker {
	uint16_t id;
	size_t limit;
};
size_t dns_upstream_finish(const struct dns_upstream *u, const struct dns_upstream_asker *asker,
			   uint8_t *answer, size_t n);
/* "Nobody could tell" (SERVFAIL), written to buf of DNS_UPSTREAM_QUERY bytes. Returns its length.
 */
size_t dns_upstream_fail(const struct dns_upstream *u, uint16_t id, uint8_t *buf);
