/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The DNS server: UDP and TCP on one address and port, on the loop (RFC 1035, RFC 7766). Bounded in
 * connections, in bytes and in time; what it cannot send at once it drops, as a network would.
 * Names of others are refused (forwarding is the business of the resolver that sends us our zone).
 */
#pragma once

#include <uv.h>

#include "dns/answer.h"

#define DNS_CONNECTIONS 64 /* over TCP; the next ones are closed at once */
#define DNS_IDLE_MS 10000  /* a TCP connection without a whole query */
#define DNS_RCODES 16

struct dns_server;

struct dns_counts {
	uint64_t queries_udp, queries_tcp, dropped, truncated, refused_connections;
	uint64_t rcodes[DNS_RCODES]; /* of answers sent */
};

/* -EADDRINUSE and other errors of bind(2), -EINVAL (settings), -ENOMEM. `port` in host order; 0:
 * any. */
int dns_server_open(uv_loop_t *loop, const struct dns_settings *settings, uint16_t port,
		    struct dns_server **ret);
uint16_t dns_server_port(const struct dns_server *s);
/* The table is taken over; the one before is freed. */
void dns_server_set_table(struct dns_server *s, struct dns_table *table);
const struct dns_counts *dns_server_counts(const struct dns_server *s);
/* Closes; on_closed (may be NULL) is called on the loop when its memory is given back. */
void dns_server_close(struct dns_server *s, void (*on_closed)(void *arg), void *arg);
