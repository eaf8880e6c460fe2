/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Bytes as a DNS query. Whatever they are: what is sent is a message that can be read, is an
 * answer, has the query's id and question, keeps to its size, and never both answers and denies.
 */
#include <ldns/ldns.h>
#include <string.h>

#include "dns/answer.h"
#include "fuzz/require.h"
#include "model/address.h"

static struct dns_answerer *answerer;
static struct dns_table *table;

static void start(void)
{
	struct service_port ports[] = {{(char *)"http", 80, SN_PROTO_TCP},
				       {(char *)"dns", 53, SN_PROTO_UDP}};
	struct service draft = {.namespace = (char *)"shop",
				.name = (char *)"pay",
				.source = (char *)"s",
				.policy = (char *)"default",
				.ports = ports,
				.n_ports = 2,
				.n_addresses = 2};
	struct dns_settings settings = {.ttl = 5};
	struct service *s;

	REQUIRE(dns_names_set_zone(&settings.names, "sinew") == 0);
	REQUIRE(dns_names_add_alias(&settings.names, "*.service.consul") == 0);
	REQUIRE(address_parse("127.0.0.54", &settings.own) == 0);
	REQUIRE(address_parse("10.96.0.1", &draft.address[0]) == 0);
	REQUIRE(address_parse("fd96::1", &draft.address[1]) == 0);
	REQUIRE(service_new(&draft, &s) == 0);
	REQUIRE(dns_table_new(&s, 1, &table) == 0);
	REQUIRE(dns_answerer_new(&settings, &answerer) == 0);
	service_unref(s);
}

/* The question section is the query's, byte for byte, unless the answer is a bare header. */
static void check_question(const uint8_t *query, const uint8_t *answer, size_t n)
{
	size_t end = 12;

	if (!answer[5])
		return;
	REQUIRE(answer[4] == 0 && answer[5] == 1);
	while (end < n && answer[end] && answer[end] < 64)
		end += 1 + answer[end];
	end += 5;
	REQUIRE(end <= n);
	REQUIRE(ldns_read_uint16(query + 4) == 1);
}

static void check_answer(const uint8_t *query, const uint8_t *answer,
			 const struct dns_written *written, size_t limit)
{
	ldns_pkt *pkt;

	REQUIRE(written->length >= 12 && written->length <= limit);
	REQUIRE(!memcmp(query, answer, 2) && (answer[2] & 0x80));
	REQUIRE((unsigned int)(answer[3] & 15) == (written->rcode & 15));
	REQUIRE(ldns_wire2pkt(&pkt, answer, written->length) == LDNS_STATUS_OK);
	REQUIRE(!written->rcode || !ldns_pkt_ancount(pkt));
	REQUIRE(!written->truncated || !ldns_pkt_ancount(pkt));
	check_question(query, answer, written->length);
	ldns_pkt_free(pkt);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static uint8_t buf[DNS_MESSAGE];
	const struct dns_query udp = {data, size, 512}, tcp = {data, size, DNS_MESSAGE};
	struct dns_written written;

	if (!answerer)
		start();
	if (size > DNS_MESSAGE)
		return 0;
	if (dns_answer(answerer, table, &udp, buf, &written) == DNS_SEND)
		check_answer(data, buf, &written, DNS_UDP_PAYLOAD);
	if (dns_answer(answerer, table, &tcp, buf, &written) == DNS_SEND)
		check_answer(data, buf, &written, DNS_MESSAGE);
	return 0;
}
