/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * registry/eureka_service and registry/eureka_book: which instances become endpoints, ports, zones
 * and labels; and that only what changed is said again.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "registry/eureka_book.h"

#define ONE(id, address, more)                                                                     \
	"{\"instanceId\":\"" id "\",\"ipAddr\":\"" address "\",\"status\":\"UP\"" more "}"
#define PORT(n) ",\"port\":{\"$\":" #n ",\"@enabled\":\"true\"}"
#define NO_PORT ",\"port\":{\"$\":80,\"@enabled\":\"false\"}"
#define SECURE(n) ",\"securePort\":{\"$\":" #n ",\"@enabled\":\"true\"}"
#define APP(name, ...) "{\"name\":\"" name "\",\"instance\":[" __VA_ARGS__ "]}"

static struct registry_config config = {.name = "e"};
static struct registry registry = {.config = &config, .tag = "eureka/e"};

static int apply(struct eureka_apps *apps, bool is_delta, const char *list)
{
	struct eureka_answer answer;
	struct text_buffer b = {};
	char error[JSON_ERROR];
	int r;

	text_append_format(&b, "{\"applications\":{\"application\":[%s]}}", list);
	r = eureka_decode(b.data, b.n, &answer, error);
	text_done(&b);
	assert_int_equal(r, 0);
	return eureka_apps_apply(apps, &answer, is_delta, NULL);
}

/* The only application of the list as a service; NULL with the error. */
static struct service *make(const char *list, int *ret_error, size_t *ret_left_out)
{
	struct eureka_wish wish = {.namespace = "default", .source = "eureka/e", .zone = "home"};
	_cleanup_(draft_freep) struct draft_service *d = NULL;
	struct eureka_apps apps = {};
	struct service *s = NULL;

	assert_int_equal(draft_new(&wish.draft), 0);
	d = wish.draft;
	assert_int_equal(apply(&apps, false, list), 0);
	*ret_error = eureka_service(&wish, apps.instances, apps.n, &s);
	*ret_left_out = wish.left_out;
	eureka_apps_done(&apps);
	return s;
}

static void test_every_port_leads_to_an_instances_own(void **state)
{
	size_t left_out;
	int r;
	struct service *s =
		make(APP("PAY.Api",
			 ONE("a", "10.1.0.1", PORT(8080)) "," ONE("b", "10.1.0.2", PORT(9090))),
		     &r, &left_out);

	assert_int_equal(r, 0);
	assert_string_equal(s->name, "pay-api");
	assert_string_equal(s->source, "eureka/e");
	assert_int_equal(s->n_ports, 1);
	assert_string_equal(s->ports[0].name, "http");
	assert_int_equal(s->ports[0].port, SN_PORT_ANY);
	assert_int_equal(s->n_endpoints, 2);
	assert_int_equal(service_target(s, 0, 0), 8080);
	assert_int_equal(service_target(s, 1, 0), 9090);
	assert_true(s->endpoints[0].instance != s->endpoints[1].instance);
	assert_int_equal(s->endpoints[0].instance, draft_instance("a"));
	assert_int_equal(left_out, 0);
	service_unref(s);
}

static void test_a_secure_port_of_all_is_a_second_port(void **state)
{
	size_t left_out;
	int r;
	struct service *s = make(APP("A", ONE("a", "10.1.0.1", PORT(80) SECURE(8443)) "," ONE(
						  "b", "10.1.0.2", PORT(80) SECURE(9443))),
				 &r, &left_out);

	assert_int_equal(s->n_ports, 2);
	assert_string_equal(s->ports[1].name, "https");
	assert_int_equal(s->ports[1].port, 443);
	assert_int_equal(service_target(s, 0, 1), 8443);
	assert_int_equal(service_target(s, 1, 1), 9443);
	service_unref(s);
	/* one without it, though not UP: the port would lead nowhere when it comes up */
	s = make(APP("A", ONE("a", "10.1.0.1", PORT(80) SECURE(8443)) "," ONE(
				  "b", "10.1.0.2", PORT(80) ",\"overriddenStatus\":\"DOWN\"")),
		 &r, &left_out);
	assert_int_equal(s->n_ports, 1);
	service_unref(s);
	s = make(APP("A", ONE("a", "10.1.0.1", NO_PORT SECURE(8443))), &r, &left_out);
	assert_int_equal(s->n_ports, 1);
	assert_string_equal(s->ports[0].name, "https");
	assert_int_equal(s->ports[0].port, SN_PORT_ANY);
	assert_int_equal(service_target(s, 0, 0), 8443);
	service_unref(s);
	s = make(APP("A", ONE("a", "10.1.0.1", PORT(80)) "," ONE("b", "10.1.0.2", PORT(80)) "," ONE(
				  "c", "10.1.0.3", NO_PORT SECURE(8443))),
		 &r, &left_out);
	assert_int_equal(s->n_endpoints, 2);
	assert_int_equal(left_out, 1);
	service_unref(s);
}

static void test_zones_of_metadata_then_of_the_cloud_then_of_the_config(void **state)
{
	size_t left_out;
	int r;
	struct service *s = make(
		APP("A",
		    ONE("a", "10.1.0.1", PORT(1) ",\"metadata\":{\"zone\":\"own\"}") "," ONE(
			    "b", "10.1.0.2",
			    PORT(1) ",\"dataCenterInfo\":{\"name\":\"Amazon\",\"metadata\":"
				    "{\"availability-zone\":\"us-east-1c\"}}") "," ONE("c",
										       "10.1.0.3",
										       PORT(1))),
		&r, &left_out);
	static const char *const expected[] = {"own", "us-east-1c", "home"};

	assert_int_equal(s->n_endpoints, 3);
	for (size_t i = 0; i < 3; i++)
		assert_string_equal(s->zones[s->endpoints[i].zone - 1], expected[i]);
	service_unref(s);
}

#define FIRST                                                                                      \
	PORT(1)                                                                                    \
	",\"metadata\":{\"@class\":\"x\",\"team\":\"billing\",\"jmx\":\"1\",\"zone\":\"z\",\"n\":3}"
#define SECOND PORT(1) ",\"metadata\":{\"jmx\":\"2\",\"team\":\"billing\"}"
#define THIRD PORT(1) ",\"overriddenStatus\":\"DOWN\",\"metadata\":{\"team\":\"x\"}"

static void test_labels_are_what_all_usable_instances_say(void **state)
{
	static const char list[] =
		APP("A", ONE("a", "10.1.0.1", FIRST) "," ONE("b", "10.1.0.2", SECOND) "," ONE(
				 "c", "10.1.0.3", THIRD));
	size_t left_out;
	int r;
	struct service *s = make(list, &r, &left_out);

	assert_int_equal(s->n_labels, 1);
	assert_string_equal(s->labels[0].key, "team");
	assert_string_equal(s->labels[0].value, "billing");
	service_unref(s);
}

static void test_what_cannot_be_a_service(void **state)
{
	size_t left_out;
	int r;

	assert_null(make(APP("A", ONE("a", "10.1.0.1", NO_PORT)), &r, &left_out));
	assert_int_equal(r, -ENODATA);
	assert_null(make(APP("\xc3\x84", ONE("a", "10.1.0.1", PORT(1))), &r, &left_out));
	assert_int_equal(r, -EINVAL);
}

/* --- what was said ------------------------------------------------------------------------------
 */

struct book {
	struct eureka_book book;
	struct eureka_apps apps;
};

static size_t say_all(struct book *b, const char *list)
{
	struct object *objects;
	size_t n;

	assert_int_equal(apply(&b->apps, false, list), 0);
	assert_int_equal(eureka_book_all(&b->book, &b->apps, &objects, &n), 0);
	object_free_list(objects, n);
	return n;
}

/* What is said of `app` after a delta; *ret_ends: endpoints of an upsert. */
static int say_change(struct book *b, const char *list, const char *app, size_t *ret_ends)
{
	struct object o;
	char name[64];
	int r;

	assert_int_equal(apply(&b->apps, true, list), 0);
	r = eureka_book_app(&b->book, &b->apps, app, &o, name);
	if (r == EUREKA_UPSERT) {
		*ret_ends = o.service->n_endpoints;
		object_done(&o);
	}
	return r;
}

static void test_only_what_changed_is_said_again(void **state)
{
	struct book b = {};
	size_t ends = 0;

	assert_int_equal(eureka_book_init(&b.book, &registry), 0);
	assert_int_equal(say_all(&b, APP("A", ONE("a", "10.1.0.1", PORT(1))) "," APP(
					     "B", ONE("b", "10.1.0.2", PORT(1)))),
			 2);
	assert_int_equal(say_change(&b, APP("A", ONE("a", "10.1.0.1", PORT(1))), "A", &ends), 0);
	assert_int_equal(say_change(&b, APP("A", ONE("x", "10.1.0.9", PORT(1))), "A", &ends),
			 EUREKA_UPSERT);
	assert_int_equal(ends, 2);
	assert_int_equal(say_change(&b, APP("A", ONE("x", "10.1.0.9", PORT(1))), "A", &ends), 0);
	/* down, both: the service stays, for somebody has it */
	assert_int_equal(say_change(&b,
				    APP("B", ONE("b", "10.1.0.2",
						 PORT(1) ",\"overriddenStatus\":"
							 "\"OUT_OF_SERVICE\"")),
				    "B", &ends),
			 EUREKA_UPSERT);
	assert_int_equal(ends, 0);
	assert_int_equal(say_change(&b,
				    APP("B", ONE("b", "10.1.0.2", ",\"actionType\":\"DELETED\"")),
				    "B", &ends),
			 EUREKA_REMOVE);
	assert_int_equal(say_change(&b, "", "B", &ends), 0);
	assert_int_equal(say_change(&b, APP("C", ONE("c", "10.1.0.3", PORT(1))), "C", &ends),
			 EUREKA_UPSERT);
	assert_int_equal(say_all(&b, ""), 0);
	eureka_book_done(&b.book);
	eureka_apps_done(&b.apps);
}

static void test_two_applications_with_one_name_are_not_mixed(void **state)
{
	struct book b = {};
	size_t ends = 0;

	assert_int_equal(eureka_book_init(&b.book, &registry), 0);
	assert_int_equal(say_all(&b, APP("A.B", ONE("a", "10.1.0.1", PORT(1))) "," APP(
					     "A_B", ONE("b", "10.1.0.2", PORT(1)))),
			 1);
	assert_int_equal(b.book.left_out, 1);
	assert_int_equal(say_change(&b, APP("A_B", ONE("c", "10.1.0.3", PORT(1))), "A_B", &ends),
			 0);
	assert_int_equal(say_change(&b, APP("A.B", ONE("d", "10.1.0.4", PORT(1))), "A.B", &ends),
			 EUREKA_UPSERT);
	assert_int_equal(ends, 2);
	eureka_book_done(&b.book);
	eureka_apps_done(&b.apps);
}

/* In deltas alone, as in whole answers: who has no port has no service, and another may have the
 * name. */
static void test_an_application_that_loses_its_ports_is_no_service_any_more(void **state)
{
	struct book b = {};
	size_t ends = 0;

	assert_int_equal(eureka_book_init(&b.book, &registry), 0);
	assert_int_equal(say_all(&b, APP("A.B", ONE("a", "10.1.0.1", PORT(1))) "," APP(
					     "C", ONE("c", "10.1.0.3", PORT(1)))),
			 2);
	assert_int_equal(say_change(&b, APP("A.B", ONE("a", "10.1.0.1", NO_PORT)), "A.B", &ends),
			 EUREKA_REMOVE);
	assert_int_equal(b.book.left_out, 1);
	assert_int_equal(say_change(&b, APP("A.B", ONE("a", "10.1.0.1", NO_PORT)), "A.B", &ends),
			 0);
	assert_int_equal(say_change(&b, APP("A.B", ONE("a", "10.1.0.1", PORT(2))), "A.B", &ends),
			 EUREKA_UPSERT);
	assert_int_equal(ends, 1);
	/* two more would have the name, and the first of them has no port either */
	assert_int_equal(say_change(&b, APP("A-B", ONE("x", "10.1.0.8", NO_PORT)), "A-B", &ends),
			 0);
	assert_int_equal(say_change(&b, APP("A_B", ONE("y", "10.1.0.9", PORT(1))), "A_B", &ends),
			 0);
	assert_int_equal(say_change(&b, APP("A.B", ONE("a", "10.1.0.1", NO_PORT)), "A.B", &ends),
			 EUREKA_UPSERT);
	assert_int_equal(say_change(&b, APP("A_B", ONE("y", "10.1.0.9", NO_PORT)), "A_B", &ends),
			 EUREKA_REMOVE);
	assert_int_equal(say_change(&b, APP("A.B", ONE("a", "10.1.0.1", PORT(1))), "A.B", &ends),
			 EUREKA_UPSERT);
	eureka_book_done(&b.book);
	eureka_apps_done(&b.apps);
}

static void test_what_was_said_is_said_again_for_the_asking(void **state)
{
	struct book b = {};
	struct object o;
	size_t left_out;

	assert_int_equal(eureka_book_init(&b.book, &registry), 0);
	assert_int_equal(say_all(&b, APP("A.B", ONE("a", "10.1.0.1", PORT(1)) "," ONE(
							"b", "10.1.0.2", NO_PORT SECURE(1)))),
			 1);
	left_out = b.book.left_out;
	for (int twice = 0; twice < 2; twice++) {
		assert_int_equal(eureka_book_again(&b.book, &b.apps, "a-b", &o), EUREKA_UPSERT);
		assert_string_equal(o.service->name, "a-b");
		assert_int_equal(o.service->n_endpoints, 1);
		object_done(&o);
	}
	assert_int_equal(b.book.left_out, left_out);
	assert_int_equal(eureka_book_again(&b.book, &b.apps, "c", &o), EUREKA_REMOVE);
	eureka_book_done(&b.book);
	eureka_apps_done(&b.apps);
}

static void test_names_are_selected_as_they_are_or_as_they_become(void **state)
{
	char *select[] = {"pay*", "CA?T"};
	struct book b = {};

	config.select = select;
	config.n_select = 2;
	assert_int_equal(eureka_book_init(&b.book, &registry), 0);
	assert_int_equal(
		say_all(&b, APP("PAY", ONE("a", "10.1.0.1", PORT(1))) "," APP(
				    "CART", ONE("b", "10.1.0.2",
						PORT(1))) "," APP("MAIL",
								  ONE("c", "10.1.0.2", PORT(1)))),
		2);
	eureka_book_done(&b.book);
	eureka_apps_done(&b.apps);
	config.select = NULL;
	config.n_select = 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_every_port_leads_to_an_instances_own),
		cmocka_unit_test(test_a_secure_port_of_all_is_a_second_port),
		cmocka_unit_test(test_zones_of_metadata_then_of_the_cloud_then_of_the_config),
		cmocka_unit_test(test_labels_are_what_all_usable_instances_say),
		cmocka_unit_test(test_what_cannot_be_a_service),
		cmocka_unit_test(test_only_what_changed_is_said_again),
		cmocka_unit_test(test_two_applications_with_one_name_are_not_mixed),
		cmocka_unit_test(test_an_application_that_loses_its_ports_is_no_service_any_more),
		cmocka_unit_test(test_what_was_said_is_said_again_for_the_asking),
		cmocka_unit_test(test_names_are_selected_as_they_are_or_as_they_become),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
