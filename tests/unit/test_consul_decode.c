/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * registry/consul_decode: what a real Consul 1.16 answered (tests/fuzz/corpus), and rows of answers
 * that are none, or half of one. Rows have ' in place of ".
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
#include "model/address.h"
#include "model/limits.h"
#include "registry/consul_decode.h"
#include "unit/recorded.h"

static char *quoted(const char *text)
{
	char *copy = strdup(text);

	assert_non_null(copy);
	for (char *p = copy; *p; p++)
		*p = *p == '\'' ? '"' : *p;
	return copy;
}

static struct consul_health health_of(const char *rows)
{
	struct consul_health h = {};
	char error[JSON_ERROR] = "";
	_cleanup_free_ char *text = quoted(rows);

	if (consul_decode_health(text, strlen(text), &h, error) < 0)
		fail_msg("%s: %s", text, error);
	return h;
}

static void test_a_real_catalog(void **state)
{
	struct consul_catalog c;
	char error[JSON_ERROR];
	size_t n;
	_cleanup_free_ char *text = recorded_read("consul/services.json", &n);

	assert_int_equal(consul_decode_catalog(text, n, &c, error), 0);
	assert_int_equal(c.n, 2);
	assert_string_equal(c.names[0], "consul");
	assert_string_equal(c.names[1], "pay");
	assert_int_equal(c.skipped, 0);
	consul_catalog_done(&c);
}

static void test_real_instances(void **state)
{
	static const struct {
		const char *node, *id, *address, *zone;
		uint16_t port, weight;
		enum consul_state state;
	} rows[] = {
		{"gone", "pay", "10.1.0.4", "b", 80, 0, CONSUL_CRITICAL},
		{"peer", "pay-10.1.0.1-8080", "10.1.0.1", "a", 8080, 3, CONSUL_PASSING},
		{"peer", "pay-10.1.0.2-8080", "10.1.0.2", "", 8080, 0, CONSUL_MAINTENANCE},
		{"peer", "pay-10.1.0.3-8080", "10.1.0.3", "", 8080, 1, CONSUL_WARNING},
		{"peer", "pay-fd00::1-8080", "fd00::1", "", 8080, 1, CONSUL_PASSING},
	};
	struct consul_health h;
	char error[JSON_ERROR], address[ADDRESS_TEXT];
	size_t n;
	_cleanup_free_ char *text = recorded_read("consul/health.json", &n);

	assert_int_equal(consul_decode_health(text, n, &h, error), 0);
	assert_int_equal(h.n, ARRAY_SIZE(rows));
	for (size_t i = 0; i < h.n; i++) {
		const struct consul_instance *one = &h.instances[i];

		assert_string_equal(one->node, rows[i].node);
		assert_string_equal(one->id, rows[i].id);
		assert_true(one->has_address);
		assert_string_equal(address_format(&one->addr, address), rows[i].address);
		assert_string_equal(one->zone, rows[i].zone);
		assert_int_equal(one->port, rows[i].port);
		assert_int_equal(one->state, rows[i].state);
		assert_int_equal(one->weight, rows[i].weight);
	}
	consul_health_done(&h);
}

static void test_real_keys(void **state)
{
	struct consul_keys k;
	char error[JSON_ERROR];
	size_t n;
	_cleanup_free_ char *text = recorded_read("consul/keys.json", &n);

	assert_int_equal(consul_decode_keys(text, n, &k, error), 0);
	assert_int_equal(k.n, 1); /* a folder is none */
	assert_string_equal(k.items[0].key, "sinew/policies/gentle");
	assert_non_null(strstr(k.items[0].value, "TrafficPolicy"));
	assert_int_equal(k.items[0].length, strlen(k.items[0].value));
	assert_true(k.items[0].modified > 0);
	consul_keys_done(&k);
}

#define ENTRY(checks) "[{'Node':{'Node':'n'},'Service':{'ID':'a'},'Checks':" checks "}]"

static void test_p80_the_worst_check_decides(void **state)
{
	static const struct {
		const char *text;
		enum consul_state state;
	} rows[] = {
		{ENTRY("[]"), CONSUL_PASSING},
		{ENTRY("null"), CONSUL_PASSING},
		{ENTRY("[{'Status':'passing'}]"), CONSUL_PASSING},
		{ENTRY("[{'Status':'passing'},{'Status':'warning'}]"), CONSUL_WARNING},
		{ENTRY("[{'Status':'warning'},{'Status':'critical'}]"), CONSUL_CRITICAL},
		/* its own check passes, and the node is dead */
		{ENTRY("[{'CheckID':'serfHealth','Status':'critical'},"
		       "{'CheckID':'service:a','Status':'passing'}]"),
		 CONSUL_CRITICAL},
		{ENTRY("[{'CheckID':'_node_maintenance','Status':'critical'}]"),
		 CONSUL_MAINTENANCE},
		{ENTRY("[{'CheckID':'_service_maintenance:a','Status':'critical'},"
		       "{'Status':'warning'}]"),
		 CONSUL_MAINTENANCE},
		{ENTRY("[{'CheckID':'_service_maintenance:a','Status':'critical'},"
		       "{'CheckID':'serfHealth','Status':'critical'}]"),
		 CONSUL_CRITICAL},
		{ENTRY("[{'CheckID':'_service_maintenance','Status':'critical'}]"),
		 CONSUL_CRITICAL},
		/* what nobody knows is not well */
		{ENTRY("[{'Status':'unknown'}]"), CONSUL_CRITICAL},
		{ENTRY("[{}]"), CONSUL_CRITICAL},
		{ENTRY("[7]"), CONSUL_CRITICAL},
	};

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct consul_health h = health_of(rows[i].text);

		if (h.n != 1 || h.instances[0].state != rows[i].state)
			fail_msg("%s", rows[i].text);
		consul_health_done(&h);
	}
}

#define SERVICE(fields)                                                                            \
	"[{'Node':{'Node':'n','Address':'10.0.0.9','Meta':{'zone':'of-node'}},"                    \
	"'Service':{'ID':'a'" fields "}}]"

static void test_addresses_ports_weights_and_zones(void **state)
{
	static const struct {
		const char *text, *address; /* NULL: none that can be used */
		uint16_t port, weight;
		const char *zone;
	} rows[] = {
		{SERVICE(""), "10.0.0.9", 0, 1, "of-node"},
		{SERVICE(",'Address':'','Port':80"), "10.0.0.9", 80, 1, "of-node"},
		{SERVICE(",'Address':'10.0.0.1','Port':65535"), "10.0.0.1", 65535, 1, "of-node"},
		{SERVICE(",'Address':'fd00::1','Port':65536"), "fd00::1", 0, 1, "of-node"},
		{SERVICE(",'Address':'db.example','Port':-1"), NULL, 0, 1, "of-node"},
		{SERVICE(",'Address':'0.0.0.0'"), NULL, 0, 1, "of-node"},
		{SERVICE(",'Weights':{'Passing':0,'Warning':5}"), "10.0.0.9", 0, 0, "of-node"},
		{SERVICE(",'Weights':{'Passing':99999}"), "10.0.0.9", 0, 65535, "of-node"},
		{SERVICE(",'Weights':{'Passing':-3}"), "10.0.0.9", 0, 1, "of-node"},
		{SERVICE(",'Meta':{'zone':'z'}"), "10.0.0.9", 0, 1, "z"},
		{SERVICE(",'Meta':{'failure-domain':'f'}"), "10.0.0.9", 0, 1, "f"},
		{SERVICE(",'Meta':{'zone':'z'},'Locality':{'Region':'r','Zone':'l'}"), "10.0.0.9",
		 0, 1, "l"},
	};

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct consul_health h = health_of(rows[i].text);
		const struct consul_instance *one = h.instances;
		char address[ADDRESS_TEXT] = "";

		if (h.n == 1 && one->has_address)
			(void)address_format(&one->addr, address);
		if (h.n != 1 || one->has_address != !!rows[i].address ||
		    strcmp(address, rows[i].address ?: "") != 0 || one->port != rows[i].port ||
		    one->weight != rows[i].weight || strcmp(one->zone, rows[i].zone) != 0)
			fail_msg("%s", rows[i].text);
		consul_health_done(&h);
	}
}

static void test_ids_are_unique_on_their_node_alone(void **state)
{
	struct consul_health h = health_of(
		"[{'Node':{'Node':'b'},'Service':{'ID':'x'}},{'Node':{'Node':'a'},'Service':{'ID':'x'}},"
		"{'Node':{'Node':'a'},'Service':{'ID':'x'},'Checks':[{'Status':'critical'}]},"
		"{'Node':{'Node':'a'},'Service':{}},{'Node':{},'Service':{'ID':'y'}},{}]");

	assert_int_equal(h.n, 2);
	assert_string_equal(h.instances[0].node, "a");
	assert_int_equal(h.instances[0].state, CONSUL_CRITICAL); /* of two the worse one */
	assert_string_equal(h.instances[1].node, "b");
	assert_int_equal(h.skipped, 4);
	consul_health_done(&h);
}

static void test_p84_only_a_whole_answer_is_one(void **state)
{
	static const struct {
		const char *text;
		int catalog, health, keys;
	} rows[] = {
		{"{}", 0, -EBADMSG, -EBADMSG},
		{"[]", -EBADMSG, 0, 0},
		{"", -EBADMSG, -EBADMSG, -EBADMSG},
		{"null", -EBADMSG, -EBADMSG, -EBADMSG},
		{"ACL not found", -EBADMSG, -EBADMSG, -EBADMSG},
		{"{'pay':[]", -EBADMSG, -EBADMSG, -EBADMSG},
		{"[{'Node':{'Node':'n'},'Service':{'ID':'a'}},", -EBADMSG, -EBADMSG, -EBADMSG},
		{"[{'Node':{'Node':'n'},'Service':{'ID':'a'}},7]", -EBADMSG, -EBADMSG, -EBADMSG},
		{"{'a':[]}x", -EBADMSG, -EBADMSG, -EBADMSG},
	};

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		_cleanup_free_ char *text = quoted(rows[i].text);
		size_t n = strlen(text);
		struct consul_catalog c = {};
		struct consul_health h = {};
		struct consul_keys k = {};
		char error[JSON_ERROR];

		if (consul_decode_catalog(text, n, &c, error) != rows[i].catalog ||
		    consul_decode_health(text, n, &h, error) != rows[i].health ||
		    consul_decode_keys(text, n, &k, error) != rows[i].keys)
			fail_msg("%s", text);
		consul_catalog_done(&c);
		consul_health_done(&h);
		consul_keys_done(&k);
	}
}

static void test_names_that_are_none_are_left_out(void **state)
{
	_cleanup_free_ char *text = quoted("{'b':[],'a':['x'],'':[],'a':[],'c':7,'d':null}");
	struct consul_catalog c;
	char error[JSON_ERROR];

	assert_int_equal(consul_decode_catalog(text, strlen(text), &c, error), 0);
	assert_int_equal(c.n, 3);
	assert_string_equal(c.names[0], "a");
	assert_string_equal(c.names[2], "d");
	assert_int_equal(c.skipped, 2);
	consul_catalog_done(&c);
}

static void test_a_bad_key_costs_no_other(void **state)
{
	_cleanup_free_ char *text =
		quoted("[{'Key':'s/b','Value':'YQ==','ModifyIndex':2},{'Key':'s/a','Value':'!!'},"
		       "{'Key':'s/b','Value':'Yg==','ModifyIndex':3},{'Value':'YQ=='},"
		       "{'Key':'s/c','Value':7},{'Key':'s/d/','Value':null},{'Key':'s/e'}]");
	struct consul_keys k;
	char error[JSON_ERROR];

	assert_int_equal(consul_decode_keys(text, strlen(text), &k, error), 0);
	assert_int_equal(k.n, 1);
	assert_string_equal(k.items[0].value, "b"); /* the newer one */
	assert_int_equal(k.skipped, 3);
	consul_keys_done(&k);
}

static void test_depth_and_size_are_bounded(void **state)
{
	size_t n = LIMIT_ANSWER + 1;
	_cleanup_free_ char *text = malloc(n + 1);
	struct consul_health h;
	char error[JSON_ERROR];

	assert_non_null(text);
	memset(text, '[', 100000);
	assert_int_equal(consul_decode_health(text, 100000, &h, error), -EBADMSG);
	memset(text, ' ', n);
	assert_int_equal(consul_decode_health(text, n, &h, error), -E2BIG);
	memset(text, '0', 2);
	text[0] = '[';
	for (size_t i = 1; i < 2 * LIMIT_FOUND_ENDPOINTS + 2; i++)
		text[i] = i % 2 ? '1' : ',';
	text[2 * LIMIT_FOUND_ENDPOINTS + 2] = ']';
	assert_int_equal(consul_decode_health(text, 2 * LIMIT_FOUND_ENDPOINTS + 3, &h, error),
			 -E2BIG);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_a_real_catalog),
		cmocka_unit_test(test_real_instances),
		cmocka_unit_test(test_real_keys),
		cmocka_unit_test(test_p80_the_worst_check_decides),
		cmocka_unit_test(test_addresses_ports_weights_and_zones),
		cmocka_unit_test(test_ids_are_unique_on_their_node_alone),
		cmocka_unit_test(test_p84_only_a_whole_answer_is_one),
		cmocka_unit_test(test_names_that_are_none_are_left_out),
		cmocka_unit_test(test_a_bad_key_costs_no_other),
		cmocka_unit_test(test_depth_and_size_are_bounded),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
