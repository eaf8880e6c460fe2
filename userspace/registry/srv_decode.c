/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * See srv_decode.h. Before: dns/forward.c brought it. After: srv_service.c. Must never believe a
 * record of a name that nobody asked for, but addresses of targets, which the resolver adds.
 */
#include "registry/srv_decode.h"

#include <errno.h>
#include <ldns/ldns.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "model/address.h"

#define HEADER 12
#define PAYLOAD 1232 /* that passes any link whole (DNS flag day 2020) */
#define ALIASES 8    /* in a row */

_Static_assert((int)SRV_A == LDNS_RR_TYPE_A && (int)SRV_AAAA == LDNS_RR_TYPE_AAAA &&
		       (int)SRV_SRV == LDNS_RR_TYPE_SRV,
	       "numbers of the wire");

/* --- questions -------------------------------------------------------------------------------- */

int srv_encode(const char *name, enum srv_type type, uint8_t buf[static DNS_UPSTREAM_QUERY])
{
	ldns_rdf *dname = *name ? ldns_dname_new_frm_str(name) : NULL;
	/* RD; one question, and an OPT record */
	static const uint8_t header[HEADER] = {0, 0, 1, 0, 0, 1, 0, 0, 0, 0, 0, 1};
	const uint8_t question[] = {0, (uint8_t)type, 0, LDNS_RR_CLASS_IN};
	static const uint8_t opt[] = {
		0, 0, LDNS_RR_TYPE_OPT, PAYLOAD >> 8, PAYLOAD & 255, 0, 0, 0, 0, 0, 0};
	size_t n = dname ? ldns_rdf_size(dname) : 0, at = HEADER + n;

	if (!n || n >= DNS_NAME) {
		ldns_rdf_deep_free(dname);
		return -EINVAL;
	}
	memcpy(buf, header, HEADER);
	memcpy(buf + HEADER, ldns_rdf_data(dname), n);
	memcpy(buf + at, question, sizeof(question));
	memcpy(buf + at + sizeof(question), opt, sizeof(opt));
	ldns_rdf_deep_free(dname);
	return (int)(at + sizeof(question) + sizeof(opt));
}

/* --- answers ---------------------------------------------------------------------------------- */

struct reading {
	struct srv_answer answer;
	char name[DNS_NAME]; /* asked for, or what that stands for */
};

void srv_answer_done(struct srv_answer *a)
{
	free(a->records);
	free(a->addresses);
	*a = (struct srv_answer){};
}

/* False: it has a byte that no name of a host has. */
static bool name_of(const ldns_rdf *dname, char ret[static DNS_NAME])
{
	return dname && ldns_rdf_get_type(dname) == LDNS_RDF_TYPE_DNAME &&
	       dns_name_text(ldns_rdf_data(dname), ldns_rdf_size(dname), ret) >= 0 &&
	       !strchr(ret, '?');
}

static bool is_of(const ldns_rr *rr, ldns_rr_type type, const char *name)
{
	char owner[DNS_NAME];

	return ldns_rr_get_type(rr) == type && ldns_rr_get_class(rr) == LDNS_RR_CLASS_IN &&
	       name_of(ldns_rr_owner(rr), owner) && !strcmp(owner, name);
}

static void note_ttl(struct srv_answer *a, uint32_t ttl)
{
	if (!a->ttl_s || ttl < a->ttl_s)
		a->ttl_s = ttl ? ttl : 1;
}

static void follow_aliases(struct reading *in, const ldns_rr_list *list)
{
	for (size_t hops = 0, i = 0; hops < ALIASES && i < ldns_rr_list_rr_count(list); i++) {
		const ldns_rr *rr = ldns_rr_list_rr(list, i);
		char target[DNS_NAME];

		if (!is_of(rr, LDNS_RR_TYPE_CNAME, in->name) ||
		    !name_of(ldns_rr_rdf(rr, 0), target) || !*target)
			continue;
		note_ttl(&in->answer, ldns_rr_ttl(rr));
		memcpy(in->name, target, sizeof(target));
		hops++;
		i = (size_t)-1; /* they may stand in any order */
	}
}

static void read_record(struct srv_answer *a, const ldns_rr *rr)
{
	struct srv_record *to = &a->records[a->n_records];
	const ldns_rdf *target = ldns_rr_rdf(rr, 3);

	if (ldns_rr_rd_count(rr) != 4 || a->n_records == SRV_RECORDS) {
		a->skipped++;
		return;
	}
	to->priority = ldns_rdf2native_int16(ldns_rr_rdf(rr, 0));
	to->weight = ldns_rdf2native_int16(ldns_rr_rdf(rr, 1));
	to->port = ldns_rdf2native_int16(ldns_rr_rdf(rr, 2));
	if (ldns_rdf_size(target) == 1)
		*to->target = '\0';
	else if (!to->port || !name_of(target, to->target)) {
		a->skipped++;
		return;
	}
	note_ttl(a, ldns_rr_ttl(rr));
	a->n_records++;
}

/* `name`: whose it is said to be. */
static void read_address(struct srv_answer *a, const ldns_rr *rr, const char *name)
{
	struct srv_address *to = &a->addresses[a->n_addresses];
	const ldns_rdf *rdf = ldns_rr_rdf(rr, 0);
	size_t n = rdf ? ldns_rdf_size(rdf) : 0;
	uint8_t bytes[16] = {[10] = 0xff, [11] = 0xff};

	if ((n != 4 && n != 16) || a->n_addresses == SRV_ADDRESSES) {
		a->skipped++;
		return;
	}
	memcpy(bytes + 16 - n, ldns_rdf_data(rdf), n);
	memcpy(&to->addr, bytes, sizeof(bytes));
	if (!address_is_target(&to->addr)) {
		a->skipped++;
		return;
	}
	(void)snprintf(to->name, sizeof(to->name), "%s", name);
	note_ttl(a, ldns_rr_ttl(rr));
	a->n_addresses++;
}

static void read_answers(struct reading *in, const ldns_rr_list *list, enum srv_type type)
{
	for (size_t i = 0; i < ldns_rr_list_rr_count(list); i++) {
		const ldns_rr *rr = ldns_rr_list_rr(list, i);

		if (!is_of(rr, (ldns_rr_type)type, in->name))
			continue;
		if (type == SRV_SRV)
			read_record(&in->answer, rr);
		else
			read_address(&in->answer, rr, in->name);
	}
}

static bool is_target(const struct srv_answer *a, const char *name)
{
	for (size_t i = 0; *name && i < a->n_records; i++)
		if (!strcmp(a->records[i].target, name))
			return true;
	return false;
}

/* Of targets alone: nothing else was asked about. */
static void read_additional(struct reading *in, const ldns_rr_list *list)
{
	for (size_t i = 0; i < ldns_rr_list_rr_count(list); i++) {
		const ldns_rr *rr = ldns_rr_list_rr(list, i);
		ldns_rr_type type = ldns_rr_get_type(rr);
		char owner[DNS_NAME];

		if ((type == LDNS_RR_TYPE_A || type == LDNS_RR_TYPE_AAAA) &&
		    ldns_rr_get_class(rr) == LDNS_RR_CLASS_IN &&
		    name_of(ldns_rr_owner(rr), owner) && is_target(&in->answer, owner))
			read_address(&in->answer, rr, owner);
	}
}

/* How long there is nothing (RFC 2308). */
static void read_absence(struct srv_answer *a, const ldns_rr_list *authority)
{
	for (size_t i = 0; i < ldns_rr_list_rr_count(authority); i++) {
		const ldns_rr *rr = ldns_rr_list_rr(authority, i);
		uint32_t least;

		if (ldns_rr_get_type(rr) != LDNS_RR_TYPE_SOA || ldns_rr_rd_count(rr) != 7)
			continue;
		least = ldns_rdf2native_int32(ldns_rr_rdf(rr, 6));
		note_ttl(a, ldns_rr_ttl(rr) < least ? ldns_rr_ttl(rr) : least);
	}
}

static enum srv_word word_of(unsigned int rcode, size_t n)
{
	switch (rcode) {
	case LDNS_RCODE_NOERROR:
		return n ? SRV_GIVEN : SRV_NOTHING;
	case LDNS_RCODE_NXDOMAIN:
		return SRV_NO_NAME;
	case LDNS_RCODE_REFUSED:
		return SRV_REFUSED;
	default:
		return SRV_FAILED;
	}
}

static int read_packet(struct reading *in, const ldns_pkt *pkt, enum srv_type type)
{
	struct srv_answer *a = &in->answer;
	size_t n = ldns_rr_list_rr_count(ldns_pkt_answer(pkt));
	size_t more = ldns_rr_list_rr_count(ldns_pkt_additional(pkt));

	a->rcode = ldns_pkt_get_rcode(pkt);
	a->records = calloc((n < SRV_RECORDS ? n : SRV_RECORDS) + 1, sizeof(*a->records));
	a->addresses = calloc((n + more < SRV_ADDRESSES ? n + more : SRV_ADDRESSES) + 1,
			      sizeof(*a->addresses));
	if (!a->records || !a->addresses)
		return -ENOMEM;
	if (a->rcode == LDNS_RCODE_NOERROR) {
		follow_aliases(in, ldns_pkt_answer(pkt));
		read_answers(in, ldns_pkt_answer(pkt), type);
		if (type == SRV_SRV)
			read_additional(in, ldns_pkt_additional(pkt));
	}
	a->word = word_of(a->rcode, a->n_records + a->n_addresses + a->skipped);
	if (a->word == SRV_NOTHING || a->word == SRV_NO_NAME)
		read_absence(a, ldns_pkt_authority(pkt));
	return 0;
}

int srv_decode(const uint8_t *answer, size_t n, const char *name, enum srv_type type,
	       struct srv_answer *ret)
{
	struct reading in = {};
	ldns_pkt *pkt = NULL;
	int r;

	(void)snprintf(in.name, sizeof(in.name), "%s", name);
	/* A bare header is how some refuse. */
	if (n < HEADER || ldns_wire2pkt(&pkt, answer, n) != LDNS_STATUS_OK)
		return -EBADMSG;
	r = read_packet(&in, pkt, type);
	ldns_pkt_free(pkt);
	if (r < 0)
		srv_answer_done(&in.answer);
	else
		*ret = in.answer;
	return r;
}
