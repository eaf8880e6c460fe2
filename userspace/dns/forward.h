/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Questions about names of others, asked of resolvers on behalf of somebody: over UDP, each from a
 * port of its own with an id of its own, neither of which can be guessed (RFC 5452); over TCP what
 * is truncated, or when strangers answer, too. Bounded in number and in time. Knows nothing of who
 * asks.
 */
#pragma once

#include <sinew/abi.h>
#include <stdbool.h>
#include <uv.h>

#include "dns/upstream.h"

#define DNS_RESOLVERS 8
#define DNS_PENDING 256       /* questions at once: each has a descriptor */
#define DNS_TRY_MS 1500u      /* then the next resolver is asked */
#define DNS_PATIENCE_MS 4500u /* in all: who asks gives up after 5 s */

struct dns_forward;
struct dns_asked; /* a question under way */

struct dns_resolver {
	struct sn_addr addr;
	uint16_t port; /* host order */
};

struct dns_question {
	const uint8_t *query; /* as dns_answer() wrote it; copied */
	size_t length;
	bool over_tcp; /* from the first: some cut what they say over UDP, and do not tell */
	/* Called once, on the loop, never from within dns_forward_begin(), not after
	 * dns_forward_cancel(). `u` is what was asked, `answer` (which may be written to, and has
	 * room for DNS_UPSTREAM_QUERY bytes at least) what came back; n 0: nobody answered. */
	void (*on_done)(void *arg, const struct dns_upstream *u, uint8_t *answer, size_t n);
	void *arg;
};

struct dns_forward_counts {
	uint64_t asked, answered, unanswered, refused; /* refused: over DNS_PENDING */
	uint64_t over_tcp, foreign;                    /* foreign: datagrams that are no answer */
};

/* In the order in which they are asked; one that answered is asked first until it does not. -EINVAL
 * (0, or over DNS_RESOLVERS), -ENOMEM. */
int dns_forward_new(uv_loop_t *loop, const struct dns_resolver *resolvers, size_t n,
		    struct dns_forward **ret);
/* Calls nobody. Memory is given back once the loop has closed its handles; NULL is fine. */
void dns_forward_close(struct dns_forward *f);
/* -EBUSY: too many; -EINVAL: no query; -ENOMEM. */
int dns_forward_begin(struct dns_forward *f, const struct dns_question *question,
		      struct dns_asked **ret);
void dns_forward_cancel(struct dns_asked *a); /* NULL is fine */
const struct dns_forward_counts *dns_forward_counts(const struct dns_forward *f);
