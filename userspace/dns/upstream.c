/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * See upstream.h. Before: forward.c received it. After: server.c sends it on. What comes from a
 * network is taken apart once, by ldns, and passed on only if that succeeds.
 */
#include "dns/upstream.h"

#include <ctype.h>
#include <errno.h>
#include <ldns/ldns.h>
#include <string.h>

#define HEADER 12
#define FLAG_QR 0x80 /* of byte 2 */
#define FLAG_TC 0x02
#define FLAG_RA 0x80 /* of byte 3 */
#define OPCODE 0x78
#define RCODE 0x0f

/* The end of the one question; 0: there is none, or its name is compressed. */
static size_t question_end(const uint8_t *data, size_t n)
{
	size_t at = HEADER;

	if (n < HEADER || data[4] || data[5] != 1)
		return 0;
	while (at < n && data[at] && data[at] < 64)
		at += 1 + data[at];
	return at < n && !data[at] && n - at >= 5 ? at + 5 : 0;
}

int dns_upstream_make(const uint8_t *query, size_t n, uint16_t id, struct dns_upstream *ret)
{
	if (n > sizeof(ret->data) || !question_end(query, n))
		return -EINVAL;
	memcpy(ret->data, query, n);
	ret->data[0] = (uint8_t)(id >> 8);
	ret->data[1] = (uint8_t)id;
	ret->length = n;
	return 0;
}

/* Upper and lower case are the same, whoever of the two writes which (RFC 4343). Lengths of labels
 * are below 64, and so no letters. */
static bool is_same_question(const uint8_t *a, const uint8_t *b, size_t end)
{
	for (size_t i = HEADER; i < end - 4; i++)
		if (tolower(a[i]) != tolower(b[i]))
			return false;
	return !memcmp(a + end - 4, b + end - 4, 4);
}

static bool is_sound(const uint8_t *answer, size_t n)
{
	ldns_pkt *pkt = NULL;

	if (ldns_wire2pkt(&pkt, answer, n) != LDNS_STATUS_OK)
		return false;
	ldns_pkt_free(pkt);
	return true;
}

enum dns_upstream_word dns_upstream_read(const struct dns_upstream *u, const uint8_t *answer,
					 size_t n)
{
	size_t end = question_end(u->data, u->length);
	unsigned int rcode;

	if (n < end || memcmp(answer, u->data, 2) != 0 || !(answer[2] & FLAG_QR) ||
	    (answer[2] & OPCODE) != (u->data[2] & OPCODE) || question_end(answer, n) != end ||
	    !is_same_question(u->data, answer, end))
		return DNS_UPSTREAM_FOREIGN;
	if (answer[2] & FLAG_TC)
		return DNS_UPSTREAM_TRUNCATED;
	if (!is_sound(answer, n))
		return DNS_UPSTREAM_UNABLE;
	rcode = answer[3] & RCODE;
	return rcode == LDNS_RCODE_NOERROR || rcode == LDNS_RCODE_NXDOMAIN ? DNS_UPSTREAM_ANSWERED
									   : DNS_UPSTREAM_UNABLE;
}

/* What is left of an answer: header, question and, if the asker has EDNS, our OPT record. */
static size_t cut(const struct dns_upstream *u, uint8_t *answer)
{
	memcpy(answer + 4, u->data + 4, u->length - 4);
	return u->length;
}

static void put_id(uint8_t *answer, uint16_t id)
{
	answer[0] = (uint8_t)(id >> 8);
	answer[1] = (uint8_t)id;
}

size_t dns_upstream_finish(const struct dns_upstream *u, const struct dns_upstream_asker *asker,
			   uint8_t *answer, size_t n)
{
	size_t end = question_end(u->data, u->length);

	put_id(answer, asker->id);
	if (n > asker->limit) {
		answer[2] |= FLAG_TC;
		return cut(u, answer);
	}
	memcpy(answer + HEADER, u->data + HEADER, end - HEADER); /* as the asker wrote it */
	return n;
}

size_t dns_upstream_fail(const struct dns_upstream *u, uint16_t id, uint8_t *buf)
{
	memset(buf, 0, HEADER);
	put_id(buf, id);
	buf[2] = (uint8_t)(FLAG_QR | (u->data[2] & (OPCODE | 0x01))); /* RD as asked */
	buf[3] = FLAG_RA | LDNS_RCODE_SERVFAIL;
	return cut(u, buf);
}
