/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * registry/kubernetes_join: services, slices and nodes come to services. Objects are written as
 * watch events with ' in place of ".
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "model/address.h"
#include "model/limits.h"
#include "registry/kubernetes_join.h"

#define META(name) "'metadata':{'namespace':'shop','resourceVersion':'1','name':'" name "'}"
#define PAY                                                                                        \
	"{'kind':'Service'," META("pay") ",'spec':{'clusterIPs':['10.96.0.1','fd00::1'],'ports':[" \
					 "{'name':'http','port':80}]}}"
#define SLICE_META(name, of)                                                                       \
	"'kind':'EndpointSlice','addressType':'IPv4','metadata':{'namespace':'shop',"              \
	"'resourceVersion':'1','name':'" name "','labels':{'kubernetes.io/service-name':'" of      \
	"'}}"
#define SLICE(name, endpoints)                                                                     \
	"{" SLICE_META(                                                                            \
		name, "pay") ",'ports':[{'name':'http','port':8080}],'endpoints':[" endpoints "]}"
#define E1 "{'addresses':['10.0.0.1']}"
#define E2 "{'addresses':['10.0.0.2'],'conditions':{'ready':true}}"
#define GOING                                                                                      \
	"{'addresses':['10.0.0.2'],'conditions':{'ready':false,'serving':true,'terminating':true}}"

static struct kubernetes_object *object(enum kubernetes_kind kind, const char *json)
{
	struct kubernetes_event e = {};
	char text[4096];
	int n = snprintf(text, sizeof(text), "{'type':'ADDED','object':%s}", json);

	for (char *p = text; *p; p++)
		*p = *p == '\'' ? '"' : *p;
	if (kubernetes_decode_event(text, (size_t)n, kind, &e) < 0 || !e.object)
		fail_msg("%s", text);
	return e.object;
}

static void put(struct kubernetes_join *j, enum kubernetes_kind kind, const char *json,
		uint64_t now)
{
	assert_int_equal(kubernetes_join_put(j, object(kind, json), now), 0);
}

static void take_away(struct kubernetes_join *j, enum kubernetes_kind kind, const char *json,
		      uint64_t now)
{
	struct kubernetes_object *o = object(kind, json);

	kubernetes_join_delete(j, o, now);
	kubernetes_object_free(o);
}

static struct kubernetes_join *join(void)
{
	struct kubernetes_join *j = NULL;
	struct object *objects;
	size_t n;

	assert_int_equal(kubernetes_join_new("kubernetes/test", NULL, &j), 0);
	assert_int_equal(kubernetes_join_all(j, &objects, &n), 0);
	assert_int_equal(n, 0);
	object_free_list(objects, n);
	return j;
}

/* The service that is due; its caller drops it. */
static struct service *next(struct kubernetes_join *j, uint64_t now)
{
	struct kubernetes_change change;

	assert_int_equal(kubernetes_join_next(j, now, &change), 1);
	assert_non_null(change.service);
	return change.service;
}

static void nothing(struct kubernetes_join *j, uint64_t now)
{
	struct kubernetes_change change;

	assert_int_equal(kubernetes_join_next(j, now, &change), 0);
}

static void test_service_and_slices_come_to_one(void **state)
{
	_cleanup_(kubernetes_join_freep) struct kubernetes_join *j = join();
	struct service *s;

	put(j, KUBERNETES_SERVICE, PAY, 1);
	put(j, KUBERNETES_SLICE, SLICE("a", E1), 1);
	put(j, KUBERNETES_SLICE, SLICE("b", GOING), 1);
	s = next(j, 1);
	assert_string_equal(s->namespace, "shop");
	assert_string_equal(s->name, "pay");
	assert_int_equal(s->n_addresses, 2);
	assert_int_equal(s->n_ports, 1);
	assert_int_equal(s->n_endpoints, 2);
	assert_int_equal(service_target(s, 0, 0), 8080);
	assert_true(s->endpoints[0].weight > 0);
	assert_int_equal(s->endpoints[1].weight, 0);
	service_unref(s);
	nothing(j, 1000);
}

static void test_a_slice_of_nobody_is_kept_until_it_is_somebodys(void **state)
{
	_cleanup_(kubernetes_join_freep) struct kubernetes_join *j = join();
	struct service *s;

	put(j, KUBERNETES_SERVICE, PAY, 1);
	service_unref(next(j, 1));
	/* Whoever writes slices by hand may forget the label, or add it later. */
	put(j, KUBERNETES_SLICE,
	    "{'kind':'EndpointSlice','addressType':'IPv4'," META(
		    "a") ",'ports':[{'name':'http','port':8080}],'endpoints':[" E1 "]}",
	    2);
	nothing(j, 100);
	put(j, KUBERNETES_SLICE, SLICE("a", E1), 200);
	s = next(j, 200);
	assert_int_equal(s->n_endpoints, 1);
	service_unref(s);
	nothing(j, 1000);
}

/* A slice of so many endpoints, without conditions. */
static struct kubernetes_object *large(unsigned int number, unsigned int n)
{
	static char text[4096 * 40];
	struct kubernetes_event e = {};
	int at = snprintf(
		text, sizeof(text),
		"{'type':'ADDED','object':{'kind':'EndpointSlice','addressType':'IPv4',"
		"'metadata':{'namespace':'shop','resourceVersion':'1','name':'s%u','labels':"
		"{'kubernetes.io/service-name':'pay'}},'endpoints':[",
		number);

	for (unsigned int i = 0; i < n; i++)
		at += snprintf(text + at, sizeof(text) - (size_t)at,
			       "%s{'addresses':['10.%u.%u.%u']}", i ? "," : "", number % 256,
			       i / 256, i % 256);
	at += snprintf(text + at, sizeof(text) - (size_t)at, "]}}");
	for (char *p = text; *p; p++)
		*p = *p == '\'' ? '"' : *p;
	assert_int_equal(kubernetes_decode_event(text, (size_t)at, KUBERNETES_SLICE, &e), 0);
	return e.object;
}

/* What went must go, also where there is no room for more. */
static void test_a_slice_shrinks_while_all_room_is_taken(void **state)
{
	_cleanup_(kubernetes_join_freep) struct kubernetes_join *j = join();
	struct kubernetes_join_counts counts;
	unsigned int n = 0;

	while (kubernetes_join_put(j, large(n, LIMIT_ENDPOINTS), 1) == 0)
		n++;
	kubernetes_join_count(j, &counts);
	assert_int_equal(counts.endpoints, (size_t)n * LIMIT_ENDPOINTS);
	assert_true(counts.endpoints + LIMIT_ENDPOINTS > LIMIT_FOUND_ENDPOINTS);
	assert_int_equal(kubernetes_join_put(j, large(0, LIMIT_ENDPOINTS - 1), 2), 0);
	kubernetes_join_count(j, &counts);
	assert_int_equal(counts.endpoints, (size_t)n * LIMIT_ENDPOINTS - 1);
}

static struct kubernetes_object *config_map(const char *name, size_t n)
{
	struct kubernetes_event e = {};
	char *text = malloc(n + 300);
	int at;

	assert_non_null(text);
	at = snprintf(text, n + 300,
		      "{\"type\":\"ADDED\",\"object\":{\"kind\":\"ConfigMap\",\"metadata\":{"
		      "\"namespace\":\"shop\",\"resourceVersion\":\"1\",\"name\":\"%s\"},"
		      "\"data\":{\"a.yaml\":\"",
		      name);
	memset(text + at, '#', n);
	at += (int)n;
	at += snprintf(text + at, 300, "\"}}}");
	assert_int_equal(kubernetes_decode_event(text, (size_t)at, KUBERNETES_CONFIGMAP, &e), 0);
	free(text);
	return e.object;
}

/* Whoever may write ConfigMaps somewhere in the cluster must not fill our memory, or our time. */
static void test_config_maps_have_so_much_room_together(void **state)
{
	_cleanup_(kubernetes_join_freep) struct kubernetes_join *j = join();
	struct kubernetes_join_counts counts;
	struct kubernetes_object *gone = config_map("a", 1);
	size_t half = KUBERNETES_MAPS / 2 - 1000;

	assert_int_equal(kubernetes_join_put(j, config_map("a", half), 1), 0);
	assert_int_equal(kubernetes_join_put(j, config_map("b", half), 1), 0);
	assert_int_equal(kubernetes_join_put(j, config_map("c", half), 1), -E2BIG);
	assert_int_equal(kubernetes_join_put(j, config_map("a", half - 1), 1), 0); /* its own */
	assert_int_equal(kubernetes_join_put(j, config_map("c", 100), 1), 0);
	assert_int_equal(kubernetes_join_put(j, config_map("c", half), 1), -E2BIG);
	kubernetes_join_count(j, &counts);
	assert_int_equal(counts.objects[KUBERNETES_CONFIGMAP], 3);
	assert_int_equal(counts.left_out, 2);
	kubernetes_join_delete(j, gone, 2);
	kubernetes_object_free(gone);
	assert_int_equal(kubernetes_join_put(j, config_map("c", half), 3), 0);
}

static void test_config_maps_without_room_are_wanted_once_some_is_freed(void **state)
{
	_cleanup_(kubernetes_join_freep) struct kubernetes_join *j = join();
	struct kubernetes_object *gone = config_map("a", 1);
	size_t half = KUBERNETES_MAPS / 2 - 1000;

	kubernetes_join_begin(j, KUBERNETES_CONFIGMAP);
	assert_int_equal(kubernetes_join_put(j, config_map("a", half), 1), 0);
	assert_int_equal(kubernetes_join_put(j, config_map("b", half), 1), 0);
	kubernetes_join_end(j, KUBERNETES_CONFIGMAP, 1);
	assert_int_equal(kubernetes_join_put(j, config_map("a", half - 1), 1), 0);
	assert_false(kubernetes_join_wants_maps(j)); /* all that there is is here */
	assert_int_equal(kubernetes_join_put(j, config_map("c", half), 1), -E2BIG);
	assert_false(kubernetes_join_wants_maps(j));
	put(j, KUBERNETES_SERVICE, PAY, 1);
	assert_int_equal(kubernetes_join_put(j, config_map("b", half + 1), 1), 0);
	assert_false(kubernetes_join_wants_maps(j)); /* nothing was freed */
	kubernetes_join_delete(j, gone, 2);
	kubernetes_object_free(gone);
	assert_true(kubernetes_join_wants_maps(j));
	kubernetes_join_begin(j, KUBERNETES_CONFIGMAP);
	assert_false(kubernetes_join_wants_maps(j)); /* being listed */
	assert_int_equal(kubernetes_join_put(j, config_map("b", half + 1), 3), 0);
	assert_int_equal(kubernetes_join_put(j, config_map("c", half), 3), 0);
	kubernetes_join_end(j, KUBERNETES_CONFIGMAP, 3);
	assert_int_equal(kubernetes_join_put(j, config_map("d", half), 3), -E2BIG);
	assert_int_equal(kubernetes_join_put(j, config_map("b", 10), 3), 0); /* it shrinks */
	assert_true(kubernetes_join_wants_maps(j));
	/* A list in whose end others go: what it named before may fit now. */
	kubernetes_join_begin(j, KUBERNETES_CONFIGMAP);
	assert_int_equal(kubernetes_join_put(j, config_map("d", half), 3), 0);
	assert_int_equal(kubernetes_join_put(j, config_map("e", half), 3), -E2BIG);
	kubernetes_join_end(j, KUBERNETES_CONFIGMAP, 3);
	assert_true(kubernetes_join_wants_maps(j));
}

static void test_p82_duplicates_across_slices_are_one(void **state)
{
	_cleanup_(kubernetes_join_freep) struct kubernetes_join *j = join();
	struct service *s;

	put(j, KUBERNETES_SERVICE, PAY, 1);
	put(j, KUBERNETES_SLICE, SLICE("a", E1 "," E2), 1);
	put(j, KUBERNETES_SLICE, SLICE("b", GOING), 1);
	s = next(j, 1);
	assert_int_equal(s->n_endpoints, 2);
	assert_true(s->endpoints[1].weight > 0); /* the better of the two */
	service_unref(s);
	/* One of the two goes, the endpoint stays. */
	put(j, KUBERNETES_SLICE, SLICE("b", ""), 2);
	s = next(j, 100);
	assert_int_equal(s->n_endpoints, 2);
	service_unref(s);
}

static void test_p82_a_move_between_slices_is_never_seen(void **state)
{
	_cleanup_(kubernetes_join_freep) struct kubernetes_join *j = join();
	struct service *s;

	put(j, KUBERNETES_SERVICE, PAY, 1);
	put(j, KUBERNETES_SLICE, SLICE("a", E1 "," E2), 1);
	service_unref(next(j, 1));
	put(j, KUBERNETES_SLICE, SLICE("a", E1), 100);
	nothing(j, 100);
	assert_int_equal(kubernetes_join_due(j), 100 + KUBERNETES_SETTLE_MS);
	put(j, KUBERNETES_SLICE, SLICE("b", E2), 105);
	s = next(j, 100 + KUBERNETES_SETTLE_MS);
	assert_int_equal(s->n_endpoints, 2);
	service_unref(s);
	/* A slice that goes whole, and another one that has what it had. */
	take_away(j, KUBERNETES_SLICE, SLICE("b", ""), 200);
	nothing(j, 200);
	put(j, KUBERNETES_SLICE, SLICE("c", E2), 201);
	s = next(j, 200 + KUBERNETES_SETTLE_MS);
	assert_int_equal(s->n_endpoints, 2);
	service_unref(s);
	/* What really goes is gone soon. */
	take_away(j, KUBERNETES_SLICE, SLICE("c", ""), 300);
	s = next(j, 300 + KUBERNETES_SETTLE_MS);
	assert_int_equal(s->n_endpoints, 1);
	service_unref(s);
}

/* Everything that is due at that time; how many of them lack the endpoint. */
static size_t lacking(struct kubernetes_join *j, uint64_t now, const char *text)
{
	struct kubernetes_change change;
	struct sn_addr addr;
	size_t n = 0;

	assert_int_equal(address_parse(text, &addr), 0);
	while (kubernetes_join_next(j, now, &change) > 0) {
		bool there = false;

		assert_non_null(change.service);
		for (size_t i = 0; i < change.service->n_endpoints; i++) {
			const struct endpoint *e = &change.service->endpoints[i];

			there |= e->weight && address_is_equal(&e->addr, &addr);
		}
		n += !there;
		service_unref(change.service);
	}
	return n;
}

static void test_p82_however_long_it_moves_about(void **state)
{
	_cleanup_(kubernetes_join_freep) struct kubernetes_join *j = join();
	size_t n = 0;

	put(j, KUBERNETES_SERVICE, PAY, 1);
	put(j, KUBERNETES_SLICE, SLICE("a", E2), 1);
	(void)lacking(j, 1, "10.0.0.2");
	/* For ten seconds it is now here, now there, and half of the time nowhere. */
	for (uint64_t now = 10; now < 10000; now += KUBERNETES_SETTLE_MS - 1) {
		bool here = now / (KUBERNETES_SETTLE_MS - 1) % 4 == 0,
		     there = now / (KUBERNETES_SETTLE_MS - 1) % 4 == 2;

		if (here || there)
			put(j, KUBERNETES_SLICE, there ? SLICE("b", E2) : SLICE("a", E2), now);
		else if (now / (KUBERNETES_SETTLE_MS - 1) % 4 == 1)
			put(j, KUBERNETES_SLICE, SLICE("a", ""), now);
		else
			put(j, KUBERNETES_SLICE, SLICE("b", ""), now);
		n += lacking(j, now, "10.0.0.2");
		n += lacking(j, now + KUBERNETES_SETTLE_MS - 2, "10.0.0.2");
	}
	assert_int_equal(n, 0);
	/* What is new does not wait for that. */
	put(j, KUBERNETES_SLICE, SLICE("a", E1), 20000);
	put(j, KUBERNETES_SLICE, SLICE("b", ""), 20000);
	assert_int_equal(lacking(j, 20000, "10.0.0.1"), 0);
	put(j, KUBERNETES_SLICE, SLICE("a", ""), 30000);
	assert_int_equal(lacking(j, 30000 + KUBERNETES_SETTLE_MS, "10.0.0.1"), 1);
	assert_int_equal(kubernetes_join_due(j), 0);
}

static void test_p82_nil_conditions_are_ready(void **state)
{
	static const struct {
		const char *endpoint;
		int weight; /* -1: left out */
	} rows[] = {
		{"{'addresses':['10.0.0.1']}", 100},
		{"{'addresses':['10.0.0.1'],'conditions':null}", 100},
		{"{'addresses':['10.0.0.1'],'conditions':{}}", 100},
		{"{'addresses':['10.0.0.1'],'conditions':{'ready':null}}", 100},
		{"{'addresses':['10.0.0.1'],'conditions':{'ready':false}}", -1},
		{"{'addresses':['10.0.0.1'],'conditions':{'ready':false,'serving':true}}", -1},
		{"{'addresses':['10.0.0.1'],'conditions':{'ready':false,'terminating':true}}", -1},
		{"{'addresses':['10.0.0.1'],'conditions':"
		 "{'ready':false,'serving':true,'terminating':true}}",
		 0},
		{"{'addresses':[]}", -1},
		{"{'addresses':['pay.example']}", -1},
	};

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		_cleanup_(kubernetes_join_freep) struct kubernetes_join *j = join();
		char text[1024];
		struct service *s;

		(void)snprintf(text, sizeof(text), SLICE("a", "%s"), rows[i].endpoint);
		put(j, KUBERNETES_SERVICE, PAY, 1);
		put(j, KUBERNETES_SLICE, text, 1);
		s = next(j, 1);
		if (s->n_endpoints != (rows[i].weight >= 0) ||
		    (s->n_endpoints && s->endpoints[0].weight != rows[i].weight))
			fail_msg("%s", rows[i].endpoint);
		service_unref(s);
	}
}

static void test_p83_what_a_new_list_does_not_have_is_gone(void **state)
{
	_cleanup_(kubernetes_join_freep) struct kubernetes_join *j = join();
	struct kubernetes_change change;
	struct object *objects;
	size_t n;

	put(j, KUBERNETES_SERVICE, PAY, 1);
	service_unref(next(j, 1));
	kubernetes_join_begin(j, KUBERNETES_SERVICE);
	nothing(j, 2); /* a list that does not end takes nothing away */
	kubernetes_join_begin(j, KUBERNETES_SERVICE);
	kubernetes_join_end(j, KUBERNETES_SERVICE, 3);
	assert_int_equal(kubernetes_join_next(j, 3, &change), 1);
	assert_null(change.service);
	assert_string_equal(change.namespace, "shop");
	assert_string_equal(change.name, "pay");
	assert_int_equal(kubernetes_join_all(j, &objects, &n), 0);
	assert_int_equal(n, 0);
	object_free_list(objects, n);
}

static void test_a_port_that_only_some_have_is_not_offered(void **state)
{
	_cleanup_(kubernetes_join_freep) struct kubernetes_join *j = join();
	struct service *s;

	put(j, KUBERNETES_SERVICE,
	    "{'kind':'Service'," META("pay") ",'spec':{'clusterIP':'None','ports':["
					     "{'name':'http','port':80},{'name':'m','port':81}]}}",
	    1);
	put(j, KUBERNETES_SLICE,
	    "{" SLICE_META("a", "pay") ",'ports':[{'name':'m','port':9},{'name':'http'}],"
				       "'endpoints':[" E1 "]}",
	    1);
	s = next(j, 1);
	assert_int_equal(s->n_addresses, 0);
	assert_int_equal(s->n_ports, 2);
	assert_int_equal(service_target(s, 0, 0), 0); /* null: as asked for */
	assert_int_equal(service_target(s, 0, 1), 9);
	service_unref(s);
	put(j, KUBERNETES_SLICE, SLICE("b", E2), 2);
	s = next(j, 2);
	assert_int_equal(s->n_ports, 1);
	assert_string_equal(s->ports[0].name, "http");
	assert_int_equal(s->n_endpoints, 2);
	service_unref(s);
}

#define NODE(version, labels)                                                                      \
	"{'kind':'Node','metadata':{'name':'n1','resourceVersion':'" version "','labels':{" labels \
	"}}}"
#define IN_ZONE(zone) "'topology.kubernetes.io/zone':'" zone "'"

/* The zone of the one endpoint that is told now; "": none. */
static void expect_zone(struct kubernetes_join *j, uint64_t now, const char *zone)
{
	struct service *s = next(j, now);

	assert_int_equal(s->n_endpoints, 1);
	assert_int_equal(s->n_zones, *zone ? 1 : 0);
	assert_int_equal(s->endpoints[0].zone, s->n_zones);
	if (s->n_zones)
		assert_string_equal(s->zones[0], zone);
	service_unref(s);
	nothing(j, now);
}

static void test_an_endpoint_without_zone_has_that_of_its_node_as_it_is_now(void **state)
{
	_cleanup_(kubernetes_join_freep) struct kubernetes_join *j = join();

	put(j, KUBERNETES_SERVICE, PAY, 1);
	put(j, KUBERNETES_SLICE, SLICE("a", "{'addresses':['10.0.0.1'],'nodeName':'n1'}"), 1);
	expect_zone(j, 1, "");
	put(j, KUBERNETES_NODE, NODE("1", IN_ZONE("z1")), 2);
	expect_zone(j, 2, "z1");
	put(j, KUBERNETES_NODE, NODE("2", ""), 3);
	expect_zone(j, 3, "");
	put(j, KUBERNETES_NODE, NODE("3", IN_ZONE("z2")), 4);
	expect_zone(j, 4, "z2");
	take_away(j, KUBERNETES_NODE, NODE("3", IN_ZONE("z2")), 5);
	expect_zone(j, 5, "");
	put(j, KUBERNETES_NODE, NODE("4", IN_ZONE("z1")), 6);
	expect_zone(j, 6, "z1");
	kubernetes_join_begin(j, KUBERNETES_NODE);
	kubernetes_join_end(j, KUBERNETES_NODE, 7);
	expect_zone(j, 7, "");
}

static void test_a_node_that_goes_leaves_the_zone_that_a_slice_says(void **state)
{
	_cleanup_(kubernetes_join_freep) struct kubernetes_join *j = join();

	put(j, KUBERNETES_NODE, NODE("1", IN_ZONE("z1")), 1);
	put(j, KUBERNETES_SERVICE, PAY, 1);
	put(j, KUBERNETES_SLICE,
	    SLICE("a", "{'addresses':['10.0.0.1'],'nodeName':'n1','zone':'own'}"), 1);
	expect_zone(j, 1, "own");
	take_away(j, KUBERNETES_NODE, NODE("1", IN_ZONE("z1")), 2);
	nothing(j, 2);
	put(j, KUBERNETES_SERVICE, PAY, 3);
	expect_zone(j, 3, "own");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_service_and_slices_come_to_one),
		cmocka_unit_test(test_a_slice_of_nobody_is_kept_until_it_is_somebodys),
		cmocka_unit_test(test_a_slice_shrinks_while_all_room_is_taken),
		cmocka_unit_test(test_config_maps_have_so_much_room_together),
		cmocka_unit_test(test_config_maps_without_room_are_wanted_once_some_is_freed),
		cmocka_unit_test(test_p82_duplicates_across_slices_are_one),
		cmocka_unit_test(test_p82_a_move_between_slices_is_never_seen),
		cmocka_unit_test(test_p82_however_long_it_moves_about),
		cmocka_unit_test(test_p82_nil_conditions_are_ready),
		cmocka_unit_test(test_p83_what_a_new_list_does_not_have_is_gone),
		cmocka_unit_test(test_a_port_that_only_some_have_is_not_offered),
		cmocka_unit_test(test_an_endpoint_without_zone_has_that_of_its_node_as_it_is_now),
		cmocka_unit_test(test_a_node_that_goes_leaves_the_zone_that_a_slice_says),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
