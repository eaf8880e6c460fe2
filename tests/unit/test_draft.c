/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * registry/draft: equal answers make equal services, whatever their order; what does not fit is
 * left out and counted; what comes out is accepted by the control API's decoder.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/cleanup.h"
#include "model/address.h"
#include "model/codec.h"
#include "model/limits.h"
#include "registry/draft.h"

static struct draft_service *begin(void)
{
	struct draft_service *d;

	assert_int_equal(draft_new(&d), 0);
	assert_int_equal(draft_init(d, "shop", "pay", "consul/dc1"), 0);
	return d;
}

static struct sn_addr addr(const char *text)
{
	struct sn_addr a;

	assert_int_equal(address_parse(text, &a), 0);
	return a;
}

static int add(struct draft_service *d, const char *address, uint16_t port, uint16_t weight,
	       const char *zone)
{
	struct draft_endpoint e = {.addr = addr(address),
				   .ports = &port,
				   .weight = weight,
				   .zone = zone,
				   .node = "Node_1.Example",
				   .instance = address};

	return draft_add_endpoint(d, &e);
}

/* It goes to the daemon as JSON: all of it must be accepted there, and mean the same. */
static void assert_is_accepted(const struct service *s)
{
	struct problems problems = {};
	yyjson_mut_doc *doc = yyjson_mut_doc_new(NULL);
	struct object o = {};
	yyjson_doc *read;

	yyjson_mut_doc_set_root(doc, codec_encode_service(doc, s));
	read = yyjson_mut_doc_imut_copy(doc, NULL);
	assert_int_equal(codec_decode_object(yyjson_doc_get_root(read), "", "x", &problems, &o), 0);
	assert_int_equal(o.service->n_endpoints, s->n_endpoints);
	assert_int_equal(o.service->n_ports, s->n_ports);
	object_done(&o);
	problems_done(&problems);
	yyjson_doc_free(read);
	yyjson_mut_doc_free(doc);
}

static void test_equal_answers_make_equal_services_in_any_order(void **state)
{
	static const char *const addresses[] = {"10.0.0.3", "10.0.0.1", "fd00::1", "10.0.0.2"};
	static const char *const zones[] = {"b", "a", "", "c"};
	struct service *first = NULL, *s;

	for (size_t turn = 0; turn < 4; turn++) {
		_cleanup_(draft_freep) struct draft_service *d = begin();

		assert_int_equal(draft_add_port(d, "http", 80, SN_PROTO_TCP), 0);
		for (size_t i = 0; i < 4; i++) {
			size_t k = (i + turn) % 4;

			assert_int_equal(add(d, addresses[k], 8080, 100, zones[k]), 0);
		}
		assert_int_equal(draft_finish(d, &s), 0);
		assert_int_equal(s->n_endpoints, 4);
		assert_is_accepted(s);
		if (!first) {
			first = s;
			continue;
		}
		assert_true(service_is_equal(first, s));
		service_unref(s);
	}
	assert_string_equal(first->zones[first->endpoints[0].zone - 1], "a");
	assert_string_equal(first->nodes[0], "node-1.example");
	service_unref(first);
}

static void test_of_two_at_one_place_the_better_stays(void **state)
{
	for (int turn = 0; turn < 2; turn++) {
		_cleanup_(draft_freep) struct draft_service *d = begin();
		_cleanup_(service_unrefp) struct service *s = NULL;

		assert_int_equal(draft_add_port(d, NULL, 80, SN_PROTO_TCP), 0);
		assert_int_equal(add(d, "10.0.0.1", 8080, turn ? 0 : 70, NULL), 0);
		assert_int_equal(add(d, "10.0.0.1", 8080, turn ? 70 : 0, NULL), 0);
		assert_int_equal(add(d, "10.0.0.1", 8081, 5, NULL), 0);
		assert_int_equal(draft_finish(d, &s), 0);
		assert_int_equal(s->n_endpoints, 2);
		assert_int_equal(s->endpoints[0].weight, 70);
		assert_int_equal(service_target(s, 0, 0), 8080);
		assert_int_equal(service_target(s, 1, 0), 8081);
		assert_int_equal(s->endpoints[0].instance, draft_instance("10.0.0.1"));
		assert_int_equal(draft_left_out(d), 0);
	}
}

/* Up, and down again: the same 4096 of 20,000 are kept. */
static void test_too_many_endpoints_keep_the_same_ones(void **state)
{
	_cleanup_(service_unrefp) struct service *up = NULL;
	_cleanup_(service_unrefp) struct service *down = NULL;
	_cleanup_(draft_freep) struct draft_service *d = begin();

	for (int turn = 0; turn < 2; turn++) {
		assert_int_equal(draft_init(d, "shop", "pay", "consul/dc1"), 0);
		assert_int_equal(draft_add_port(d, NULL, 80, SN_PROTO_TCP), 0);
		for (unsigned int i = 0; i < 20000; i++) {
			unsigned int k = turn ? 19999 - i : i;
			char text[ADDRESS_TEXT];

			(void)snprintf(text, sizeof(text), "10.1.%u.%u", k >> 8, k & 255);
			assert_int_equal(add(d, text, 80, 100, "z"), 0);
		}
		assert_int_equal(draft_finish(d, turn ? &down : &up), 0);
		assert_int_equal(draft_left_out(d), 20000 - LIMIT_ENDPOINTS);
	}
	assert_int_equal(up->n_endpoints, LIMIT_ENDPOINTS);
	assert_true(service_is_equal(up, down));
}

static void test_what_does_not_fit_is_left_out_and_counted(void **state)
{
	_cleanup_(draft_freep) struct draft_service *d = begin();
	_cleanup_(service_unrefp) struct service *s = NULL;
	struct sn_addr v4 = addr("10.96.0.1"), other = addr("10.96.0.2"), none = addr("0.0.0.0");
	char key[16], longer[LIMIT_LABEL_VALUE + 2];

	assert_int_equal(draft_finish(d, &s), -ENODATA);
	assert_int_equal(draft_add_address(d, &none), -EINVAL);
	assert_int_equal(draft_add_address(d, &v4), 0);
	assert_int_equal(draft_add_address(d, &other), -E2BIG);
	assert_int_equal(draft_add_port(d, NULL, 80, 132), -EINVAL);
	for (uint16_t i = 0; i < LIMIT_PORTS; i++)
		assert_int_equal(draft_add_port(d, i == 3 ? "tcp-80" : "", 80 + i, SN_PROTO_TCP),
				 0);
	assert_int_equal(draft_add_port(d, NULL, 80, SN_PROTO_UDP), -E2BIG);
	memset(longer, 'x', sizeof(longer) - 1);
	longer[sizeof(longer) - 1] = '\0';
	assert_int_equal(draft_add_label(d, "long", longer), 0);
	assert_int_equal(draft_add_label(d, "", "empty key"), 0);
	assert_int_equal(draft_add_label(d, "control", "a\nb"), 0);
	assert_int_equal(draft_add_label(d, "latin1", "\xe9"), 0);
	assert_int_equal(draft_left_out(d), 4);
	for (unsigned int i = 0; i < LIMIT_LABELS + 3; i++) {
		(void)snprintf(key, sizeof(key), "k%u", 1000 - i);
		assert_int_equal(draft_add_label(d, key, "v"), 0);
	}
	assert_int_equal(draft_left_out(d), 7);
	draft_set_policy(d, "no policy's name");
	assert_int_equal(draft_add_endpoint(d, &(struct draft_endpoint){.addr = none}), -EINVAL);
	assert_int_equal(draft_add_endpoint(d, &(struct draft_endpoint){.addr = addr("fd00::1")}),
			 0);
	assert_int_equal(draft_add_endpoint(d, &(struct draft_endpoint){.addr = addr("10.0.0.1"),
									.zone = "no zone",
									.node = "-bad"}),
			 0);
	assert_int_equal(draft_finish(d, &s), 0);
	assert_int_equal(draft_left_out(d), 9);
	assert_int_equal(s->n_endpoints, 1);
	assert_int_equal(s->endpoints[0].zone, 0);
	assert_int_equal(s->endpoints[0].node, 0);
	assert_string_equal(s->ports[0].name, "tcp-80-2");
	assert_string_equal(s->policy, "default");
	assert_is_accepted(s);
}

static void test_ports_are_told_apart(void **state)
{
	_cleanup_(draft_freep) struct draft_service *d = begin();

	assert_int_equal(draft_add_port(d, "http", 80, SN_PROTO_TCP), 0);
	assert_int_equal(draft_add_port(d, "web", 80, SN_PROTO_TCP), -EEXIST);
	assert_int_equal(draft_add_port(d, "HTTP", 81, SN_PROTO_TCP), -EEXIST);
	assert_int_equal(draft_add_port(d, "web", 80, SN_PROTO_UDP), 0);
}

static void test_names_become_labels(void **state)
{
	static const char *const names[][2] = {
		{"PAYMENT-SERVICE", "payment-service"},
		{"com.example.Pay_v2", "com-example-pay-v2"},
		{"_http", "http"},
		{"a-", "a"},
		{"0123456789012345678901234567890123456789012345678901234567890123", NULL},
		{"", NULL},
		{"-._", NULL},
		{"two words", NULL},
		{"caf\xc3\xa9", NULL},
		{"a/b", NULL},
	};

	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		char label[LIMIT_NAME + 1] = "untouched";

		assert_int_equal(draft_name(names[i][0], label), names[i][1] ? 0 : -EINVAL);
		assert_string_equal(label, names[i][1] ? names[i][1] : "untouched");
	}
}

static void test_instances_are_told_apart(void **state)
{
	assert_int_equal(draft_instance(NULL), 0);
	assert_int_equal(draft_instance(""), 0);
	assert_true(draft_instance("a") != 0);
	assert_true(draft_instance("a") != draft_instance("b"));
	assert_true(draft_instance("a") == draft_instance("a"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_equal_answers_make_equal_services_in_any_order),
		cmocka_unit_test(test_of_two_at_one_place_the_better_stays),
		cmocka_unit_test(test_too_many_endpoints_keep_the_same_ones),
		cmocka_unit_test(test_what_does_not_fit_is_left_out_and_counted),
		cmocka_unit_test(test_ports_are_told_apart),
		cmocka_unit_test(test_names_become_labels),
		cmocka_unit_test(test_instances_are_told_apart),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
