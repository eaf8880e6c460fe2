/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * model/codec*: what is wrong is told at its place, all of it at once, and nothing comes out. Rows
 * are mutations of one good object.
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

#include "base/cleanup.h"
#include "base/text.h"
#include "harness/model.h"
#include "model/limits.h"

static const char *const good =
	"{'apiVersion':'sinew/v1','kind':'Service','metadata':{'name':'pay','namespace':'shop',"
	"'labels':{'team':'a'}},'spec':{'address':'10.96.0.1','ports':[{'name':'http','port':80},"
	"{'name':'dns','port':53,'protocol':'UDP','targetPort':5353}],'endpoints':["
	"{'address':'10.0.0.1','weight':7,'zone':'z1','node':'n1.example'},"
	"{'address':'10.0.0.2','ports':{'http':8080}}],'policy':'gentle'}}";

struct row {
	const char *old, *new; /* in `good`; old NULL: new is the whole text */
	const char *pointer, *says;
	bool at_key;
};

static char *mutate(const char *text, const char *old, const char *new)
{
	const char *at = old ? strstr(text, old) : NULL;
	struct text_buffer b = {};

	if (!old) {
		text_append(&b, new);
	} else {
		if (!at)
			fail_msg("%s is not in the text", old);
		text_append_bytes(&b, text, (size_t)(at - text));
		text_append(&b, new);
		text_append(&b, at + strlen(old));
	}
	return text_take(&b);
}

static void check_row(const struct row *row)
{
	_cleanup_free_ char *text = mutate(good, row->old, row->new);
	struct problems problems = {};
	struct object o = {.kind = (enum object_kind)99};
	int r = model_decode(text, "manifest", &problems, &o);

	if (r != -EINVAL || o.kind != 99)
		fail_msg("%s came to %d", text, r);
	if (!model_has_problem(&problems, row->pointer, row->says))
		fail_msg("in %s", text);
	assert_int_equal(problems.n, 1);
	assert_int_equal(problems.items[0].at_key, row->at_key);
	problems_done(&problems);
}

#define CHECK_ROWS(rows)                                                                           \
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++)                                              \
		check_row(&(rows)[i]);

static void test_good_is_good(void **state)
{
	struct object o = model_object(good, "manifest");
	const struct service *s = o.service;

	assert_int_equal(o.kind, OBJECT_SERVICE);
	assert_string_equal(s->namespace, "shop");
	assert_string_equal(s->name, "pay");
	assert_string_equal(s->source, "manifest");
	assert_string_equal(s->policy, "gentle");
	assert_int_equal(s->n_ports, 2);
	assert_int_equal(s->ports[1].proto, SN_PROTO_UDP);
	assert_int_equal(s->n_endpoints, 2);
	assert_int_equal(service_target(s, 0, 0), 80);
	assert_int_equal(service_target(s, 0, 1), 5353);
	assert_int_equal(service_target(s, 1, 0), 8080);
	assert_int_equal(service_target(s, 1, 1), 5353);
	assert_int_equal(s->endpoints[0].weight, 7);
	assert_int_equal(s->endpoints[1].weight, 100);
	assert_string_equal(s->zones[s->endpoints[0].zone - 1], "z1");
	assert_int_equal(s->endpoints[1].zone, 0);
	assert_string_equal(s->nodes[s->endpoints[0].node - 1], "n1.example");
	assert_int_equal(s->endpoints[1].node, 0);
	assert_false(s->allocated);
	object_done(&o);
}

static void test_envelope(void **state)
{
	static const struct row rows[] = {
		{NULL, "[]", "", "the object must be a mapping, not a list", false},
		{NULL, "null", "", "not nothing", false},
		{NULL, "'x'", "", "not a text", false},
		{"'apiVersion':'sinew/v1',", "", "", "apiVersion is missing", false},
		{"sinew/v1", "sinew/v2", "/apiVersion", "\"sinew/v1\" is expected", false},
		{"'sinew/v1'", "1", "/apiVersion", "must be a text, not a number", false},
		{"'Service'", "'service'", "/kind", "did you mean \"Service\"?", false},
		{"'Service'", "'Pod'", "/kind",
		 "Service, TrafficPolicy or Registration is expected", false},
		{"'kind':'Service',", "", "", "kind is missing", false},
		{"'kind'", "'kinds':1,'kind'", "/kinds", "did you mean \"kind\"?", true},
		{"'kind'", "'kind':'Service','kind'", "/kind", "given twice", true},
		{"'metadata'", "'status':{},'meta':1,'metadata'", "/meta", "unknown key", true},
		{"'name':'pay',", "", "/metadata", "metadata.name is missing", false},
		{"'pay'", "'Pay'", "/metadata/name", "lower-case", false},
		{"'pay'", "'-pay'", "/metadata/name", "RFC 1123", false},
		{"'pay'", "'pay-'", "/metadata/name", "RFC 1123", false},
		{"'pay'", "'p.y'", "/metadata/name", "RFC 1123", false},
		{"'pay'", "''", "/metadata/name", "RFC 1123", false},
		{"'pay'", "'p\\u0000y'", "/metadata/name", "NUL", false},
		{"'pay'", "7", "/metadata/name", "must be a text, not a number", false},
		{"'shop'", "['shop']", "/metadata/namespace", "not a list", false},
		{"{'team':'a'}", "[]", "/metadata/labels", "labels must be a mapping", false},
		{"{'team':'a'}", "{'team':1}", "/metadata/labels/team", "a text", false},
		{"{'team':'a'}", "{'/a~b':'x'}", "/metadata/labels/~1a~0b", "label key", true},
		{"{'team':'a'}", "{'':'x'}", "/metadata/labels/", "label key", true},
		{"{'team':'a'}", "{'a\\u0000':'x'}", "/metadata/labels/a\0", "label key", true},
		{"{'team':'a'}", "{'a':'x\\n'}", "/metadata/labels/a", "control character", false},
		{"{'team':'a'}", "{'a':'x','b':'y','a':'z'}", "/metadata/labels/a", "twice", true},
	};

	CHECK_ROWS(rows);
}

static void test_spec(void **state)
{
	static const struct row rows[] = {
		{"'spec'", "'spec':[],'status'", "/spec", "must be a mapping, not a list", false},
		{"'policy':'gentle'", "'polciy':'gentle'", "/spec/polciy",
		 "unknown key \"polciy\" in Service.spec; did you mean \"policy\"?", true},
		{"'gentle'", "'Gentle'", "/spec/policy", "lower-case", false},
		{"'10.96.0.1'", "'10.96.0'", "/spec/address", "no IPv4 or IPv6", false},
		{"'10.96.0.1'", "10", "/spec/address", "must be a text, not a number", false},
		{"'10.96.0.1'", "'0.0.0.0'", "/spec/address", "cannot be a service's", false},
		{"'10.96.0.1'", "'224.0.0.1'", "/spec/address", "cannot be a service's", false},
		{"'10.96.0.1'", "'10.96.0.1','addresses':[]", "/spec/address", "both given", false},
		{"'address':'10.96.0.1'", "'addresses':'10.96.0.1'", "/spec/addresses", "a list",
		 false},
		{"'address':'10.96.0.1'", "'addresses':['10.96.0.1','10.96.0.2']",
		 "/spec/addresses/1", "10.96.0.1 is given already", false},
		{"'address':'10.96.0.1'", "'addresses':['10.96.0.1','fd00::1','fd00::2']",
		 "/spec/addresses", "3 addresses", false},
		{"'10.96.0.1'", "'10.96.0.1','allocated':1", "/spec/allocated", "true or false",
		 false},
	};

	CHECK_ROWS(rows);
}

static void test_ports(void **state)
{
	static const struct row rows[] = {
		{"'port':80", "'port':70000", "/spec/ports/0/port",
		 "port 70000 is out of range (0 to 65535)", false},
		{"'port':80", "'port':-1", "/spec/ports/0/port", "-1 is out of range", false},
		{"'port':80", "'port':80.5", "/spec/ports/0/port", "not a whole number", false},
		{"'port':80", "'port':'80'", "/spec/ports/0/port",
		 "must be a number, not the text \"80\"", false},
		{"'port':80", "'port':true", "/spec/ports/0/port", "not true or false", false},
		{"'port':80", "'port':18446744073709551615", "/spec/ports/0/port", "out of range",
		 false},
		{",'port':80", "", "/spec/ports/0", "port is missing", false},
		{"'port':80", "'prot':1,'port':80", "/spec/ports/0/prot", "did you mean \"port\"?",
		 true},
		{"'targetPort':5353", "'targetPort':0", "/spec/ports/1/targetPort",
		 "0 is out of range (1 to 65535)", false},
		{"'UDP'", "'udp'", "/spec/ports/1/protocol", "TCP or UDP is expected", false},
		{"'UDP'", "'SCTP'", "/spec/ports/1/protocol", "TCP or UDP is expected", false},
		{"'dns'", "'http'", "/spec/ports/1", "two ports are named \"http\"", false},
		{"'port':53,'protocol':'UDP'", "'port':80", "/spec/ports/1",
		 "80/TCP is given twice", false},
		{"{'name':'dns',", "{", "/spec/ports/1", "each needs one", false},
		{"'name':'http'", "'name':'HTTP'", "/spec/ports/0/name", "lower-case", false},
		{"{'name':'http','port':80}", "80", "/spec/ports/0", "must be a mapping", false},
	};

	CHECK_ROWS(rows);
}

static void test_endpoints(void **state)
{
	static const struct row rows[] = {
		{"'10.0.0.1'", "'localhost'", "/spec/endpoints/0/address", "no IPv4 or IPv6",
		 false},
		{"'10.0.0.1'", "'0.0.0.0'", "/spec/endpoints/0/address", "nothing can be sent",
		 false},
		{"'10.0.0.1'", "'fd00::1'", "/spec/endpoints/0/address",
		 "is IPv6, but the service only has the address 10.96.0.1", false},
		{"'address':'10.0.0.1',", "", "/spec/endpoints/0", "address is missing", false},
		{"'weight':7", "'weight':65536", "/spec/endpoints/0/weight", "(0 to 65535)", false},
		{"'weight':7", "'weihgt':7", "/spec/endpoints/0/weihgt", "\"weight\"?", true},
		{"'z1'", "'Z1'", "/spec/endpoints/0/zone", "lower-case", false},
		{"'z1'", "'z.1'", "/spec/endpoints/0/zone", "lower-case", false},
		{"'n1.example'", "'N1'", "/spec/endpoints/0/node", "lower-case", false},
		{"'n1.example'", "'n1..b'", "/spec/endpoints/0/node", "single dots", false},
		{"'n1.example'", "'n1.'", "/spec/endpoints/0/node", "single dots", false},
		{"'n1.example'", "'n1.-a'", "/spec/endpoints/0/node", "RFC 1123 name", false},
		{"'n1.example'", "7", "/spec/endpoints/0/node", "node must be a text", false},
		{"'weight':7", "'source':'Consul'", "/spec/endpoints/0/source", "no source", false},
		{"'weight':7", "'source':'a/b/c'", "/spec/endpoints/0/source", "no source", false},
		{"'weight':7", "'source':'a/'", "/spec/endpoints/0/source", "no source", false},
		{"'weight':7", "'source':'.a'", "/spec/endpoints/0/source", "no source", false},
		{"'weight':7", "'source':''", "/spec/endpoints/0/source", "no source", false},
		{"'weight':7", "'source':1", "/spec/endpoints/0/source", "must be a text", false},
		{"'weight':7", "'instance':'0123456789abcde'", "/spec/endpoints/0/instance",
		 "16 lower-case hex", false},
		{"'weight':7", "'instance':'0123456789ABCDEF'", "/spec/endpoints/0/instance",
		 "16 lower-case hex", false},
		{"'weight':7", "'instance':'0123456789abcdef0'", "/spec/endpoints/0/instance",
		 "17 bytes long", false},
		{"'weight':7", "'instance':'0000000000000000'", "/spec/endpoints/0/instance",
		 "nobody", false},
		{"'weight':7", "'instance':7", "/spec/endpoints/0/instance", "must be a text",
		 false},
		{"'weight':7", "'suspect':'true'", "/spec/endpoints/0/suspect", "true or false",
		 false},
		{"'weight':7", "'port':0", "/spec/endpoints/0/port", "(1 to 65535)", false},
		{"{'http':8080}", "{'htpp':8080}", "/spec/endpoints/1/ports/htpp",
		 "did you mean \"http\"?", true},
		{"{'http':8080}", "{'x':8080}", "/spec/endpoints/1/ports/x",
		 "the service has no port named \"x\"", true},
		{"{'http':8080}", "{'http':8080,'http':1}", "/spec/endpoints/1/ports/http", "twice",
		 true},
		{"{'http':8080}", "{'http':0}", "/spec/endpoints/1/ports/http", "(1 to 65535)",
		 false},
		{"{'http':8080}", "{'http\\u0000':8080}", "/spec/endpoints/1/ports/http",
		 "no port named \"http\"", true},
		{"{'http':8080}", "8080", "/spec/endpoints/1/ports", "names of ports", false},
		{"'10.0.0.2','ports':{'http':8080}", "'10.0.0.1'", "/spec/endpoints/1",
		 "endpoint 10.0.0.1:80 is in the list already (number 1)", false},
		{"{'address':'10.0.0.1','weight':7,'zone':'z1','node':'n1.example'}", "'10.0.0.1'",
		 "/spec/endpoints/0", "must be a mapping, not a text", false},
	};

	CHECK_ROWS(rows);
}

static void test_policy(void **state)
{
	static const char policy[] = "{'apiVersion':'sinew/v1','kind':'TrafficPolicy','metadata':"
				     "{'name':'p'},'spec':{'loadBalancer':{'algorithm':'random'}}}";
	static const struct row rows[] = {
		{"'random'", "'randon'", "/spec/loadBalancer/algorithm", "did you mean \"random\"?",
		 false},
		{"'random'", "'ROUND_ROBIN'", "/spec/loadBalancer/algorithm",
		 "did you mean \"roundRobin\"?", false},
		{"'random'", "'x'", "/spec/loadBalancer/algorithm", "is not known; random, p2c,",
		 false},
		{"'random'", "[]", "/spec/loadBalancer/algorithm", "not a list", false},
		{"'loadBalancer'", "'loadbalancer'", "/spec/loadbalancer", "\"loadBalancer\"?",
		 true},
		{"{'algorithm':'random'}", "7", "/spec/loadBalancer", "must be a mapping", false},
		{"'spec':{'loadBalancer':{'algorithm':'random'}}", "'status':{}", "",
		 "spec is missing", false},
	};
	struct object o = model_object(policy, "manifest");

	assert_int_equal(o.kind, OBJECT_POLICY);
	assert_int_equal(o.policy->rules.algorithm, SN_ALGORITHM_RANDOM);
	assert_string_equal(o.policy->namespace, "default");
	object_done(&o);
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		_cleanup_free_ char *text = mutate(policy, rows[i].old, rows[i].new);
		struct row row = {NULL, text, rows[i].pointer, rows[i].says, rows[i].at_key};

		check_row(&row);
	}
}

/* All that is wrong is told in one answer, up to the limit; the rest is counted. */
static void test_all_problems_at_once(void **state)
{
	struct problems problems = {};
	struct object o = {};
	struct text_buffer b = {};

	text_append(&b, "{'apiVersion':'x','kind':'Service','metadata':{'name':'A'},'spec':{"
			"'address':'x','prots':1,'ports':[{'port':99999}],'endpoints':[");
	for (int i = 0; i < 40; i++)
		text_append_format(&b, "%s{'address':'no%d'}", i ? "," : "", i);
	text_append(&b, "]}}");
	assert_int_equal(model_decode(b.data, "m", &problems, &o), -EINVAL);
	assert_int_equal(problems.n, LIMIT_PROBLEMS);
	assert_int_equal(problems.n + problems.more, 45);
	assert_true(model_has_problem(&problems, "/apiVersion", "known"));
	assert_true(model_has_problem(&problems, "/metadata/name", "lower-case"));
	assert_true(model_has_problem(&problems, "/spec/address", "no IPv4"));
	assert_true(model_has_problem(&problems, "/spec/prots", "\"ports\"?"));
	assert_true(model_has_problem(&problems, "/spec/ports/0/port", "99999"));
	assert_true(model_has_problem(&problems, "/spec/endpoints/0/address", "no0"));
	problems_done(&problems);
	text_done(&b);
}

/* What follows from a mistake elsewhere is not told as another. */
static void test_no_follow_up_problems(void **state)
{
	static const struct row rows[] = {
		{"'port':80", "'port':99999", "/spec/ports/0/port", "99999", false},
		{"'10.96.0.1'", "'nonsense'", "/spec/address", "no IPv4", false},
	};

	CHECK_ROWS(rows);
}

/* --- limits ------------------------------------------------------------------------------- */

/* HEAD, `n` times ITEM with %u for its number, TAIL. */
static char *repeat(const char *head, const char *item, unsigned int n, const char *tail)
{
	struct text_buffer b = {};

	text_append(&b, head);
	for (unsigned int i = 0; i < n; i++) {
		const char *at = strchr(item, '%');

		text_append(&b, i ? "," : "");
		text_append_bytes(&b, item, (size_t)(at - item));
		text_append_format(&b, "%u", i);
		text_append(&b, at + 1);
	}
	text_append(&b, tail);
	return text_take(&b);
}

#define HEAD "{'apiVersion':'sinew/v1','kind':'Service','metadata':{'name':'p'"
#define PORT "'ports':[{'port':80}]"

static int decode_size(char *text, struct problems *problems)
{
	struct object o = {};
	int r = model_decode(text, "m", problems, &o);

	object_done(&o);
	free(text);
	return r;
}

static void check_limit(char *fits, char *too_many, const char *pointer, const char *says)
{
	struct problems problems = {};

	assert_int_equal(decode_size(fits, &problems), 0);
	assert_int_equal(decode_size(too_many, &problems), -EINVAL);
	assert_true(model_has_problem(&problems, pointer, says));
	problems_done(&problems);
}

static char *labels(unsigned int n)
{
	return repeat(HEAD ",'labels':{", "'k%':'v'", n, "}},'spec':{" PORT "}}");
}

static char *endpoints(unsigned int n)
{
	struct text_buffer b = {};

	text_append(&b, HEAD "},'spec':{" PORT ",'endpoints':[");
	for (unsigned int i = 0; i < n; i++)
		text_append_format(&b, "%s{'address':'10.1.%u.%u'}", i ? "," : "", i >> 8, i & 255);
	text_append(&b, "]}}");
	return text_take(&b);
}

static char *text_of(const char *before, size_t n, const char *after)
{
	struct text_buffer b = {};

	text_append(&b, before);
	for (size_t i = 0; i < n; i++)
		text_append(&b, "a");
	text_append(&b, after);
	return text_take(&b);
}

static void test_limit_labels(void **state)
{
	check_limit(labels(LIMIT_LABELS), labels(LIMIT_LABELS + 1), "/metadata/labels",
		    "65 labels; at most 64 are allowed");
}

static void test_limit_label_value(void **state)
{
	const char *after = "'}},'spec':{" PORT "}}";

	check_limit(text_of(HEAD ",'labels':{'k':'", LIMIT_LABEL_VALUE, after),
		    text_of(HEAD ",'labels':{'k':'", LIMIT_LABEL_VALUE + 1, after),
		    "/metadata/labels/k", "254 bytes long, at most 253");
}

static void test_limit_name(void **state)
{
	const char *before = "{'apiVersion':'sinew/v1','kind':'Service','metadata':{'name':'";
	const char *after = "'},'spec':{" PORT "}}";

	check_limit(text_of(before, LIMIT_NAME, after), text_of(before, LIMIT_NAME + 1, after),
		    "/metadata/name", "64 bytes long, at most 63");
}

static void test_limit_endpoints(void **state)
{
	check_limit(endpoints(LIMIT_ENDPOINTS), endpoints(LIMIT_ENDPOINTS + 1), "/spec/endpoints",
		    "4097 endpoints; at most 4096 are allowed");
}

/* Each of its own name and number. */
static char *many_ports(unsigned int n)
{
	struct text_buffer b = {};

	text_append(&b, HEAD "},'spec':{'ports':[");
	for (unsigned int i = 0; i < n; i++)
		text_append_format(&b, "%s{'port':%u,'name':'p%u'}", i ? "," : "", i + 1, i);
	text_append(&b, "]}}");
	return text_take(&b);
}

static void test_limit_ports(void **state)
{
	check_limit(many_ports(LIMIT_PORTS), many_ports(LIMIT_PORTS + 1), "/spec/ports",
		    "33 ports; 1 to 32 are allowed");
	check_limit(many_ports(1), many_ports(0), "/spec/ports", "0 ports");
}

static char *many_places(const char *key, unsigned int n)
{
	struct text_buffer b = {};

	text_append(&b, HEAD "},'spec':{" PORT ",'endpoints':[");
	for (unsigned int i = 0; i < n; i++)
		text_append_format(&b, "%s{'address':'10.1.%u.%u','%s':'z%u'}", i ? "," : "",
				   i / 256, i % 256, key, i);
	text_append(&b, "]}}");
	return text_take(&b);
}

static void test_limit_places(void **state)
{
	check_limit(many_places("zone", LIMIT_SERVICE_ZONES),
		    many_places("zone", LIMIT_SERVICE_ZONES + 1), "/spec/endpoints/64/zone",
		    "more than 64 zones in one service");
	check_limit(many_places("node", LIMIT_SERVICE_NODES),
		    many_places("node", LIMIT_SERVICE_NODES + 1), "/spec/endpoints/1024/node",
		    "more than 1024 nodes in one service");
	check_limit(many_places("source", LIMIT_SERVICE_SOURCES),
		    many_places("source", LIMIT_SERVICE_SOURCES + 1), "/spec/endpoints/32/source",
		    "more than 32 sources in one service");
}

/* --- lists -------------------------------------------------------------------------------- */

static int decode_list(const char *text, struct problems *problems, size_t *ret_n)
{
	yyjson_doc *doc = model_json(text);
	struct object *objects = NULL;
	size_t n = 0;
	int r = codec_decode_list(yyjson_doc_get_root(doc), "src", problems, &objects, &n);

	*ret_n = n;
	for (size_t i = 0; i < n; i++)
		assert_string_equal(objects[i].kind == OBJECT_SERVICE ? objects[i].service->source
								      : objects[i].policy->source,
				    "src");
	if (r >= 0)
		(void)object_free_list(objects, n);
	yyjson_doc_free(doc);
	return r;
}

#define ITEM(name)                                                                                 \
	"{'apiVersion':'sinew/v1','kind':'Service','metadata':{'name':'" name "'},'spec':{" PORT   \
	"}}"
#define POLICY "{'apiVersion':'sinew/v1','kind':'TrafficPolicy','metadata':{'name':'p'},'spec':{}}"
#define LIST "{'apiVersion':'sinew/v1','kind':'List','items':["

static void test_list(void **state)
{
	struct problems problems = {};
	size_t n;

	assert_int_equal(decode_list(LIST ITEM("a") "," POLICY "],'metadata':{},'source':'x'}",
				     &problems, &n),
			 0);
	assert_int_equal(n, 2);
	assert_int_equal(decode_list(LIST "]}", &problems, &n), 0);
	assert_int_equal(n, 0);
	assert_false(problems_any(&problems));
}

/* One bad item spoils the list, and every item's problems are told. */
static void test_list_is_whole_or_nothing(void **state)
{
	static const struct {
		const char *text, *pointer, *says;
	} rows[] = {
		{LIST ITEM("a") "," ITEM("B") "," ITEM("c") "]}", "/items/1/metadata/name",
		 "\"B\""},
		{LIST "7]}", "/items/0", "must be a mapping"},
		{LIST ITEM("a") "],'generaton':1}", "/generaton", "\"generation\"?"},
		{"{'apiVersion':'sinew/v1','kind':'Liste','items':[" ITEM("a") "]}", "/kind",
		 "must be \"List\""},
		{"{'apiVersion':'sinew/v1','items':[" ITEM("a") "]}", "", "must be \"List\""},
		{"{'kind':'List','items':[" ITEM("a") "]}", "", "apiVersion is missing"},
		{"{'apiVersion':'sinew/v1','kind':'List'}", "", "items is missing"},
		{"{'apiVersion':'sinew/v1','kind':'List','items':{}}", "/items",
		 "a list of objects"},
		{"[]", "", "must be a mapping"},
	};

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct problems problems = {};
		size_t n;

		assert_int_equal(decode_list(rows[i].text, &problems, &n), -EINVAL);
		assert_int_equal(n, 0);
		assert_true(model_has_problem(&problems, rows[i].pointer, rows[i].says));
		problems_done(&problems);
	}
}

static void test_limit_documents(void **state)
{
	_cleanup_free_ char *text = repeat(LIST, "%", LIMIT_DOCUMENTS + 1, "]}");
	struct problems problems = {};
	size_t n;

	assert_int_equal(decode_list(text, &problems, &n), -EINVAL);
	assert_int_equal(problems.n, 1);
	assert_true(model_has_problem(&problems, "/items", "20001 objects; at most 20000"));
	problems_done(&problems);
}

/* Pointers of a single object inside a request begin with what the caller says. */
static void test_pointer_prefix(void **state)
{
	yyjson_doc *doc = model_json("{'apiVersion':'sinew/v1','kind':'Service','spec':{}}");
	struct problems problems = {};
	struct object o = {};

	assert_int_equal(
		codec_decode_object(yyjson_doc_get_root(doc), "/items/3", "s", &problems, &o),
		-EINVAL);
	assert_true(model_has_problem(&problems, "/items/3", "metadata is missing"));
	assert_true(model_has_problem(&problems, "/items/3/spec", "ports is missing"));
	problems_done(&problems);
	yyjson_doc_free(doc);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_good_is_good),
		cmocka_unit_test(test_envelope),
		cmocka_unit_test(test_spec),
		cmocka_unit_test(test_ports),
		cmocka_unit_test(test_endpoints),
		cmocka_unit_test(test_policy),
		cmocka_unit_test(test_all_problems_at_once),
		cmocka_unit_test(test_no_follow_up_problems),
		cmocka_unit_test(test_limit_labels),
		cmocka_unit_test(test_limit_label_value),
		cmocka_unit_test(test_limit_name),
		cmocka_unit_test(test_limit_endpoints),
		cmocka_unit_test(test_limit_ports),
		cmocka_unit_test(test_limit_places),
		cmocka_unit_test(test_list),
		cmocka_unit_test(test_list_is_whole_or_nothing),
		cmocka_unit_test(test_limit_documents),
		cmocka_unit_test(test_pointer_prefix),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
