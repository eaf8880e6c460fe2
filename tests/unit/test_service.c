/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * model/service: one block that owns its texts, a tag of all that it says, equality without the
 * source.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "harness/model.h"

static const char *const base =
	"{'apiVersion':'sinew/v1','kind':'Service','metadata':{'name':'pay','namespace':'shop',"
	"'labels':{'team':'a'}},'spec':{'address':'10.96.0.1','ports':[{'name':'http','port':80},"
	"{'name':'dns','port':53,'protocol':'UDP'}],'endpoints':[{'address':'10.0.0.1','weight':7,"
	"'zone':'z1'},{'address':'10.0.0.2','port':8080}],'policy':'gentle'}}";

/* One thing that is said otherwise. */
static const char *const others[][2] = {
	{"'pay'", "'pays'"},
	{"'shop'", "'shops'"},
	{"'team'", "'teams'"},
	{"'a'}", "'b'}"},
	{",'labels':{'team':'a'}", ""},
	{"10.96.0.1", "10.96.0.2"},
	{"'10.96.0.1'", "'10.96.0.1','allocated':true"},
	{"'http'", "'https'"},
	{"'port':80}", "'port':81}"},
	{"'UDP'", "'TCP'"},
	{"10.0.0.1", "10.0.0.3"},
	{"'weight':7", "'weight':8"},
	{"'z1'", "'z2'"},
	{",'zone':'z1'", ""},
	{"'zone':'z1'", "'node':'z1'"},
	{"'zone':'z1'", "'zone':'z1','node':'n1.example'"},
	{"'port':8080", "'port':8081"},
	{"'gentle'", "'default'"},
	{",{'address':'10.0.0.2','port':8080}", ""},
	{",{'name':'dns','port':53,'protocol':'UDP'}", ""},
};

static struct object replaced(const char *text, const char *old, const char *new,
			      const char *source)
{
	const char *at = strstr(text, old);
	char buf[2048];

	assert_non_null(at);
	(void)snprintf(buf, sizeof(buf), "%.*s%s%s", (int)(at - text), text, new, at + strlen(old));
	return model_object(buf, source);
}

static void test_etag_and_equality_see_everything(void **state)
{
	struct object first = model_object(base, "manifest");

	for (size_t i = 0; i < ARRAY_SIZE(others); i++) {
		struct object other = replaced(base, others[i][0], others[i][1], "manifest");

		if (first.service->etag == other.service->etag ||
		    service_is_equal(first.service, other.service))
			fail_msg("%s instead of %s is not seen", others[i][1], others[i][0]);
		/* Also when tags happen to be the same. */
		other.service->etag = first.service->etag;
		if (service_is_equal(first.service, other.service))
			fail_msg("%s instead of %s hides behind the tag", others[i][1],
				 others[i][0]);
		object_done(&other);
	}
	object_done(&first);
}

static void test_source_does_not_count(void **state)
{
	struct object a = model_object(base, "manifest"), b = model_object(base, "consul/dc1");

	assert_true(a.service != b.service);
	assert_int_equal(a.service->etag, b.service->etag);
	assert_true(a.service->etag != 0);
	assert_true(service_is_equal(a.service, b.service));
	assert_string_equal(b.service->source, "consul/dc1");
	object_done(&a);
	object_done(&b);
}

/* A service of one endpoint, of which that is said. */
static struct object named(const char *name, const char *said)
{
	char text[512];

	(void)snprintf(text, sizeof(text),
		       "{'apiVersion':'sinew/v1','kind':'Service','metadata':{'name':'%s'},"
		       "'spec':{'ports':[{'port':80}],'endpoints':[{'address':'10.0.0.1'%s}]}}",
		       name, said);
	return model_object(text, "manifest");
}

#define ONE ",'instance':'0000000000000001'"
#define TWO ",'instance':'0000000000000002'"

/* Who is at an address is known by one registry's ids in one service, and by nothing else. */
static void test_p85_who_is_at_an_address(void **state)
{
	static const struct {
		const char *was, *name, *is;
		bool is_other;
	} cases[] = {
		{"", "pay", "", false},
		{ONE, "pay", "", false},
		{"", "pay", ONE, false},
		{ONE, "pay", ONE, false},
		{ONE, "pay", TWO, true},
		{ONE, "pay", TWO ",'suspect':true", true},
		{ONE, "stock", TWO, false},
		{ONE, "pay", TWO ",'source':'a/b'", false},
		{ONE ",'source':'a/b'", "pay", TWO ",'source':'a/c'", false},
		{ONE ",'source':'a/b'", "pay", TWO ",'source':'a/b'", true},
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct object was = named("pay", cases[i].was);
		struct object is = named(cases[i].name, cases[i].is);

		if (service_is_other(was.service, 0, is.service, 0) != cases[i].is_other)
			fail_msg("%s, then %s of %s", cases[i].was, cases[i].is, cases[i].name);
		object_done(&was);
		object_done(&is);
	}
}

/* The draft may go; the object has all of its own. ASan would see a borrowed piece. */
static void test_object_owns_its_block(void **state)
{
	char *texts[] = {strdup("ns"),     strdup("name"), strdup("src"),
			 strdup("policy"), strdup("key"),  strdup("value"),
			 strdup("port"),   strdup("zone"), strdup("node")};
	struct label label = {texts[4], texts[5]};
	struct service_port port = {.name = texts[6], .port = 80, .proto = SN_PROTO_TCP};
	struct endpoint endpoint = {.weight = 5, .zone = 1, .node = 1};
	uint16_t target = 8080;
	struct service draft = {.namespace = texts[0],
				.name = texts[1],
				.source = texts[2],
				.policy = texts[3],
				.labels = &label,
				.n_labels = 1,
				.ports = &port,
				.n_ports = 1,
				.endpoints = &endpoint,
				.n_endpoints = 1,
				.targets = &target,
				.zones = &texts[7],
				.n_zones = 1,
				.nodes = &texts[8],
				.n_nodes = 1};
	struct service *s;

	assert_int_equal(service_new(&draft, &s), 0);
	memset(&label, 0, sizeof(label));
	memset(&port, 0, sizeof(port));
	memset(&endpoint, 0, sizeof(endpoint));
	target = 0;
	for (size_t i = 0; i < ARRAY_SIZE(texts); i++)
		free(texts[i]);
	assert_string_equal(s->labels[0].key, "key");
	assert_string_equal(s->labels[0].value, "value");
	assert_string_equal(s->ports[0].name, "port");
	assert_string_equal(s->zones[0], "zone");
	assert_string_equal(s->nodes[0], "node");
	assert_string_equal(s->policy, "policy");
	assert_int_equal(service_target(s, 0, 0), 8080);
	assert_int_equal(s->endpoints[0].weight, 5);
	assert_ptr_equal(service_ref(s), s);
	assert_null(service_unref(s));
	assert_string_equal(s->name, "name");
	assert_null(service_unref(s));
	assert_null(service_unref(NULL));
	assert_null(service_ref(NULL));
}

static void test_policy(void **state)
{
	static const char text[] = "{'apiVersion':'sinew/v1','kind':'TrafficPolicy','metadata':"
				   "{'name':'p','labels':{'a':'b'}},'spec':{}}";
	struct object a = model_object(text, "x"), b = model_object(text, "y");
	struct object c = replaced(text, "'p'", "'q'", "x"), d = replaced(text, "'b'", "'c'", "x");

	assert_true(policy_is_equal(a.policy, b.policy));
	assert_int_equal(a.policy->etag, b.policy->etag);
	assert_true(a.policy->etag != c.policy->etag && a.policy->etag != d.policy->etag);
	assert_false(policy_is_equal(a.policy, c.policy));
	assert_false(policy_is_equal(a.policy, d.policy));
	d.policy->etag = c.policy->etag = a.policy->etag;
	assert_false(policy_is_equal(a.policy, c.policy));
	assert_false(policy_is_equal(a.policy, d.policy));
	object_done(&a);
	object_done(&b);
	object_done(&c);
	object_done(&d);
	assert_null(policy_unref(NULL));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_etag_and_equality_see_everything),
		cmocka_unit_test(test_source_does_not_count),
		cmocka_unit_test(test_p85_who_is_at_an_address),
		cmocka_unit_test(test_object_owns_its_block),
		cmocka_unit_test(test_policy),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
