/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * registry/kubernetes_decode: what a real kube-apiserver 1.34 answered (tests/fuzz/corpus), and
 * rows of answers that are no whole list. Rows have ' in place of ".
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <sinew/service.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "registry/kubernetes_decode.h"
#include "unit/recorded.h"

static struct kubernetes_list recorded_list(const char *name, enum kubernetes_kind kind)
{
	struct kubernetes_list list = {};
	size_t n;
	_cleanup_free_ char *text = recorded_read(name, &n);

	assert_int_equal(kubernetes_decode_list(text, n, kind, &list), 0);
	return list;
}

static char *quoted(const char *text)
{
	char *copy = strdup(text);

	assert_non_null(copy);
	for (char *p = copy; *p; p++)
		*p = *p == '\'' ? '"' : *p;
	return copy;
}

static void test_a_real_list_of_slices(void **state)
{
	struct kubernetes_list list = recorded_list("kubernetes/slices.json", KUBERNETES_SLICE);
	const struct kubernetes_object *o;

	assert_int_equal(list.n_items, 2);
	assert_string_equal(list.version, "204");
	assert_string_equal(list.next, "");
	o = list.items[0];
	assert_string_equal(kubernetes_text(o, o->service), "pay");
	assert_int_equal(o->n_endpoints, 3);
	assert_string_equal(kubernetes_text(o, o->endpoints[0].zone), "a");
	assert_string_equal(kubernetes_text(o, o->endpoints[0].node), "n1");
	assert_false(o->endpoints[1].draining); /* no conditions: ready */
	assert_true(o->endpoints[2].draining);  /* serving and terminating */
	assert_int_equal(o->n_ports, 1);
	assert_int_equal(o->ports[0].port, 80);
	assert_int_equal(o->ports[0].proto, SN_PROTO_TCP);
	kubernetes_list_done(&list);
}

static void test_a_real_list_of_services(void **state)
{
	struct kubernetes_list list = recorded_list("kubernetes/services.json", KUBERNETES_SERVICE);
	const struct kubernetes_object *o;

	assert_int_equal(list.n_items, 3);
	assert_int_equal(list.items[0]->n_addresses, 0); /* headless */
	o = list.items[2];
	assert_string_equal(kubernetes_text(o, o->name), "pay");
	assert_int_equal(o->n_addresses, 1);
	assert_int_equal(o->n_ports, 2);
	assert_string_equal(kubernetes_text(o, o->ports[1].name), "admin");
	assert_int_equal(o->n_labels, 0);
	assert_int_equal(o->affinity_s, 10800); /* ClientIP */
	assert_false(o->local);
	assert_true(kubernetes_is_balanced(o));
	assert_false(kubernetes_is_balanced(list.items[0]));
	kubernetes_list_done(&list);
}

static void test_a_real_page_and_real_nodes(void **state)
{
	struct kubernetes_list list = recorded_list("kubernetes/page.json", KUBERNETES_SERVICE);

	assert_int_equal(list.n_items, 1);
	assert_true(*list.next);
	kubernetes_list_done(&list);
	list = recorded_list("kubernetes/nodes.json", KUBERNETES_NODE);
	assert_int_equal(list.n_items, 1);
	assert_string_equal(kubernetes_text(list.items[0], list.items[0]->zone), "a");
	kubernetes_list_done(&list);
}

static void test_a_real_watch_and_its_end(void **state)
{
	struct kubernetes_refusal refusal;
	struct kubernetes_event e = {};
	size_t n;
	_cleanup_free_ char *watch = recorded_read("kubernetes/watch.stream", &n);
	char *line = strchr(watch, '\n') + 1;

	assert_int_equal(
		kubernetes_decode_event(watch, (size_t)(line - watch), KUBERNETES_SLICE, &e), 0);
	assert_int_equal(e.type, KUBERNETES_ADDED);
	assert_string_equal(e.version, "205");
	assert_string_equal(kubernetes_text(e.object, e.object->name), "pay-two");
	kubernetes_object_free(e.object);
	assert_int_equal(kubernetes_decode_event(line, strcspn(line, "\n"), KUBERNETES_SLICE, &e),
			 0);
	assert_int_equal(e.type, KUBERNETES_DELETED);
	kubernetes_object_free(e.object);
	free(watch);
	watch = recorded_read("kubernetes/expired.stream", &n);
	assert_int_equal(kubernetes_decode_event(watch, n, KUBERNETES_SLICE, &e), 0);
	assert_int_equal(e.type, KUBERNETES_ERROR);
	assert_int_equal(e.refusal.code, 410);
	free(watch);
	watch = recorded_read("kubernetes/forbidden.json", &n);
	kubernetes_decode_refusal(watch, n, &refusal);
	assert_int_equal(refusal.code, 403);
	assert_non_null(strstr(refusal.text, "endpointslices"));
}

#define NODES "{'kind':'NodeList','metadata':{'resourceVersion':'1'},'items':"

static void test_p84_only_a_whole_list_is_one(void **state)
{
	static const struct {
		const char *text;
		int r;
	} rows[] = {
		{NODES "[]}", 0},
		{NODES "null}", 0}, /* as Go writes an empty one */
		{NODES "[]", -EBADMSG},
		{"", -EBADMSG},
		{"[]", -EBADMSG},
		{"{}", -EBADMSG},
		{"{'kind':'NodeList','metadata':{'resourceVersion':'1'}}", -EBADMSG},
		{"{'kind':'NodeList','metadata':{},'items':[]}", -EBADMSG},
		{"{'kind':'NodeList','items':[]}", -EBADMSG},
		{"{'kind':'ServiceList','metadata':{'resourceVersion':'1'},'items':[]}", -EBADMSG},
		{"{'kind':'Status','code':500}", -EBADMSG},
		{NODES "{}}", -EBADMSG},
		{NODES "[{'metadata':{'name':'a'}},7]}", -EBADMSG},
		{NODES "[[[]]]}", -EBADMSG},
	};

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		_cleanup_free_ char *text = quoted(rows[i].text);
		struct kubernetes_list list = {};
		int r = kubernetes_decode_list(text, strlen(text), KUBERNETES_NODE, &list);

		if (r != rows[i].r)
			fail_msg("%s came to %d", text, r);
		kubernetes_list_done(&list);
	}
}

static void test_what_has_no_name_is_left_out(void **state)
{
	_cleanup_free_ char *text = quoted(
		NODES "[{'metadata':{'name':'a'}},{'metadata':{}},{},{'metadata':{'name':''}}]}");
	struct kubernetes_list list;

	assert_int_equal(kubernetes_decode_list(text, strlen(text), KUBERNETES_NODE, &list), 0);
	assert_int_equal(list.n_items, 1);
	assert_int_equal(list.skipped, 3);
	kubernetes_list_done(&list);
}

static void test_what_the_server_is(void **state)
{
	static const struct {
		const char *text;
		int r;
		unsigned int minor;
	} rows[] = {
		{"{'major':'1','minor':'34'}", 0, 34},      {"{'major':'1','minor':'27+'}", 0, 27},
		{"{'major':'1','minor':''}", -EBADMSG},     {"{'major':'1','minor':'x'}", -EBADMSG},
		{"{'major':1,'minor':34}", -EBADMSG},       {"[]", -EBADMSG},
		{"{'major':'1','minor':'99999'}", 0, 9999},
	};

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		_cleanup_free_ char *text = quoted(rows[i].text);
		struct kubernetes_release release = {};

		assert_int_equal(kubernetes_decode_release(text, strlen(text), &release),
				 rows[i].r);
		assert_int_equal(release.minor, rows[i].minor);
	}
}

#define GROUP "{'kind':'APIGroup','versions':["

static void test_the_best_version_of_a_group(void **state)
{
	static const struct {
		const char *text;
		int r;
		const char *version;
	} rows[] = {
		{GROUP "{'version':'v1beta1'},{'version':'v1'}]}", 0, "v1"},
		{GROUP "{'version':'v2'},{'version':'v1beta1'}]}", 0, "v1beta1"},
		{GROUP "{'version':'v2'}]}", 0, NULL},
		{GROUP "]}", 0, NULL},
		{"{'kind':'Status','code':404}", -EBADMSG, "unset"},
		{"{'kind':'APIGroup'}", -EBADMSG, "unset"},
	};

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		_cleanup_free_ char *text = quoted(rows[i].text);
		const char *version = "unset";

		assert_int_equal(kubernetes_decode_group(text, strlen(text), &version), rows[i].r);
		if (rows[i].version)
			assert_string_equal(version, rows[i].version);
		else
			assert_null(version);
	}
}

#define BOOKMARK "{'type':'BOOKMARK','object':{'kind':'Node','metadata':{'resourceVersion':'9'"

static void test_a_bookmark_tells_where_a_streamed_list_ends(void **state)
{
	static const struct {
		const char *text;
		bool whole;
	} rows[] = {
		{BOOKMARK "}}}", false},
		{BOOKMARK ",'annotations':{'k8s.io/initial-events-end':'true'}}}}", true},
		{BOOKMARK ",'annotations':{'k8s.io/initial-events-end':'false'}}}}", false},
		{BOOKMARK ",'annotations':[]}}}", false},
	};

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		_cleanup_free_ char *text = quoted(rows[i].text);
		struct kubernetes_event e;

		assert_int_equal(kubernetes_decode_event(text, strlen(text), KUBERNETES_NODE, &e),
				 0);
		assert_int_equal(e.is_whole, rows[i].whole);
		assert_string_equal(e.version, "9");
	}
}

static void test_p84_a_version_that_is_none_of_the_servers(void **state)
{
	_cleanup_free_ char *text = quoted(
		"{'type':'ERROR','object':{'kind':'Status','code':504,'reason':'Timeout','message':"
		"'Too large resource version: 9, current: 3','details':{'retryAfterSeconds':1,"
		"'causes':[{'reason':'ResourceVersionTooLarge'}]}}}");
	struct kubernetes_event e;

	assert_int_equal(kubernetes_decode_event(text, strlen(text), KUBERNETES_NODE, &e), 0);
	assert_int_equal(e.type, KUBERNETES_ERROR);
	assert_true(e.refusal.is_unknown);
	assert_int_equal(e.refusal.retry_after_s, 1);
}

static void test_p84_which_object_and_which_state_of_it(void **state)
{
	static const struct {
		const char *text;
		int r;
	} rows[] = {
		{"{'kind':'Node','metadata':{'name':'a','uid':'u','resourceVersion':'41'}}", 0},
		{"{'kind':'Service','metadata':{'name':'a','uid':'u','resourceVersion':'41'}}",
		 -EBADMSG},
		{"{'kind':'Status','code':404}", -EBADMSG},
		{"{'kind':'Node'}", -EBADMSG},
		{"[]", -EBADMSG},
		{"", -EBADMSG},
	};
	struct kubernetes_identity first = {}, other;

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		_cleanup_free_ char *text = quoted(rows[i].text);

		other = (struct kubernetes_identity){};
		assert_int_equal(kubernetes_decode_identity(text, strlen(text), KUBERNETES_NODE,
							    i ? &other : &first),
				 rows[i].r);
	}
	assert_int_equal(first.version, 41);
	assert_true(first.uid);
	for (int i = 0; i < 3; i++) {
		static const char *const texts[] = {
			"{'kind':'Node','metadata':{'name':'a','uid':'v','resourceVersion':'41'}}",
			"{'kind':'Node','metadata':{'name':'a','uid':'u','resourceVersion':'x'}}",
			"{'kind':'Node','metadata':{'name':'a','resourceVersion':'41'}}"};
		_cleanup_free_ char *text = quoted(texts[i]);

		assert_int_equal(
			kubernetes_decode_identity(text, strlen(text), KUBERNETES_NODE, &other), 0);
		assert_true(other.uid != first.uid || other.version != first.version);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_a_real_list_of_slices),
		cmocka_unit_test(test_a_real_list_of_services),
		cmocka_unit_test(test_a_real_page_and_real_nodes),
		cmocka_unit_test(test_a_real_watch_and_its_end),
		cmocka_unit_test(test_p84_only_a_whole_list_is_one),
		cmocka_unit_test(test_what_has_no_name_is_left_out),
		cmocka_unit_test(test_what_the_server_is),
		cmocka_unit_test(test_the_best_version_of_a_group),
		cmocka_unit_test(test_a_bookmark_tells_where_a_streamed_list_ends),
		cmocka_unit_test(test_p84_a_version_that_is_none_of_the_servers),
		cmocka_unit_test(test_p84_which_object_and_which_state_of_it),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
