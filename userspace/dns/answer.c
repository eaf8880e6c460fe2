/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * See answer.h. Before: server.c received it. After: server.c sends it, or forward.c asks somebody
 * else. Every error of the asker's has an answer; memory that is missing is SERVFAIL.
 */
#include "dns/answer.h"

#include <errno.h>
#include <ldns/ldns.h>
#include <stdlib.h>
#include <string.h>

#include "model/address.h"

#define HEADER 12

struct dns_answerer {
	struct dns_settings settings;
	ldns_rr *soa; /* its owner is the zone */
	struct dns_table *nothing;
	ldns_buffer *buffer;
};

struct dns_answerer *dns_answerer_free(struct dns_answerer *a)
{
	if (!a)
		return NULL;
	ldns_rr_free(a->soa);
	dns_table_free(a->nothing);
	if (a->buffer)
		ldns_buffer_free(a->buffer);
	free(a);
	return NULL;
}

int dns_answerer_new(const struct dns_settings *settings, struct dns_answerer **ret)
{
	_cleanup_(dns_answerer_freep) struct dns_answerer *a = calloc(1, sizeof(*a));
	char text[4 * DNS_NAME];
	const char *zone = settings->names.zone;

	if (!a)
		return -ENOMEM;
	a->settings = *settings;
	a->buffer = ldns_buffer_new(LDNS_MAX_PACKETLEN);
	(void)snprintf(text, sizeof(text), "%s. %u IN SOA %s. hostmaster.%s. 1 3600 600 86400 %u",
		       zone, settings->ttl, zone, zone, settings->ttl);
	if (!a->buffer)
		return -ENOMEM;
	if (ldns_rr_new_frm_str(&a->soa, text, 0, NULL, NULL) != LDNS_STATUS_OK)
		return -EINVAL;
	if (dns_table_new(NULL, 0, &a->nothing) < 0)
		return -ENOMEM;
	*ret = TAKE_PTR(a);
	return 0;
}

/* --- records ------------------------------------------------------------------------------ */

struct reply {
	struct dns_answerer *a;
	const struct dns_table *table;
	const ldns_rr *question;
	ldns_pkt *pkt;
	bool no_memory;
};

static void reply_push(struct reply *r, ldns_pkt_section section, ldns_rr *rr)
{
	if (rr && ldns_pkt_push_rr(r->pkt, section, rr))
		return;
	ldns_rr_free(rr);
	r->no_memory = true;
}

struct record {
	ldns_pkt_section section;
	ldns_rr_type type;
	ldns_rdf *owner; /* taken over, as the rdfs are; NULL: there was no memory */
};

static void reply_add(struct reply *r, const struct record *record, ldns_rdf **rdfs, size_t n)
{
	ldns_rr *rr = ldns_rr_new();

	for (size_t i = 0; i < n; i++) {
		if (rr && rdfs[i] && ldns_rr_push_rdf(rr, rdfs[i]))
			continue;
		ldns_rdf_deep_free(rdfs[i]);
		r->no_memory = true;
	}
	if (!rr || !record->owner || r->no_memory) {
		ldns_rr_free(rr);
		ldns_rdf_deep_free(record->owner);
		r->no_memory = true;
		return;
	}
	ldns_rr_set_owner(rr, record->owner);
	ldns_rr_set_type(rr, record->type);
	ldns_rr_set_class(rr, LDNS_RR_CLASS_IN);
	ldns_rr_set_ttl(rr, r->a->settings.ttl);
	reply_push(r, record->section, rr);
}

static ldns_rdf *asked_name(const struct reply *r)
{
	return ldns_rdf_clone(ldns_rr_owner(r->question));
}

static ldns_rdf *service_rdf(const struct reply *r, const struct service *s)
{
	char text[2 * 64 + DNS_NAME];

	(void)snprintf(text, sizeof(text), "%s.%s.%s.", s->name, s->namespace,
		       r->a->settings.names.zone);
	return ldns_dname_new_frm_str(text);
}

static bool wants(const struct reply *r, ldns_rr_type type)
{
	ldns_rr_type asked = ldns_rr_get_type(r->question);

	return asked == type || asked == LDNS_RR_TYPE_ANY;
}

static void add_address(struct reply *r, ldns_pkt_section section, ldns_rdf *owner,
			const struct sn_addr *addr)
{
	const uint8_t *bytes = (const uint8_t *)addr;
	bool four = address_is_v4(addr);
	ldns_rdf *rdf = four ? ldns_rdf_new_frm_data(LDNS_RDF_TYPE_A, 4, bytes + 12)
			     : ldns_rdf_new_frm_data(LDNS_RDF_TYPE_AAAA, 16, bytes);

	reply_add(r, &(struct record){section, four ? LDNS_RR_TYPE_A : LDNS_RR_TYPE_AAAA, owner},
		  &rdf, 1);
}

static void add_addresses(struct reply *r, const struct service *s)
{
	for (size_t i = 0; i < s->n_addresses; i++)
		if (wants(r, address_is_v4(&s->address[i]) ? LDNS_RR_TYPE_A : LDNS_RR_TYPE_AAAA))
			add_address(r, LDNS_SECTION_ANSWER, asked_name(r), &s->address[i]);
}

static void add_srv(struct reply *r, const struct service *s, size_t port)
{
	ldns_rdf *rdfs[] = {
		ldns_native2rdf_int16(LDNS_RDF_TYPE_INT16, 0),
		ldns_native2rdf_int16(LDNS_RDF_TYPE_INT16, 100),
		ldns_native2rdf_int16(LDNS_RDF_TYPE_INT16, s->ports[port].port),
		service_rdf(r, s),
	};

	reply_add(r, &(struct record){LDNS_SECTION_ANSWER, LDNS_RR_TYPE_SRV, asked_name(r)}, rdfs,
		  ARRAY_SIZE(rdfs));
}

static void add_srv_addresses(struct reply *r, const struct service *s)
{
	for (size_t i = 0; i < s->n_addresses; i++)
		add_address(r, LDNS_SECTION_ADDITIONAL, service_rdf(r, s), &s->address[i]);
}

/* A port of 0 is every port: there is none to name. */
static void add_ports(struct reply *r, const struct service *s, size_t from, size_t to)
{
	bool any = false;

	for (size_t i = from; wants(r, LDNS_RR_TYPE_SRV) && i < to; i++) {
		if (s->ports[i].port == SN_PORT_ANY)
			continue;
		add_srv(r, s, i);
		any = true;
	}
	if (any)
		add_srv_addresses(r, s);
}

static void add_apex(struct reply *r)
{
	const struct dns_settings *s = &r->a->settings;

	if (wants(r, LDNS_RR_TYPE_SOA))
		reply_push(r, LDNS_SECTION_ANSWER, ldns_rr_clone(r->a->soa));
	if (wants(r, LDNS_RR_TYPE_NS)) {
		ldns_rdf *rdf = ldns_rdf_clone(ldns_rr_owner(r->a->soa));

		reply_add(r, &(struct record){LDNS_SECTION_ANSWER, LDNS_RR_TYPE_NS, asked_name(r)},
			  &rdf, 1);
	}
	if (wants(r, address_is_v4(&s->own) ? LDNS_RR_TYPE_A : LDNS_RR_TYPE_AAAA))
		add_address(r, LDNS_SECTION_ANSWER, asked_name(r), &s->own);
}

static void add_pointer(struct reply *r, const struct service *s)
{
	ldns_rdf *rdf = wants(r, LDNS_RR_TYPE_PTR) ? service_rdf(r, s) : NULL;

	if (wants(r, LDNS_RR_TYPE_PTR))
		reply_add(r, &(struct record){LDNS_SECTION_ANSWER, LDNS_RR_TYPE_PTR, asked_name(r)},
			  &rdf, 1);
}

static void add_meaning(struct reply *r, const struct dns_meaning *m)
{
	if (m->kind == DNS_NOTHING)
		ldns_pkt_set_rcode(r->pkt, LDNS_RCODE_NXDOMAIN);
	else if (m->kind == DNS_APEX)
		add_apex(r);
	else if (m->kind == DNS_POINTER)
		add_pointer(r, m->service);
	else if (m->kind == DNS_PORT)
		add_ports(r, m->service, m->port, m->port + 1);
	else if (m->kind == DNS_SERVICE) {
		add_addresses(r, m->service);
		if (ldns_rr_get_type(r->question) == LDNS_RR_TYPE_SRV)
			add_ports(r, m->service, 0, m->service->n_ports);
	}
	ldns_pkt_set_aa(r->pkt, true);
	/* what there is not may be remembered, for the SOA's last number of seconds (RFC 2308) */
	if (!ldns_pkt_ancount(r->pkt))
		reply_push(r, LDNS_SECTION_AUTHORITY, ldns_rr_clone(r->a->soa));
}

/* --- the message -------------------------------------------------------------------------- */

/* Of a query that could not be taken apart, or for want of memory: its header, with our word. */
static enum dns_verdict answer_bare(const uint8_t *query, unsigned int rcode, uint8_t *buf,
				    struct dns_written *ret)
{
	memset(buf, 0, HEADER);
	memcpy(buf, query, 3);
	buf[2] = (uint8_t)(0x80 | (query[2] & 0x79)); /* QR; opcode and RD as asked */
	buf[3] = (uint8_t)rcode;
	*ret = (struct dns_written){.length = HEADER, .rcode = rcode};
	return DNS_SEND;
}

static void reply_edns(const ldns_pkt *query, ldns_pkt *pkt)
{
	if (!ldns_pkt_edns(query))
		return;
	ldns_pkt_set_edns_udp_size(pkt, DNS_UDP_PAYLOAD);
	ldns_pkt_set_edns_do(pkt, ldns_pkt_edns_do(query));
}

static int reply_init(struct reply *r, const ldns_pkt *query)
{
	ldns_rr *question = ldns_rr_clone(r->question);

	r->pkt = ldns_pkt_new();
	if (!r->pkt || !question || !ldns_pkt_push_rr(r->pkt, LDNS_SECTION_QUESTION, question)) {
		ldns_rr_free(question);
		return -ENOMEM;
	}
	ldns_rr_set_question(question, true);
	ldns_pkt_set_id(r->pkt, ldns_pkt_id(query));
	ldns_pkt_set_qr(r->pkt, true);
	ldns_pkt_set_rd(r->pkt, ldns_pkt_rd(query));
	ldns_pkt_set_cd(r->pkt, ldns_pkt_cd(query));
	ldns_pkt_set_ra(r->pkt, r->a->settings.forwards);
	reply_edns(query, r->pkt);
	return 0;
}

static size_t reply_limit(const ldns_pkt *query, size_t limit)
{
	size_t size = ldns_pkt_edns(query) ? ldns_pkt_edns_udp_size(query) : 0;

	if (limit >= DNS_UDP_PAYLOAD || size <= limit)
		return limit;
	return size < DNS_UDP_PAYLOAD ? size : DNS_UDP_PAYLOAD;
}

/* What the answer can do without (RFC 2181, 9); the OPT record stands elsewhere. */
static void drop_additional(ldns_pkt *pkt)
{
	ldns_rr_list_deep_free(ldns_pkt_additional(pkt));
	ldns_pkt_set_additional(pkt, ldns_rr_list_new());
	ldns_pkt_set_section_count(pkt, LDNS_SECTION_ADDITIONAL, 0);
}

static void drop_records(ldns_pkt *pkt)
{
	ldns_rr_list_deep_free(ldns_pkt_answer(pkt));
	ldns_rr_list_deep_free(ldns_pkt_authority(pkt));
	ldns_pkt_set_answer(pkt, ldns_rr_list_new());
	ldns_pkt_set_authority(pkt, ldns_rr_list_new());
	ldns_pkt_set_section_count(pkt, LDNS_SECTION_ANSWER, 0);
	ldns_pkt_set_section_count(pkt, LDNS_SECTION_AUTHORITY, 0);
	ldns_pkt_set_tc(pkt, true);
}

/* DNS_SEND, or -ENOMEM. */
static int reply_encode(struct reply *r, size_t limit, uint8_t *buf, struct dns_written *ret)
{
	for (int pass = 0; pass < 3; pass++) {
		ldns_buffer_clear(r->a->buffer);
		if (ldns_pkt2buffer_wire(r->a->buffer, r->pkt) != LDNS_STATUS_OK)
			return -ENOMEM;
		ret->length = ldns_buffer_position(r->a->buffer);
		if (ret->length <= limit)
			break;
		if (pass == 0) {
			drop_additional(r->pkt);
			continue;
		}
		drop_records(r->pkt);
		ret->truncated = true;
	}
	memcpy(buf, ldns_buffer_begin(r->a->buffer), ret->length);
	ret->rcode = ldns_pkt_get_rcode(r->pkt);
	return DNS_SEND;
}

/* 0: ours; an rcode: not answered, and why. */
static unsigned int query_check(const ldns_pkt *query)
{
	if (ldns_pkt_get_opcode(query) != LDNS_PACKET_QUERY)
		return LDNS_RCODE_NOTIMPL;
	if (ldns_pkt_qdcount(query) != 1 || ldns_pkt_ancount(query) || ldns_pkt_nscount(query))
		return LDNS_RCODE_FORMERR;
	return LDNS_RCODE_NOERROR;
}

/* Other classes, and whole zones. */
static bool is_refused(const ldns_rr *question)
{
	ldns_rr_type type = ldns_rr_get_type(question);

	return ldns_rr_get_class(question) != LDNS_RR_CLASS_IN || type == LDNS_RR_TYPE_AXFR ||
	       type == LDNS_RR_TYPE_IXFR;
}

/* Whether the name is somebody else's, and there is one to ask. */
static bool reply_fill(struct reply *r, const ldns_pkt *query)
{
	const ldns_rdf *owner = ldns_rr_owner(r->question);
	struct dns_meaning meaning;
	char text[DNS_NAME];

	if (ldns_pkt_edns(query) && ldns_pkt_edns_version(query)) {
		ldns_pkt_set_edns_extended_rcode(r->pkt, 1); /* BADVERS */
		return false;
	}
	if (is_refused(r->question)) {
		ldns_pkt_set_rcode(r->pkt, LDNS_RCODE_REFUSED);
		return false;
	}
	if (dns_name_text(ldns_rdf_data(owner), ldns_rdf_size(owner), text) < 0) {
		ldns_pkt_set_rcode(r->pkt, LDNS_RCODE_FORMERR);
		return false;
	}
	dns_name_read(&r->a->settings.names, r->table ?: r->a->nothing, text, &meaning);
	if (meaning.kind != DNS_FOREIGN && !r->table)
		ldns_pkt_set_rcode(r->pkt, LDNS_RCODE_SERVFAIL);
	else if (meaning.kind != DNS_FOREIGN)
		add_meaning(r, &meaning);
	else if (r->a->settings.forwards)
		return true;
	else
		ldns_pkt_set_rcode(r->pkt, LDNS_RCODE_REFUSED);
	return false;
}

/* What the reply was to be becomes the query to a resolver. */
static int reply_forward(struct reply *r, const ldns_pkt *query, uint8_t *buf,
			 struct dns_written *ret)
{
	ldns_pkt_set_id(r->pkt, 0);
	ldns_pkt_set_qr(r->pkt, false);
	ldns_pkt_set_ra(r->pkt, false);
	ldns_pkt_set_ad(r->pkt, ldns_pkt_ad(query));
	return reply_encode(r, DNS_MESSAGE, buf, ret) < 0 ? -ENOMEM : DNS_FORWARD;
}

/* An enum dns_verdict, or -ENOMEM. */
static int answer_query(struct reply *r, const ldns_pkt *query, size_t limit, uint8_t *buf,
			struct dns_written *ret)
{
	if (reply_init(r, query) < 0)
		return -ENOMEM;
	ret->limit = reply_limit(query, limit);
	if (reply_fill(r, query))
		return reply_forward(r, query, buf, ret);
	if (r->no_memory)
		return -ENOMEM;
	return reply_encode(r, ret->limit, buf, ret);
}

enum dns_verdict dns_answer(struct dns_answerer *a, const struct dns_table *t,
			    const struct dns_query *query, uint8_t *buf, struct dns_written *ret)
{
	struct reply r = {a, t};
	ldns_pkt *pkt = NULL;
	unsigned int rcode;
	int verdict = DNS_SEND;

	*ret = (struct dns_written){};
	if (query->length < HEADER || query->data[2] & 0x80)
		return DNS_DROP;
	if (ldns_wire2pkt(&pkt, query->data, query->length) != LDNS_STATUS_OK)
		return answer_bare(query->data, LDNS_RCODE_FORMERR, buf, ret);
	rcode = query_check(pkt);
	if (!rcode) {
		r.question = ldns_rr_list_rr(ldns_pkt_question(pkt), 0);
		verdict = answer_query(&r, pkt, query->limit, buf, ret);
		ldns_pkt_free(r.pkt);
		rcode = verdict < 0 ? LDNS_RCODE_SERVFAIL : 0;
	}
	ldns_pkt_free(pkt);
	return rcode ? answer_bare(query->data, rcode, buf, ret) : (enum dns_verdict)verdict;
}
