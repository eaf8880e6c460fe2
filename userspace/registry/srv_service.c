/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * See srv_service.h. Before: srv_decode.c. After: draft.h, then srv.c says it.
 */
#include "registry/srv_service.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "model/address.h"
#include "model/limits.h"

#define WEIGHT_ONE 100

/* --- names ------------------------------------------------------------------------------------ */

static int bad(char *ret_text, const char *text, const char *why)
{
	(void)snprintf(ret_text, 160, "\"%.80s\": %s", text, why);
	return -EINVAL;
}

/* "shop/pay=": which service it is said to be. */
static int take_service(const char *text, size_t n, struct srv_naming *ret)
{
	char part[2 * LIMIT_NAME + 2], *slash;

	if (n >= sizeof(part))
		return -EINVAL;
	memcpy(part, text, n);
	part[n] = '\0';
	slash = strchr(part, '/');
	if (slash)
		*slash = '\0';
	if (slash && draft_name(part, ret->namespace) < 0)
		return -EINVAL;
	return draft_name(slash ? slash + 1 : part, ret->service);
}

static bool is_protocol(const char *label, struct srv_naming *ret)
{
	ret->proto = !strcmp(label, "_udp") ? SN_PROTO_UDP : SN_PROTO_TCP;
	return !strcmp(label, "_tcp") || !strcmp(label, "_udp");
}

/* What the name itself says: _PORT._PROTOCOL.SERVICE..., or SERVICE... */
static int read_labels(struct srv_naming *ret)
{
	char copy[DNS_NAME], *rest = copy, *label[3];

	(void)snprintf(copy, sizeof(copy), "%s", ret->dns);
	for (size_t i = 0; i < 3; i++)
		label[i] = strsep(&rest, ".") ?: copy + strlen(ret->dns);
	ret->proto = SN_PROTO_TCP;
	if (*label[0] != '_')
		return *ret->service ? 0 : draft_name(label[0], ret->service);
	if (!is_protocol(label[1], ret))
		return -EPROTONOSUPPORT;
	(void)draft_name(label[0] + 1, ret->port);
	return *ret->service ? 0 : draft_name(label[2], ret->service);
}

static bool take_dns(const char *name, char ret[static DNS_NAME])
{
	uint8_t query[DNS_UPSTREAM_QUERY];
	int n = srv_encode(name, SRV_SRV, query);

	/* 12: the header; 15: type, class and an OPT record */
	return n > 0 && dns_name_text(query + 12, (size_t)n - 27, ret) >= 0 && *ret &&
	       !strchr(ret, '?');
}

int srv_naming_parse(const char *text, const char *namespace, struct srv_naming *ret,
		     char ret_text[static 160])
{
	const char *equals = strchr(text, '=');
	struct srv_naming n = {};
	int r;

	if (draft_name(namespace, n.namespace) < 0 ||
	    (equals && take_service(text, (size_t)(equals - text), &n) < 0))
		return bad(ret_text, text, "what is before \"=\" is no name of a service");
	if (!take_dns(equals ? equals + 1 : text, n.dns))
		return bad(ret_text, text,
			   "it is no name of the DNS, as _http._tcp.payments.example");
	r = read_labels(&n);
	if (r == -EPROTONOSUPPORT)
		return bad(ret_text, text, "after _SERVICE comes _tcp or _udp");
	if (r < 0)
		return bad(ret_text, text, "no label of it names a service: write SERVICE=NAME");
	*ret = n;
	return 0;
}

/* --- endpoints -------------------------------------------------------------------------------- */

struct best {
	unsigned int priority, scale;
	uint16_t zero; /* what a weight of 0 is */
};

static bool is_best(const struct best *b, const struct srv_record *record)
{
	return *record->target && record->priority == b->priority;
}

static struct best find_best(const struct srv_found *found)
{
	struct best b = {.priority = UINT16_MAX, .scale = WEIGHT_ONE, .zero = WEIGHT_ONE};

	for (size_t i = 0; i < found->n_records; i++)
		if (*found->records[i].target && found->records[i].priority < b.priority)
			b.priority = found->records[i].priority;
	for (size_t i = 0; i < found->n_records; i++) {
		const struct srv_record *record = &found->records[i];

		if (!is_best(&b, record) || !record->weight)
			continue;
		b.zero = 1;
		if (record->weight > LIMIT_WEIGHT / WEIGHT_ONE)
			b.scale = 1;
	}
	return b;
}

static bool has_v4(const struct srv_found *found, const char *name)
{
	for (size_t i = 0; i < found->n_addresses; i++)
		if (!strcmp(found->addresses[i].name, name) &&
		    address_is_v4(&found->addresses[i].addr))
			return true;
	return false;
}

/* Number of endpoints; -ENOMEM. */
static int add_target(struct srv_wish *wish, const struct srv_found *found,
		      const struct srv_record *record, uint16_t weight)
{
	bool four = has_v4(found, record->target);
	char id[DNS_NAME + 8];
	int added = 0;

	(void)snprintf(id, sizeof(id), "%s:%u", record->target, record->port);
	for (size_t i = 0; i < found->n_addresses; i++) {
		const struct srv_address *at = &found->addresses[i];
		struct draft_endpoint e = {.addr = at->addr,
					   .ports = &record->port,
					   .weight = weight,
					   .zone = wish->zone,
					   .node = record->target,
					   .instance = id};
		int r;

		if (strcmp(at->name, record->target) != 0 || address_is_v4(&at->addr) != four)
			continue;
		r = draft_add_endpoint(wish->draft, &e);
		if (r == -ENOMEM)
			return r;
		added += r >= 0;
	}
	return added;
}

static int add_endpoints(struct srv_wish *wish, const struct srv_found *found)
{
	struct best best = find_best(found);
	size_t wanted = 0, added = 0;

	for (size_t i = 0; i < found->n_records; i++) {
		const struct srv_record *record = &found->records[i];
		unsigned int weight = record->weight * best.scale;
		int n;

		if (!is_best(&best, record))
			continue;
		n = add_target(wish, found, record, record->weight ? (uint16_t)weight : best.zero);
		if (n < 0)
			return n;
		wanted++;
		added += (size_t)n;
		wish->left_out += !n;
	}
	return wanted && !added ? -ENODATA : 0;
}

int srv_service_make(struct srv_wish *wish, const struct srv_naming *naming,
		     const struct srv_found *found, struct service **ret)
{
	struct draft_service *d = wish->draft;
	int r = draft_init(d, naming->namespace, naming->service, wish->tag);

	wish->left_out = 0;
	if (r >= 0)
		r = draft_add_port(d, naming->port, SN_PORT_ANY, naming->proto);
	if (r >= 0)
		r = add_endpoints(wish, found);
	if (r >= 0)
		r = draft_finish(d, ret);
	wish->left_out += draft_left_out(d);
	return r;
}
