/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What a name in a query means: a service, one of its ports, a place in the tree without records,
 * nothing, or a name of somebody else. Pure.
 *
 *   NAME.ZONE, NAME.NAMESPACE.ZONE            a service
 *   _PORT._PROTO.NAME[.NAMESPACE].ZONE        one of its ports (RFC 2782)
 *   NAME<suffix> of an alias "*<suffix>"      a service, as NAME.ZONE
 *   d.c.b.a.in-addr.arpa, ...ip6.arpa         the service with that address (RFC 1035, RFC 3596)
 */
#pragma once

#include <stdint.h>

#include "dns/table.h"

#define DNS_NAME 256 /* bytes of a name as text, and NUL (RFC 1035: at most 253 characters) */
#define DNS_ALIASES 16

struct dns_names {
	char zone[DNS_NAME];                 /* "sinew": lower case, no dot at either end */
	char aliases[DNS_ALIASES][DNS_NAME]; /* "service.consul": what follows "*." */
	size_t n_aliases;
};

enum dns_kind {
	DNS_FOREIGN, /* no name of ours */
	DNS_NOTHING, /* ours, and nothing has it: NXDOMAIN */
	DNS_EMPTY,   /* ours, names below it exist: no data */
	DNS_APEX,    /* the zone itself */
	DNS_SERVICE,
	DNS_PORT,
	DNS_POINTER, /* an address of `service`, which is asked for its name */
};

struct dns_meaning {
	enum dns_kind kind;
	const struct service *service; /* of SERVICE, PORT, POINTER */
	size_t port;                   /* of PORT */
};

/* Sets the zone, or adds an alias "*.service.consul". -EINVAL: no such name; -E2BIG. */
int dns_names_set_zone(struct dns_names *names, const char *zone);
int dns_names_add_alias(struct dns_names *names, const char *pattern);

/*
 * `wire` is an uncompressed name of the wire, `n` bytes with its final zero, as text: lower case,
 * dots between labels, none at the end; bytes that no name of ours has become '?'. -EINVAL: it is
 * none.
 */
int dns_name_text(const uint8_t *wire, size_t n, char ret[static DNS_NAME]);
void dns_name_read(const struct dns_names *names, const struct dns_table *t, const char *text,
		   struct dns_meaning *ret);
