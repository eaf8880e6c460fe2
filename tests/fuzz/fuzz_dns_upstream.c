/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Bytes as a query that was passed on (length, query), and what a resolver says to it. Whatever
 * they are: what counts as an answer has the query's id and question and can be read; what the
 * asker gets keeps to its size, has its id and the question as it was written, and can be read,
 * too.
 */
#include <ldns/ldns.h>
#include <stdlib.h>
#include <string.h>

#include "dns/upstream.h"
#include "fuzz/require.h"

static void check_head(const uint8_t *data, size_t n)
{
	REQUIRE(n >= 12 && data[0] == 0xab && data[1] == 0xcd && (data[2] & 0x80));
	REQUIRE(data[4] == 0 && data[5] == 1);
}

static void check_readable(const uint8_t *data, size_t n)
{
	ldns_pkt *pkt = NULL;

	REQUIRE(ldns_wire2pkt(&pkt, data, n) == LDNS_STATUS_OK);
	ldns_pkt_free(pkt);
}

static void check_answered(const struct dns_upstream *u, const uint8_t *answer, size_t n)
{
	static const size_t limits[] = {512, 1232, 65535};
	size_t room = n < DNS_UPSTREAM_QUERY ? DNS_UPSTREAM_QUERY : n;

	REQUIRE(!memcmp(answer, u->data, 2));
	for (size_t i = 0; i < 3; i++) {
		const struct dns_upstream_asker asker = {0xabcd, limits[i]};
		uint8_t *copy = malloc(room);
		size_t length;

		REQUIRE(copy != NULL);
		memcpy(copy, answer, n);
		length = dns_upstream_finish(u, &asker, copy, n);
		REQUIRE(length <= limits[i] && length <= room);
		REQUIRE(length == n || (copy[2] & 2));
		check_head(copy, length);
		if (length == n)
			check_readable(copy, length);
		free(copy);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	uint8_t failure[DNS_UPSTREAM_QUERY];
	struct dns_upstream u;
	size_t n, length;

	if (size < 4)
		return 0;
	n = (size_t)data[0] << 8 | data[1];
	if (n + 2 > size || n < 2 ||
	    dns_upstream_make(data + 2, n, (uint16_t)(data[2] << 8 | data[3]), &u) < 0)
		return 0;
	REQUIRE(u.length == n && n <= DNS_UPSTREAM_QUERY);
	length = dns_upstream_fail(&u, 0xabcd, failure);
	REQUIRE(length == n && (failure[3] & 15) == 2);
	check_head(failure, length);
	if (dns_upstream_read(&u, data + 2 + n, size - 2 - n) == DNS_UPSTREAM_ANSWERED)
		check_answered(&u, data + 2 + n, size - 2 - n);
	return 0;
}
