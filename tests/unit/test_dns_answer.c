/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * dns/answer and dns/name: what each question is answered, read back from the wire by ldns.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <ldns/ldns.h>
#include <stdlib.h>
#include <string.h>

#include "dns/answer.h"
#include "harness/model.h"
#include "model/address.h"

#define SERVICE(namespace, name, address, ports)                                                   \
	"{'apiVersion':'sinew/v1','kind':'Service',"                                               \
	"'metadata':{'namespace':'" namespace "','name':'" name "'},"                              \
					      "'spec':{'addresses':[" address "],'ports':[" ports  \
					      "]}}"

static const char *const texts[] = {
	SERVICE("shop", "payments", "'10.96.0.10','fd96::10'",
		"{'name':'http','port':80},{'name':'dns','port':53,'protocol':'UDP'}"),
	SERVICE("default", "mail", "'10.96.0.11'", "{'name':'smtp','port':25}"),
	SERVICE("shop", "mail", "'10.96.0.12'", "{'port':25}"),
	SERVICE("a", "twin", "'10.96.0.13'", "{'port':1}"),
	SERVICE("b", "twin", "'10.96.0.14'", "{'port':1}"),
};

struct fixture {
	struct dns_answerer *answerer;
	struct dns_table *table;
};

static struct dns_answerer *answerer(bool forwards, const char *zone)
{
	struct dns_settings settings = {.ttl = 5, .forwards = forwards};
	struct dns_answerer *a;

	assert_int_equal(dns_names_set_zone(&settings.names, zone), 0);
	assert_int_equal(dns_names_add_alias(&settings.names, "*.service.consul"), 0);
	assert_int_equal(address_parse("127.0.0.54", &settings.own), 0);
	assert_int_equal(dns_answerer_new(&settings, &a), 0);
	return a;
}

static int setup(void **state)
{
	static struct fixture f;
	struct service *services[ARRAY_SIZE(texts)];
	struct object objects[ARRAY_SIZE(texts)];

	for (size_t i = 0; i < ARRAY_SIZE(texts); i++) {
		objects[i] = model_object(texts[i], "test");
		services[i] = objects[i].service;
	}
	assert_int_equal(dns_table_new(services, ARRAY_SIZE(texts), &f.table), 0);
	for (size_t i = 0; i < ARRAY_SIZE(texts); i++)
		object_done(&objects[i]);
	f.answerer = answerer(false, "sinew");
	*state = &f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	dns_answerer_free(f->answerer);
	dns_table_free(f->table);
	return 0;
}

/* --- asking ------------------------------------------------------------------------------- */

static ldns_pkt *query_of(const char *name, ldns_rr_type type)
{
	ldns_pkt *query =
		ldns_pkt_query_new(ldns_dname_new_frm_str(name), type, LDNS_RR_CLASS_IN, LDNS_RD);

	assert_non_null(query);
	ldns_pkt_set_id(query, 4711);
	return query;
}

static ldns_pkt *ask_pkt(struct fixture *f, ldns_pkt *query, size_t limit)
{
	static uint8_t buf[DNS_MESSAGE];
	struct dns_written written;
	ldns_pkt *ret;
	uint8_t *wire;
	size_t n;

	assert_int_equal(ldns_pkt2wire(&wire, query, &n), LDNS_STATUS_OK);
	assert_int_equal(dns_answer(f->answerer, f->table, &(struct dns_query){wire, n, limit}, buf,
				    &written),
			 DNS_SEND);
	assert_true(written.length <= limit ||
		    (ldns_pkt_edns(query) && written.length <= DNS_UDP_PAYLOAD));
	assert_int_equal(ldns_wire2pkt(&ret, buf, written.length), LDNS_STATUS_OK);
	assert_int_equal(ldns_pkt_id(ret), 4711);
	assert_int_equal(ldns_pkt_get_rcode(ret), written.rcode);
	assert_true(ldns_pkt_qr(ret) && ldns_pkt_rd(ret) == ldns_pkt_rd(query));
	free(wire);
	return ret;
}

/* "NOERROR aa A 10.96.0.10; ..." of the answer and, behind "+", of the additional section. */
static char *words_of(const ldns_pkt *pkt)
{
	static char text[4096];
	const ldns_rr_list *lists[] = {ldns_pkt_answer(pkt), ldns_pkt_additional(pkt)};
	char *code = ldns_pkt_rcode2str(ldns_pkt_get_rcode(pkt));
	size_t used =
		(size_t)snprintf(text, sizeof(text), "%s%s%s", code, ldns_pkt_aa(pkt) ? " aa" : "",
				 ldns_pkt_tc(pkt) ? " tc" : "");

	free(code);
	for (size_t i = 0; i < ARRAY_SIZE(lists); i++)
		for (size_t j = 0; j < ldns_rr_list_rr_count(lists[i]); j++) {
			ldns_rr *rr = ldns_rr_list_rr(lists[i], j);
			char *type = ldns_rr_type2str(ldns_rr_get_type(rr));

			used += (size_t)snprintf(text + used, sizeof(text) - used, "%s %s",
						 i ? " +" : "", type);
			free(type);
			for (size_t k = 0; k < ldns_rr_rd_count(rr); k++) {
				char *rdf = ldns_rdf2str(ldns_rr_rdf(rr, k));

				used += (size_t)snprintf(text + used, sizeof(text) - used, " %s",
							 rdf);
				free(rdf);
			}
		}
	if (ldns_pkt_nscount(pkt))
		(void)snprintf(text + used, sizeof(text) - used, " soa");
	return text;
}

static char *ask(struct fixture *f, const char *name, ldns_rr_type type)
{
	ldns_pkt *query = query_of(name, type), *answer = ask_pkt(f, query, 512);
	char *words = words_of(answer);

	ldns_pkt_free(query);
	ldns_pkt_free(answer);
	return words;
}

static void test_every_question_has_its_answer(void **state)
{
	static const struct {
		const char *name;
		ldns_rr_type type;
		const char *want;
	} rows[] = {
		{"payments.shop.sinew.", LDNS_RR_TYPE_A, "NOERROR aa A 10.96.0.10"},
		{"payments.shop.sinew.", LDNS_RR_TYPE_AAAA, "NOERROR aa AAAA fd96::10"},
		{"payments.shop.sinew.", LDNS_RR_TYPE_ANY, "NOERROR aa A 10.96.0.10 AAAA fd96::10"},
		{"payments.shop.sinew.", LDNS_RR_TYPE_TXT, "NOERROR aa soa"},
		{"payments.sinew.", LDNS_RR_TYPE_A, "NOERROR aa A 10.96.0.10"},
		{"PayMents.SHOP.sinew.", LDNS_RR_TYPE_A, "NOERROR aa A 10.96.0.10"},
		{"mail.sinew.", LDNS_RR_TYPE_A, "NOERROR aa A 10.96.0.11"},
		{"mail.sinew.", LDNS_RR_TYPE_AAAA, "NOERROR aa soa"},
		{"mail.shop.sinew.", LDNS_RR_TYPE_A, "NOERROR aa A 10.96.0.12"},
		{"twin.sinew.", LDNS_RR_TYPE_A, "NXDOMAIN aa soa"}, /* which of the two? */
		{"twin.b.sinew.", LDNS_RR_TYPE_A, "NOERROR aa A 10.96.0.14"},
		{"nobody.sinew.", LDNS_RR_TYPE_A, "NXDOMAIN aa soa"},
		{"nobody.shop.sinew.", LDNS_RR_TYPE_A, "NXDOMAIN aa soa"},
		{"x.payments.shop.sinew.", LDNS_RR_TYPE_A, "NXDOMAIN aa soa"},
		{"shop.sinew.", LDNS_RR_TYPE_A, "NOERROR aa soa"}, /* names are below it */
		{"sinew.", LDNS_RR_TYPE_A, "NOERROR aa A 127.0.0.54"},
		{"sinew.", LDNS_RR_TYPE_NS, "NOERROR aa NS sinew."},
		{"sinew.", LDNS_RR_TYPE_SOA,
		 "NOERROR aa SOA sinew. hostmaster.sinew. 1 3600 600 86400 5"},
		{"payments.service.consul.", LDNS_RR_TYPE_A, "NOERROR aa A 10.96.0.10"},
		{"nobody.service.consul.", LDNS_RR_TYPE_A, "NXDOMAIN aa soa"},
		{"_http._tcp.payments.shop.sinew.", LDNS_RR_TYPE_SRV,
		 "NOERROR aa SRV 0 100 80 payments.shop.sinew. + A 10.96.0.10 + AAAA fd96::10"},
		{"_dns._udp.payments.sinew.", LDNS_RR_TYPE_SRV,
		 "NOERROR aa SRV 0 100 53 payments.shop.sinew. + A 10.96.0.10 + AAAA fd96::10"},
		{"_dns._tcp.payments.sinew.", LDNS_RR_TYPE_SRV, "NXDOMAIN aa soa"},
		{"_tcp.payments.sinew.", LDNS_RR_TYPE_SRV, "NOERROR aa soa"},
		{"mail.sinew.", LDNS_RR_TYPE_SRV,
		 "NOERROR aa SRV 0 100 25 mail.default.sinew. + A 10.96.0.11"},
		{"10.0.96.10.in-addr.arpa.", LDNS_RR_TYPE_PTR,
		 "NOERROR aa PTR payments.shop.sinew."},
		{"10.0.96.10.in-addr.arpa.", LDNS_RR_TYPE_A, "NOERROR aa soa"},
		{"0.1.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.6.9.d.f.ip6.arpa.",
		 LDNS_RR_TYPE_PTR, "NOERROR aa PTR payments.shop.sinew."},
		{"9.9.9.9.in-addr.arpa.", LDNS_RR_TYPE_PTR, "REFUSED"},
		{"300.0.96.10.in-addr.arpa.", LDNS_RR_TYPE_PTR, "REFUSED"},
		{"1.0.96.10.0.in-addr.arpa.", LDNS_RR_TYPE_PTR, "REFUSED"},
		{"example.org.", LDNS_RR_TYPE_A, "REFUSED"},
		{"notsinew.", LDNS_RR_TYPE_A, "REFUSED"},
		{".", LDNS_RR_TYPE_NS, "REFUSED"},
		{"sinew.", LDNS_RR_TYPE_AXFR, "REFUSED"},
		/* a byte that ends texts is in no name of ours */
		{"mail\\000x.sinew.", LDNS_RR_TYPE_A, "NXDOMAIN aa soa"},
		{"mail\\.shop.sinew.", LDNS_RR_TYPE_A, "NXDOMAIN aa soa"},
	};

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		print_message("%s\n", rows[i].name);
		assert_string_equal(ask(*state, rows[i].name, rows[i].type), rows[i].want);
	}
}

static void test_the_question_comes_back_as_it_was_written(void **state)
{
	ldns_pkt *query = query_of("PaYmEnTs.ShOp.SiNeW.", LDNS_RR_TYPE_A);
	ldns_pkt *answer = ask_pkt(*state, query, 512);
	char *text = ldns_rdf2str(ldns_rr_owner(ldns_rr_list_rr(ldns_pkt_question(answer), 0)));

	assert_string_equal(text, "PaYmEnTs.ShOp.SiNeW.");
	free(text);
	text = ldns_rdf2str(ldns_rr_owner(ldns_rr_list_rr(ldns_pkt_answer(answer), 0)));
	assert_string_equal(text, "PaYmEnTs.ShOp.SiNeW.");
	free(text);
	ldns_pkt_free(query);
	ldns_pkt_free(answer);
}

static void test_edns(void **state)
{
	ldns_pkt *query = query_of("mail.sinew.", LDNS_RR_TYPE_A), *answer;

	ldns_pkt_set_edns_udp_size(query, 4096);
	ldns_pkt_set_edns_do(query, true);
	answer = ask_pkt(*state, query, 512);
	assert_true(ldns_pkt_edns(answer) && ldns_pkt_edns_do(answer));
	assert_int_equal(ldns_pkt_edns_udp_size(answer), DNS_UDP_PAYLOAD);
	ldns_pkt_free(answer);
	ldns_pkt_set_edns_version(query, 1);
	answer = ask_pkt(*state, query, 512);
	assert_int_equal(ldns_pkt_edns_extended_rcode(answer), 1); /* BADVERS is 16 */
	assert_int_equal(ldns_pkt_ancount(answer), 0);
	ldns_pkt_free(answer);
	ldns_pkt_free(query);
}

/* RFC 6891, 6.1.1: who has EDNS is answered with it, whatever the answer is. */
static void test_what_is_refused_is_told_with_its_question_and_edns(void **state)
{
	static const struct {
		const char *name;
		ldns_rr_type type;
		ldns_rr_class class;
	} cases[] = {
		{"SiNeW.", LDNS_RR_TYPE_AXFR, LDNS_RR_CLASS_IN},
		{"mail.sinew.", LDNS_RR_TYPE_IXFR, LDNS_RR_CLASS_IN},
		{"version.bind.", LDNS_RR_TYPE_TXT, LDNS_RR_CLASS_CH},
		{"mail.sinew.", LDNS_RR_TYPE_A, LDNS_RR_CLASS_HS},
		{"example.org.", LDNS_RR_TYPE_A, LDNS_RR_CLASS_IN},
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		ldns_pkt *query = query_of(cases[i].name, cases[i].type), *answer;
		ldns_rr *question = ldns_rr_list_rr(ldns_pkt_question(query), 0);

		ldns_rr_set_class(question, cases[i].class);
		ldns_pkt_set_edns_udp_size(query, 4096);
		answer = ask_pkt(*state, query, 512);
		assert_string_equal(words_of(answer), "REFUSED");
		assert_true(ldns_pkt_edns(answer));
		assert_int_equal(ldns_pkt_qdcount(answer), 1);
		assert_int_equal(
			ldns_rr_compare(ldns_rr_list_rr(ldns_pkt_question(answer), 0), question),
			0);
		ldns_pkt_free(answer);
		ldns_pkt_free(query);
	}
}

/* RFC 2181, 9: what only could be there is no reason to ask again. */
static void test_what_is_added_goes_before_the_answer_is_cut(void **state)
{
	struct fixture f = *(struct fixture *)*state;
	ldns_pkt *query = query_of("payments.shop.sinew.", LDNS_RR_TYPE_SRV), *answer;
	size_t whole;

	answer = ask_pkt(&f, query, 512);
	whole = ldns_pkt_size(answer);
	assert_int_equal(ldns_pkt_ancount(answer), 2);
	assert_int_equal(ldns_pkt_arcount(answer), 2);
	ldns_pkt_free(answer);
	answer = ask_pkt(&f, query, whole - 1);
	assert_int_equal(ldns_pkt_ancount(answer), 2);
	assert_int_equal(ldns_pkt_arcount(answer), 0);
	assert_false(ldns_pkt_tc(answer));
	ldns_pkt_free(answer);
	ldns_pkt_free(query);
}

/* 32 ports with long names: more than 512 bytes of SRV. */
static void test_what_does_not_fit_says_so_and_fits_over_tcp(void **state)
{
	struct fixture f = *(struct fixture *)*state;
	struct service_port ports[32];
	char names[32][16];
	struct service draft = {.namespace = (char *)"n",
				.name = (char *)"many",
				.source = (char *)"s",
				.policy = (char *)"default",
				.ports = ports,
				.n_ports = 32,
				.n_addresses = 1};
	struct service *s;
	ldns_pkt *query = query_of("many.n.sinew.", LDNS_RR_TYPE_SRV), *answer;

	for (size_t i = 0; i < 32; i++) {
		(void)snprintf(names[i], sizeof(names[i]), "p%zu", i);
		ports[i] = (struct service_port){names[i], (uint16_t)(i + 1), SN_PROTO_TCP};
	}
	assert_int_equal(address_parse("10.96.0.1", &draft.address[0]), 0);
	assert_int_equal(service_new(&draft, &s), 0);
	assert_int_equal(dns_table_new(&s, 1, &f.table), 0);
	service_unref(s);
	answer = ask_pkt(&f, query, 512);
	assert_string_equal(words_of(answer), "NOERROR aa tc");
	ldns_pkt_free(answer);
	answer = ask_pkt(&f, query, DNS_MESSAGE);
	assert_int_equal(ldns_pkt_ancount(answer), 32);
	assert_false(ldns_pkt_tc(answer));
	ldns_pkt_free(answer);
	ldns_pkt_set_edns_udp_size(query, 1232);
	answer = ask_pkt(&f, query, 512);
	assert_true(ldns_pkt_ancount(answer) == 32 &&
		    ldns_pkt_edns(answer)); /* between 512 and 1232 */
	ldns_pkt_free(answer);
	ldns_pkt_free(query);
	dns_table_free(f.table);
}

static enum dns_verdict raw(struct fixture *f, const char *bytes, size_t n, unsigned int *ret_rcode)
{
	static uint8_t buf[DNS_MESSAGE];
	struct dns_written written;
	struct dns_query query = {(const uint8_t *)bytes, n, 512};
	enum dns_verdict verdict = dns_answer(f->answerer, f->table, &query, buf, &written);

	*ret_rcode = written.rcode;
	return verdict;
}

static void test_what_is_no_query(void **state)
{
	struct fixture forwarding = *(struct fixture *)*state;
	unsigned int rcode;
	static const char answer[] = "\x12\x34\x80\0\0\1\0\0\0\0\0\0\4mail\5sinew\0\0\1\0\1";
	static const char notify[] = "\x12\x34\x20\0\0\1\0\0\0\0\0\0\5sinew\0\0\6\0\1";
	static const char twice[] =
		"\x12\x34\0\0\0\2\0\0\0\0\0\0\5sinew\0\0\6\0\1\5sinew\0\0\6\0\1";
	static const char chaos[] = "\x12\x34\0\0\0\1\0\0\0\0\0\0\5sinew\0\0\6\0\3";
	static const char other[] = "\x12\x34\1\0\0\1\0\0\0\0\0\0\7example\0\0\1\0\1";

	assert_int_equal(raw(*state, "\x12\x34\0", 3, &rcode), DNS_DROP);
	assert_int_equal(raw(*state, answer, sizeof(answer) - 1, &rcode), DNS_DROP);
	assert_int_equal(raw(*state, notify, sizeof(notify) - 1, &rcode), DNS_SEND);
	assert_int_equal(rcode, LDNS_RCODE_NOTIMPL);
	assert_int_equal(raw(*state, twice, sizeof(twice) - 1, &rcode), DNS_SEND);
	assert_int_equal(rcode, LDNS_RCODE_FORMERR);
	assert_int_equal(raw(*state, chaos, sizeof(chaos) - 1, &rcode), DNS_SEND);
	assert_int_equal(rcode, LDNS_RCODE_REFUSED);
	assert_int_equal(raw(*state, other, 14, &rcode), DNS_SEND); /* cut short */
	assert_int_equal(rcode, LDNS_RCODE_FORMERR);
	forwarding.answerer = answerer(true, "sinew");
	assert_int_equal(raw(&forwarding, other, sizeof(other) - 1, &rcode), DNS_FORWARD);
	dns_answerer_free(forwarding.answerer);
}

static void test_what_is_passed_on_is_the_question_and_the_wishes(void **state)
{
	static const char query[] = "\x12\x34\x01\x30\0\1\0\0\0\0\0\1\7Example\0\0\1\0\1"
				    "\0\0\x29\x10\0\0\0\x80\0\0\7\0\x0a\0\3abc";
	static const char want[] = "\0\0\x01\x30\0\1\0\0\0\0\0\1\7Example\0\0\1\0\1"
				   "\0\0\x29\x04\xd0\0\0\x80\0\0\0";
	const struct dns_query q = {(const uint8_t *)query, sizeof(query) - 1, 512};
	struct fixture *f = *state;
	struct dns_answerer *a = answerer(true, "sinew");
	static uint8_t buf[DNS_MESSAGE];
	struct dns_written written;

	assert_int_equal(dns_answer(a, f->table, &q, buf, &written), DNS_FORWARD);
	assert_int_equal(written.length, sizeof(want) - 1);
	assert_memory_equal(buf, want, sizeof(want) - 1);
	assert_int_equal(written.limit, DNS_UDP_PAYLOAD); /* it takes 4,096 */
	dns_answerer_free(a);
}

static void test_while_it_is_not_known_no_name_is_denied(void **state)
{
	struct fixture *known = *state, unknown = {.answerer = known->answerer};

	assert_string_equal(ask(&unknown, "payments.sinew.", LDNS_RR_TYPE_A), "SERVFAIL");
	assert_string_equal(ask(&unknown, "nobody.sinew.", LDNS_RR_TYPE_A), "SERVFAIL");
	assert_string_equal(ask(&unknown, "nobody.service.consul.", LDNS_RR_TYPE_A), "SERVFAIL");
	assert_string_equal(ask(&unknown, "example.org.", LDNS_RR_TYPE_A), "REFUSED");
	assert_string_equal(ask(&unknown, "10.0.96.10.in-addr.arpa.", LDNS_RR_TYPE_PTR), "REFUSED");
}

static void test_settings(void **state)
{
	struct dns_names names = {};

	assert_int_equal(dns_names_set_zone(&names, "svc.example"), 0);
	assert_int_equal(dns_names_set_zone(&names, ""), -EINVAL);
	assert_int_equal(dns_names_set_zone(&names, ".sinew"), -EINVAL);
	assert_int_equal(dns_names_set_zone(&names, "Sinew"), -EINVAL);
	assert_int_equal(dns_names_set_zone(&names, "a..b"), -EINVAL);
	assert_int_equal(dns_names_add_alias(&names, "service.consul"), -EINVAL);
	assert_int_equal(dns_names_add_alias(&names, "*."), -EINVAL);
	for (size_t i = 0; i < DNS_ALIASES; i++)
		assert_int_equal(dns_names_add_alias(&names, "*.a"), 0);
	assert_int_equal(dns_names_add_alias(&names, "*.a"), -E2BIG);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_every_question_has_its_answer),
		cmocka_unit_test(test_the_question_comes_back_as_it_was_written),
		cmocka_unit_test(test_edns),
		cmocka_unit_test(test_what_is_refused_is_told_with_its_question_and_edns),
		cmocka_unit_test(test_what_is_added_goes_before_the_answer_is_cut),
		cmocka_unit_test(test_what_does_not_fit_says_so_and_fits_over_tcp),
		cmocka_unit_test(test_what_is_no_query),
		cmocka_unit_test(test_what_is_passed_on_is_the_question_and_the_wishes),
		cmocka_unit_test(test_while_it_is_not_known_no_name_is_denied),
		cmocka_unit_test(test_settings),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
