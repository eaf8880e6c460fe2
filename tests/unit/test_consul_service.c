/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * registry/consul_service: instances as a service, whatever their order. Rows have ' in place of ".
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "model/address.h"
#include "model/limits.h"
#include "registry/consul_service.h"

static struct service *make(const char *rows, size_t *ret_left_out)
{
	const struct consul_naming naming = {"consul/dc1", "shop", "pay_v1", "elsewhere"};
	_cleanup_(draft_freep) struct draft_service *d = NULL;
	_cleanup_free_ char *text = strdup(rows);
	struct consul_health h;
	struct service *s = NULL;
	char error[JSON_ERROR];

	assert_non_null(text);
	for (char *p = text; *p; p++)
		*p = *p == '\'' ? '"' : *p;
	if (consul_decode_health(text, strlen(text), &h, error) < 0)
		fail_msg("%s: %s", text, error);
	assert_int_equal(draft_new(&d), 0);
	assert_int_equal(consul_service_make(d, &naming, &h, &s, ret_left_out), 0);
	consul_health_done(&h);
	return s;
}

#define AT(node, id, fields)                                                                       \
	"{'Node':{'Node':'" node "','Address':'10.0.9.9'},'Service':{'ID':'" id "'," fields "}"
#define A AT("n1", "a", "'Address':'10.0.0.1','Port':8080") "}"
#define B AT("n2", "a", "'Address':'10.0.0.2','Port':9090,'Meta':{'zone':'b'}") "}"
#define C                                                                                          \
	AT("n2", "c", "'Address':'10.0.0.3','Port':9090")                                          \
	",'Checks':[{'CheckID':'serfHealth','Status':'critical'}]}"
#define D                                                                                          \
	AT("n3", "d", "'Address':'10.0.0.4','Port':9090")                                          \
	",'Checks':[{'CheckID':'_node_maintenance','Status':'critical'}]}"

static void test_instances_become_endpoints(void **state)
{
	size_t left_out = 9;
	_cleanup_(service_unrefp) struct service *s = make("[" A "," B "," C "," D "]", &left_out);

	assert_string_equal(s->namespace, "shop");
	assert_string_equal(s->name, "pay-v1");
	assert_string_equal(s->source, "consul/dc1");
	assert_string_equal(s->policy, "default");
	assert_int_equal(s->n_ports, 1);
	assert_int_equal(s->ports[0].port, SN_PORT_ANY);
	assert_int_equal(s->n_endpoints, 3); /* the dead node's is not among them */
	assert_int_equal(left_out, 0);
	assert_int_equal(service_target(s, 0, 0), 8080);
	assert_int_equal(service_target(s, 1, 0), 9090);
	assert_int_equal(s->endpoints[0].weight, 100);
	assert_int_equal(s->endpoints[2].weight, 0); /* in maintenance: draining */
	assert_string_equal(s->zones[s->endpoints[0].zone - 1], "elsewhere");
	assert_string_equal(s->zones[s->endpoints[1].zone - 1], "b");
	assert_string_equal(s->nodes[s->endpoints[1].node - 1], "n2");
	assert_true(s->endpoints[0].instance == draft_instance("n1/a"));
	assert_true(s->endpoints[1].instance == draft_instance("n2/a"));
}

static void test_the_order_of_an_answer_does_not_show(void **state)
{
	size_t left_out;
	_cleanup_(service_unrefp) struct service *one = make("[" A "," B "," D "]", &left_out);
	_cleanup_(service_unrefp) struct service *two = make("[" D "," A "," B "]", &left_out);

	assert_true(service_is_equal(one, two));
}

static void test_without_instances_there_is_no_service(void **state)
{
	size_t left_out = 9;

	assert_null(make("[]", &left_out));
	assert_int_equal(left_out, 0);
	/* Instances that all are critical are still a service. */
	_cleanup_(service_unrefp) struct service *s = make("[" C "]", &left_out);

	assert_int_equal(s->n_endpoints, 0);
}

#define WEIGHED(id, address, weights)                                                              \
	AT("n", id, "'Address':'" address "','Port':1,'Weights':" weights) "}"

static void test_weights_keep_their_ratios(void **state)
{
	size_t left_out;
	_cleanup_(service_unrefp) struct service *s =
		make("[" WEIGHED("a", "10.0.0.1", "{'Passing':3}") "," WEIGHED(
			     "b", "10.0.0.2", "{'Passing':1}") "," WEIGHED("c", "10.0.0.3",
									   "{'Passing':0}") "]",
		     &left_out);

	assert_int_equal(s->endpoints[0].weight, 300);
	assert_int_equal(s->endpoints[1].weight, 100);
	assert_int_equal(s->endpoints[2].weight, 0);
	(void)service_unref(s);
	s = make("[" WEIGHED("a", "10.0.0.1", "{'Passing':3000}") "," WEIGHED(
			 "b", "10.0.0.2", "{'Passing':1000}") "]",
		 &left_out);
	assert_int_equal(s->endpoints[0].weight, 3000);
	assert_int_equal(s->endpoints[1].weight, 1000);
}

static const char *label(const struct service *s, const char *key)
{
	for (size_t i = 0; i < s->n_labels; i++)
		if (!strcmp(s->labels[i].key, key))
			return s->labels[i].value;
	return NULL;
}

#define TAGGED(id, address, fields) AT("n", id, "'Address':'" address "','Port':1," fields) "}"
#define FIRST                                                                                      \
	"'Tags':['blue','v1','team=pay','bad tag'],"                                               \
	"'Meta':{'version':'1','tier':'back','sinew-policy':'gentle'}"
#define SECOND                                                                                     \
	"'Tags':['bad tag','team=pay','blue'],"                                                    \
	"'Meta':{'version':'2','tier':'back','sinew-policy':'gentle'}"
#define BOTH "[" TAGGED("a", "10.0.0.1", FIRST) "," TAGGED("b", "10.0.0.2", SECOND) "]"

static void test_labels_are_what_all_have_in_common(void **state)
{
	size_t left_out;
	_cleanup_(service_unrefp) struct service *s = make(BOTH, &left_out);

	assert_int_equal(s->n_labels, 3);
	assert_string_equal(label(s, "blue"), "");
	assert_string_equal(label(s, "team"), "pay");
	assert_string_equal(label(s, "tier"), "back");
	assert_null(label(s, "v1"));
	assert_null(label(s, "version"));
	assert_string_equal(s->policy, "gentle");
	assert_int_equal(left_out, 1); /* the bad tag */
}

static void test_a_name_for_an_address_is_left_out_and_told(void **state)
{
	size_t left_out = 0;
	_cleanup_(service_unrefp) struct service *s =
		make("[" A "," AT("n", "x", "'Address':'db.example'") "}]", &left_out);

	assert_int_equal(s->n_endpoints, 1);
	assert_int_equal(left_out, 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_instances_become_endpoints),
		cmocka_unit_test(test_the_order_of_an_answer_does_not_show),
		cmocka_unit_test(test_without_instances_there_is_no_service),
		cmocka_unit_test(test_weights_keep_their_ratios),
		cmocka_unit_test(test_labels_are_what_all_have_in_common),
		cmocka_unit_test(test_a_name_for_an_address_is_left_out_and_told),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
