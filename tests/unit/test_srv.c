/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * registry/srv_decode and srv_service: names that are followed, answers as resolvers give them, and
 * which service they are. Answers are written as zone files are.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <ldns/ldns.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "model/address.h"
#include "registry/srv_service.h"

/* --- answers ---------------------------------------------------------------------------------- */

static void push(ldns_pkt *pkt, ldns_pkt_section section, const char *zone)
{
	char copy[2000], *rest = copy, *line;

	(void)snprintf(copy, sizeof(copy), "%s", zone);
	while ((line = strsep(&rest, "\n"))) {
		ldns_rr *rr = NULL;

		if (!*line)
			continue;
		if (ldns_rr_new_frm_str(&rr, line, 60, NULL, NULL) != LDNS_STATUS_OK)
			fail_msg("%s", line);
		assert_true(ldns_pkt_push_rr(pkt, section, rr));
	}
}

struct zone {
	const char *answer, *authority, *additional;
	unsigned int rcode;
};

static uint8_t *wire_of(const struct zone *z, size_t *ret_n)
{
	ldns_pkt *pkt = ldns_pkt_new();
	uint8_t *wire = NULL;

	assert_non_null(pkt);
	ldns_pkt_set_qr(pkt, true);
	ldns_pkt_set_rcode(pkt, (uint8_t)z->rcode);
	push(pkt, LDNS_SECTION_ANSWER, z->answer ?: "");
	push(pkt, LDNS_SECTION_AUTHORITY, z->authority ?: "");
	push(pkt, LDNS_SECTION_ADDITIONAL, z->additional ?: "");
	assert_int_equal(ldns_pkt2wire(&wire, pkt, ret_n), LDNS_STATUS_OK);
	ldns_pkt_free(pkt);
	return wire;
}

static struct srv_answer decode(const struct zone *z, const char *name, enum srv_type type)
{
	struct srv_answer a = {};
	size_t n;
	_cleanup_free_ uint8_t *wire = wire_of(z, &n);

	assert_int_equal(srv_decode(wire, n, name, type, &a), 0);
	return a;
}

/* "10.0.0.1:80*100 ..." of the service that it makes; "ENODATA" */
static const char *made(const struct srv_answer *a, size_t *ret_left_out)
{
	static char text[1000];
	struct srv_wish wish = {.tag = "srv/t", .zone = "z"};
	struct srv_naming naming = {
		.namespace = "default", .service = "pay", .port = "http", .proto = SN_PROTO_TCP};
	struct srv_found found = {a->records, a->n_records, a->addresses, a->n_addresses};
	struct service *s = NULL;
	char address[ADDRESS_TEXT];
	int r;

	*text = '\0';
	assert_int_equal(draft_new(&wish.draft), 0);
	r = srv_service_make(&wish, &naming, &found, &s);
	*ret_left_out = wish.left_out;
	for (size_t i = 0; r >= 0 && i < s->n_endpoints; i++) {
		size_t n = strlen(text);

		(void)snprintf(text + n, sizeof(text) - n, "%s%s:%u*%u", i ? " " : "",
			       address_format(&s->endpoints[i].addr, address),
			       service_target(s, i, 0), s->endpoints[i].weight);
		assert_string_equal(s->zones[s->endpoints[i].zone - 1], "z");
		assert_true(s->endpoints[i].instance && s->endpoints[i].node);
	}
	if (r >= 0) {
		assert_int_equal(s->ports[0].port, SN_PORT_ANY);
		assert_string_equal(s->ports[0].name, "http");
		assert_string_equal(s->source, "srv/t");
	}
	(void)service_unref(s);
	draft_free(wish.draft);
	return r == -ENODATA ? "ENODATA" : text;
}

/* --- tests ------------------------------------------------------------------------------------ */

static void test_names_say_which_service_they_are(void **state)
{
	static const struct {
		const char *text, *said;
	} rows[] = {
		{"_http._tcp.payments.example", "d/payments http 6 _http._tcp.payments.example"},
		{"_http._tcp.payments.example.", "d/payments http 6 _http._tcp.payments.example"},
		{"_DNS._udp.Names", "d/names dns 17 _dns._udp.names"},
		{"payments.service.consul", "d/payments  6 payments.service.consul"},
		{"pay=_web._tcp.service.consul", "d/pay web 6 _web._tcp.service.consul"},
		{"shop/pay=x.y", "shop/pay  6 x.y"},
		{"shop/Pay_1=x.y", "shop/pay-1  6 x.y"},
	};
	struct srv_naming n;
	char said[600], why[160];

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		assert_int_equal(srv_naming_parse(rows[i].text, "d", &n, why), 0);
		(void)snprintf(said, sizeof(said), "%s/%s %s %d %s", n.namespace, n.service, n.port,
			       n.proto == SN_PROTO_UDP ? 17 : 6, n.dns);
		assert_string_equal(said, rows[i].said);
	}
}

static void test_what_is_no_name_is_told(void **state)
{
	static const char *const rows[] = {
		"",
		"=",
		"a=",
		"/=x.y",
		"a/=x.y",
		"_http.x.y",
		"_http._sctp.x.y",
		"_a._tcp",
		"a b.c",
		"a/b/c=x.y",
		"x..y",
		"_a._tcp.!.y",
		"_._tcp",
		"a=aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa.example",
	};
	struct srv_naming n;

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		char why[160] = "";

		if (srv_naming_parse(rows[i], "d", &n, why) != -EINVAL || !*why)
			fail_msg("\"%s\" is taken for a name", rows[i]);
	}
}

static const struct {
	const char *what;
	struct zone zone;
	const char *said;
	size_t left_out;
} services[] = {
	{"two targets, addresses beside them",
	 {"p. IN SRV 1 1 80 a.x.\np. IN SRV 1 3 81 b.x.", NULL,
	  "a.x. IN A 10.0.0.1\nb.x. IN A 10.0.0.2"},
	 "10.0.0.1:80*100 10.0.0.2:81*300",
	 0},
	{"the best priority alone",
	 {"p. IN SRV 2 1 80 a.x.\np. IN SRV 1 1 81 b.x.", NULL,
	  "a.x. IN A 10.0.0.1\nb.x. IN A 10.0.0.2"},
	 "10.0.0.2:81*100",
	 0},
	{"weights of 0 beside others, and a large one",
	 {"p. IN SRV 1 0 80 a.x.\np. IN SRV 1 60000 81 b.x.", NULL,
	  "a.x. IN A 10.0.0.1\nb.x. IN A 10.0.0.2"},
	 "10.0.0.1:80*1 10.0.0.2:81*60000",
	 0},
	{"weights of 0 alone",
	 {"p. IN SRV 1 0 80 a.x.\np. IN SRV 1 0 81 b.x.", NULL,
	  "a.x. IN A 10.0.0.1\nb.x. IN A 10.0.0.2"},
	 "10.0.0.1:80*100 10.0.0.2:81*100",
	 0},
	{"both families, and one",
	 {"p. IN SRV 1 1 80 a.x.\np. IN SRV 1 1 80 b.x.", NULL,
	  "a.x. IN A 10.0.0.1\na.x. IN AAAA fd00::1\nb.x. IN AAAA fd00::2"},
	 "10.0.0.1:80*100 fd00::2:80*100",
	 0},
	{"several addresses of one",
	 {"p. IN SRV 1 1 80 a.x.", NULL, "a.x. IN A 10.0.0.1\na.x. IN A 10.0.0.2"},
	 "10.0.0.1:80*100 10.0.0.2:80*100",
	 0},
	{"a target without an address",
	 {"p. IN SRV 1 1 80 a.x.\np. IN SRV 1 1 80 b.x.", NULL, "a.x. IN A 10.0.0.1"},
	 "10.0.0.1:80*100",
	 1},
	{"no target with an address", {"p. IN SRV 1 1 80 a.x."}, "ENODATA", 1},
	{"it is said that there is none", {"p. IN SRV 0 0 0 .", NULL, ". IN A 10.0.0.1"}, "", 0},
	{"an alias",
	 {"q. IN SRV 1 1 80 a.x.\np. IN CNAME q.", NULL, "a.x. IN A 10.0.0.1"},
	 "10.0.0.1:80*100",
	 0},
	{"upper case", {"P. IN SRV 1 1 80 A.x.", NULL, "a.X. IN A 10.0.0.1"}, "10.0.0.1:80*100", 0},
	{"records of another name, and addresses that nobody asked for",
	 {"p. IN SRV 1 1 80 a.x.\nz. IN SRV 1 1 80 b.x.", NULL,
	  "a.x. IN A 10.0.0.1\nb.x. IN A 10.0.0.2\nbank. IN A 10.0.0.3"},
	 "10.0.0.1:80*100",
	 0},
	{"addresses that nothing can be sent to",
	 {"p. IN SRV 1 1 80 a.x.", NULL,
	  "a.x. IN A 0.0.0.0\na.x. IN A 224.0.0.1\na.x. IN A 10.0.0.1"},
	 "10.0.0.1:80*100",
	 0},
	{"the same twice",
	 {"p. IN SRV 1 1 80 a.x.\np. IN SRV 1 5 80 a.x.", NULL, "a.x. IN A 10.0.0.1"},
	 "10.0.0.1:80*500",
	 0},
};

static void test_answers_are_services(void **state)
{
	for (size_t i = 0; i < ARRAY_SIZE(services); i++) {
		struct srv_answer a = decode(&services[i].zone, "p", SRV_SRV);
		const char *said;
		size_t left_out;

		assert_int_equal(a.word, SRV_GIVEN);
		said = made(&a, &left_out);
		if (strcmp(said, services[i].said) != 0 || left_out != services[i].left_out)
			fail_msg("%s: %s, %zu left out", services[i].what, said, left_out);
		srv_answer_done(&a);
	}
}

static void test_absence_has_several_words(void **state)
{
	static const char soa[] = "x. 300 IN SOA ns.x. h.x. 1 2 3 4 30";
	static const struct {
		struct zone zone;
		enum srv_word word;
		uint32_t ttl_s;
	} rows[] = {
		{{NULL, soa, NULL, 0}, SRV_NOTHING, 30},
		{{NULL, NULL, NULL, 0}, SRV_NOTHING, 0},
		{{NULL, soa, NULL, LDNS_RCODE_NXDOMAIN}, SRV_NO_NAME, 30},
		{{NULL, "x. 7 IN SOA ns.x. h.x. 1 2 3 4 30", NULL, LDNS_RCODE_NXDOMAIN},
		 SRV_NO_NAME,
		 7},
		{{NULL, NULL, NULL, LDNS_RCODE_SERVFAIL}, SRV_FAILED, 0},
		{{NULL, NULL, NULL, LDNS_RCODE_NOTIMPL}, SRV_FAILED, 0},
		{{NULL, NULL, NULL, LDNS_RCODE_REFUSED}, SRV_REFUSED, 0},
		/* Whatever else such an answer says. */
		{{"p. IN SRV 1 1 80 a.x.", NULL, NULL, LDNS_RCODE_SERVFAIL}, SRV_FAILED, 0},
		{{"q. IN SRV 1 1 80 a.x.", NULL, NULL, 0}, SRV_NOTHING, 0},
	};

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct srv_answer a = decode(&rows[i].zone, "p", SRV_SRV);

		assert_int_equal(a.word, rows[i].word);
		assert_int_equal(a.ttl_s, rows[i].ttl_s);
		assert_int_equal(a.n_records, 0);
		srv_answer_done(&a);
	}
}

static void test_the_least_time_to_live_counts(void **state)
{
	const struct zone z = {"p. 60 IN SRV 1 1 80 a.x.\np. 50 IN SRV 1 1 80 b.x.", NULL,
			       "a.x. 5 IN A 10.0.0.1\nz.x. 1 IN A 10.0.0.1"};
	const struct zone zero = {"p. 0 IN SRV 1 1 80 a.x."};
	struct srv_answer a = decode(&z, "p", SRV_SRV);

	assert_int_equal(a.ttl_s, 5);
	srv_answer_done(&a);
	a = decode(&zero, "p", SRV_SRV);
	assert_int_equal(a.ttl_s, 1);
	srv_answer_done(&a);
}

static void test_addresses_are_of_the_name_or_what_it_stands_for(void **state)
{
	const struct zone z = {"h.x. IN CNAME i.x.\ni.x. IN CNAME j.x.\nj.x. IN A 10.0.0.1\n"
			       "k.x. IN A 10.0.0.2\nj.x. IN AAAA fd00::1"};
	struct srv_answer a = decode(&z, "h.x", SRV_A);

	assert_int_equal(a.n_addresses, 1);
	srv_answer_done(&a);
	a = decode(&z, "h.x", SRV_AAAA);
	assert_int_equal(a.n_addresses, 1);
	assert_false(address_is_v4(&a.addresses[0].addr));
	srv_answer_done(&a);
	a = decode(&z, "m.x", SRV_A);
	assert_int_equal(a.word, SRV_NOTHING);
	srv_answer_done(&a);
}

/* A circle of aliases ends. */
static void test_aliases_in_a_circle_lead_nowhere(void **state)
{
	const struct zone z = {"h.x. IN CNAME i.x.\ni.x. IN CNAME h.x.\nh.x. IN CNAME h.x."};
	struct srv_answer a = decode(&z, "h.x", SRV_A);

	assert_int_equal(a.word, SRV_NOTHING);
	srv_answer_done(&a);
}

static void test_bytes_that_are_no_answer_are_refused(void **state)
{
	const struct zone z = {"p. IN SRV 1 1 80 a.x.", NULL, "a.x. IN A 10.0.0.1"};
	struct srv_answer a;
	size_t n;
	_cleanup_free_ uint8_t *wire = wire_of(&z, &n);

	for (size_t i = 0; i < n; i++)
		assert_int_equal(srv_decode(wire, i, "p", SRV_SRV, &a), -EBADMSG);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_names_say_which_service_they_are),
		cmocka_unit_test(test_what_is_no_name_is_told),
		cmocka_unit_test(test_answers_are_services),
		cmocka_unit_test(test_absence_has_several_words),
		cmocka_unit_test(test_the_least_time_to_live_counts),
		cmocka_unit_test(test_addresses_are_of_the_name_or_what_it_stands_for),
		cmocka_unit_test(test_aliases_in_a_circle_lead_nowhere),
		cmocka_unit_test(test_bytes_that_are_no_answer_are_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
