/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Bytes as a resolver's answer to each kind of question. What comes out is of the name that was
 * asked for, within bounds, and a service can be made of it. The same bytes as a text are a name
 * that somebody wants followed.
 */
#include <errno.h>

#include "fuzz/require.h"
#include "model/address.h"
#include "registry/srv_service.h"

static struct draft_service *draft;

static void check_answer(const struct srv_answer *a)
{
	REQUIRE(a->n_records <= SRV_RECORDS && a->n_addresses <= SRV_ADDRESSES);
	REQUIRE(a->word == SRV_GIVEN || (!a->n_records && !a->n_addresses));
	for (size_t i = 0; i < a->n_records; i++) {
		REQUIRE(strlen(a->records[i].target) < DNS_NAME);
		REQUIRE(a->records[i].port || !*a->records[i].target);
	}
	for (size_t i = 0; i < a->n_addresses; i++) {
		REQUIRE(*a->addresses[i].name);
		REQUIRE(address_is_target(&a->addresses[i].addr));
	}
}

static void make_service(const struct srv_answer *a)
{
	struct srv_wish wish = {.draft = draft, .tag = "srv/f"};
	struct srv_naming naming = {.namespace = "default", .service = "pay", .proto = 1};
	struct srv_found found = {a->records, a->n_records, a->addresses, a->n_addresses};
	struct service *s;
	int r;

	naming.proto = SN_PROTO_TCP;
	r = srv_service_make(&wish, &naming, &found, &s);
	REQUIRE(r == 0 || r == -ENODATA);
	if (r < 0)
		return;
	REQUIRE(s->n_ports == 1 && (s->n_endpoints == 0 || a->n_records));
	for (size_t i = 0; i < s->n_endpoints; i++)
		REQUIRE(s->endpoints[i].weight);
	service_unref(s);
}

static void read_name(const char *text)
{
	uint8_t query[DNS_UPSTREAM_QUERY];
	struct srv_naming naming;
	char why[160];
	int r = srv_naming_parse(text, "default", &naming, why);

	REQUIRE(r == 0 || (r == -EINVAL && *why));
	if (r < 0)
		return;
	REQUIRE(*naming.service && *naming.namespace && *naming.dns);
	REQUIRE(srv_encode(naming.dns, SRV_SRV, query) > 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const enum srv_type types[] = {SRV_SRV, SRV_A, SRV_AAAA};
	static const char *const names[] = {"_http._tcp.pay.example", "pay.service.consul",
					    "host.example"};
	char *text = require_text(data, size);

	REQUIRE(draft || draft_new(&draft) == 0);
	read_name(text);
	for (size_t i = 0; i < 9; i++) {
		struct srv_answer a;
		int r = srv_decode(data, size, names[i % 3], types[i / 3], &a);

		REQUIRE(r == 0 || r == -EBADMSG);
		if (r < 0)
			break;
		check_answer(&a);
		make_service(&a);
		srv_answer_done(&a);
	}
	free(text);
	return 0;
}
