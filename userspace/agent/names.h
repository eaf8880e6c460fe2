/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The agent's DNS: sinewd knows which services there are and at which virtual addresses, of those
 * too that were applied by hand; the server in dns/ answers with them. While sinewd is away, names
 * lead where they led.
 */
#pragma once

#include "agent/config.h"
#include "base/text.h"
#include "dns/server.h"
#include "net/fetch.h"

struct names;

/* dns.* of agent.yaml, understood, and its sockets. */
struct names_config {
	bool wanted; /* dns.address is not empty; nothing below is set otherwise */
	struct dns_settings dns;
	uint16_t port; /* host order */
	struct dns_resolver resolvers[DNS_RESOLVERS];
	size_t n_resolvers; /* 0: names of others are refused */
	struct dns_door door;
};

/* Opens nothing. -EINVAL, logged. */
int names_read(const struct agent_config *c, struct names_config *ret);
/* The sockets, while the privilege for port 53 is there, if it is. -errno, logged. */
int names_bind(struct names_config *n);

/* Takes the sockets; `c` and the fetcher must outlive it. -errno, -ENOMEM. */
int names_open(uv_loop_t *loop, struct fetcher *fetcher, const struct agent_config *c,
	       struct names_config *config, struct names **ret);
/* Memory is given back once the loop has closed its handles; NULL is fine. */
void names_close(struct names *n);
/* Whether sinewd, or the file of before, has said which services there are. */
bool names_is_known(const struct names *n);
size_t names_count(const struct names *n);
/* sinew_dns_*, as Prometheus text. */
void names_append_metrics(struct text_buffer *b, const struct names *n);
