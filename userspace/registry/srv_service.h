/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Which service the SRV records of one name are. Pure.
 *
 *   _http._tcp.payments.example        service payments, its port "http"
 *   payments.service.consul            service payments, TCP
 *   shop/pay=_http._tcp.payments.x     service pay in shop
 *
 * The service answers at every port, and each endpoint keeps its own. Only records of the best
 * (lowest) priority are endpoints: what is behind them is for when these are gone, and they are
 * asked about again then. A weight of 1 is Sinew's 100, so that endpoints of other registries weigh
 * the same beside these, unless one is over LIMIT_WEIGHT / 100; 0 is the least that still counts,
 * and where all are 0, all are 100. A target with addresses of both families counts with IPv4.
 */
#pragma once

#include "registry/draft.h"
#include "registry/srv_decode.h"

struct srv_naming {
	char dns[DNS_NAME];                        /* what is asked for, in lower case */
	char namespace[64], service[64], port[64]; /* port: "": it has no name */
	uint8_t proto;
};

/* `text` as above. -EINVAL with a sentence in ret_text. */
int srv_naming_parse(const char *text, const char *namespace, struct srv_naming *ret,
		     char ret_text[static 160]);

struct srv_wish {
	struct draft_service *draft; /* borrowed; of use for one at a time */
	const char *tag, *zone;      /* zone: NULL: none */
	size_t left_out;             /* targets without an address, and what did not fit */
};

/* `addresses` are those of all targets that have any. -ENODATA: there are records, and none of the
 * best has an address; -ENOMEM. */
struct srv_found {
	const struct srv_record *records;
	size_t n_records;
	const struct srv_address *addresses;
	size_t n_addresses;
};
int srv_service_make(struct srv_wish *wish, const struct srv_naming *naming,
		     const struct srv_found *found, struct service **ret);
