/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The DNS server: UDP and TCP on one address and port, on the loop (RFC 1035, RFC 7766). Bounded in
 * connections, in bytes and in time; what it cannot send at once it drops, as a network would.
 * Names of others are refused, or asked of a forward (forward.h).
 */
#pragma once

#include <uv.h>

#include "dns/answer.h"
#include "dns/door.h"
#include "dns/forward.h"

#define DNS_CONNECTIONS 64 /* over TCP; the next ones are closed at once */
#define DNS_IDLE_MS 10000  /* a TCP connection without a whole query */
#define DNS_RCODES 16

struct dns_server;

struct dns_counts {
	uint64_t queries_udp, queries_tcp, dropped, truncated, refused_connections;
	uint64_t rcodes[DNS_RCODES]; /* of our own answers */
	uint64_t forwarded;          /* answers of others that were passed on, failures too */
};

/*
 * `forward` is borrowed and must be there if settings->forwards says so; NULL: none. The door's
 * sockets are taken over, also by an error. Until there is a table, every name of ours is SERVFAIL.
 * -EINVAL (settings), -ENOMEM, -errno.
 */
int dns_server_open(uv_loop_t *loop, const struct dns_settings *settings, struct dns_door *door,
		    struct dns_forward *forward, struct dns_server **ret);
uint16_t dns_server_port(const struct dns_server *s);
/* The table is taken over; the one before is freed. */
void dns_server_set_table(struct dns_server *s, struct dns_table *table);
const struct dns_counts *dns_server_counts(const struct dns_server *s);
/* Closes, before its forward is; on_closed (may be NULL) is called on the loop when its memory is
 * given back. NULL is fine. */
void dns_server_close(struct dns_server *s, void (*on_closed)(void *arg), void *arg);
