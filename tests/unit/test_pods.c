/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * model/pod, registry/kubernetes_pod and registry/pods: what is known of a pod, what is not, and
 * which pods are kept. Real answers are in tests/fuzz/corpus; rows have ' in place of ".
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
#include "registry/kubernetes_decode.h"
#include "registry/pods.h"
#include "unit/recorded.h"

#define UID "0e6ec1f2-6e4e-4c0e-8a6e-0123456789ab"
#define HASH "1f3870be274f6c49b3e31a0c6728957f"
/* --- decoding --------------------------------------------------------------------------------- */

/* A list of one pod with these members; NULL: it is left out. The caller frees. */
static struct pod *decode(const char *members)
{
	char *text = NULL;
	struct kubernetes_list list;
	struct pod *pod = NULL;
	int n = asprintf(&text,
			 "{'kind':'PodList','metadata':{'resourceVersion':'7'},'items':[{%s}]}",
			 members);

	assert_true(n > 0);
	for (char *p = text; *p; p++)
		*p = *p == '\'' ? '"' : *p;
	assert_int_equal(kubernetes_decode_list(text, (size_t)n, KUBERNETES_POD, &list), 0);
	assert_int_equal(list.n_items + list.skipped, 1);
	if (list.n_items)
		pod = TAKE_PTR(list.items[0]->pod);
	kubernetes_list_done(&list);
	free(text);
	return pod;
}

static void test_a_real_list_of_pods(void **state)
{
	struct label wanted[] = {{(char *)"app", (char *)"pay"}, {(char *)"empty", (char *)""}};
	char id[IDENTITY_CONTAINER + 1], text[ADDRESS_TEXT];
	struct kubernetes_list list;
	const struct pod *p;
	size_t n;
	_cleanup_free_ char *answer = recorded_read("kubernetes/pods.json", &n);

	assert_int_equal(kubernetes_decode_list(answer, n, KUBERNETES_POD, &list), 0);
	assert_int_equal(list.n_items, 3);
	p = list.items[0]->pod;
	assert_string_equal(p->namespace, "default");
	assert_string_equal(p->name, "pay-6c9f");
	assert_string_equal(p->uid, "68506b5f-1245-4e26-8105-1d2b7ea690fa");
	assert_int_equal(p->n_labels, 3);
	assert_int_equal(pod_has_labels(p, wanted, 2), 1);
	assert_int_equal(p->n_addresses, 2);
	assert_string_equal(address_format(&p->addresses[0], text), "10.1.0.1");
	assert_string_equal(address_format(&p->addresses[1], text), "fd00::1");
	memset(id, 'b', IDENTITY_CONTAINER);
	id[IDENTITY_CONTAINER] = '\0';
	assert_string_equal(pod_find_container(p, id), "log");
	id[0] = 'c';
	assert_null(pod_find_container(p, id));
	p = list.items[1]->pod; /* of a file: its cgroup has the file's hash */
	assert_string_equal(p->uid, HASH);
	p = list.items[2]->pod; /* nothing of it runs yet */
	assert_int_equal(p->n_containers + p->n_addresses + p->n_labels, 0);
	kubernetes_list_done(&list);
}

static void test_a_real_watch_of_pods(void **state)
{
	static const char *const names[] = {"waits", "new", "waits", "waits", NULL};
	size_t n, i = 0;
	_cleanup_free_ char *text = recorded_read("kubernetes/pods.stream", &n);

	for (char *line = text, *end; (end = strchr(line, '\n')); line = end + 1) {
		struct kubernetes_event e = {};

		assert_int_equal(
			kubernetes_decode_event(line, (size_t)(end - line), KUBERNETES_POD, &e), 0);
		assert_true(i < ARRAY_SIZE(names));
		assert_int_equal(e.object != NULL, names[i] != NULL);
		if (names[i])
			assert_string_equal(e.object->pod->name, names[i]);
		kubernetes_object_free(e.object);
		i++;
	}
	assert_int_equal(i, ARRAY_SIZE(names));
}

static void test_what_a_cgroup_could_not_have_is_no_uid(void **state)
{
	static const struct {
		const char *meta, *uid; /* NULL: it is left out */
	} rows[] = {
		{"'name':'a','namespace':'b','uid':'" UID "'", UID},
		{"'name':'a','namespace':'b'", NULL},
		{"'name':'a','namespace':'b','uid':''", NULL},
		{"'name':'a','namespace':'b','uid':7", NULL},
		{"'name':'a','namespace':'b','uid':'" UID "x'", NULL},
		{"'name':'a','uid':'" UID "'", NULL},
		{"'namespace':'b','uid':'" UID "'", NULL},
		/* The hash of a file counts as a kubelet writes it. Who may make a pod could write
		 * anything: the uid of another pod is not believed. */
		{"'name':'a','namespace':'b','uid':'u','annotations':{'kubernetes.io/config.hash':"
		 "'" HASH "','kubernetes.io/config.mirror':'" HASH "'}",
		 HASH},
		{"'name':'a','namespace':'b','uid':'u','annotations':{'kubernetes.io/config.hash':"
		 "'" UID "','kubernetes.io/config.mirror':'" UID "'}",
		 "u"},
		{"'name':'a','namespace':'b','uid':'u','annotations':{'kubernetes.io/config.hash':"
		 "'" HASH "'}",
		 "u"},
		{"'name':'a','namespace':'b','uid':'u','annotations':['x']", "u"},
	};

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		char text[512];
		_cleanup_(pod_freep) struct pod *p = NULL;

		(void)snprintf(text, sizeof(text), "'metadata':{%s}", rows[i].meta);
		p = decode(text);
		assert_int_equal(p != NULL, rows[i].uid != NULL);
		if (p)
			assert_string_equal(p->uid, rows[i].uid);
	}
}

/* Whoever answers in the API server's place may say anything. */
static void test_what_kubernetes_would_not_allow_is_no_name(void **state)
{
	static const struct {
		const char *namespace, *name, *container;
		bool is_pod;
		size_t n_containers;
	} rows[] = {
		{"shop", "pay-0.example", "web", true, 1}, {"Shop", "pay-0", "web", false, 0},
		{"shop.a", "pay-0", "web", false, 0},      {"shop", "pay/0", "web", false, 0},
		{"shop", "pay..0", "web", false, 0},       {"shop", "\\u001b[31m", "web", false, 0},
		{"shop", "p\\u00e4y", "web", false, 0},    {"shop", "pay-0", "we.b", true, 0},
		{"shop", "pay-0", "\\u0007", true, 0},
	};

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		char text[512];
		_cleanup_(pod_freep) struct pod *p = NULL;

		(void)snprintf(
			text, sizeof(text),
			"'metadata':{'name':'%s','namespace':'%s','uid':'" UID "'},'status':"
			"{'containerStatuses':[{'name':'%s','containerID':'cri-o://" HASH HASH
			"'}]}",
			rows[i].name, rows[i].namespace, rows[i].container);
		p = decode(text);
		assert_int_equal(p != NULL, rows[i].is_pod);
		if (p)
			assert_int_equal(p->n_containers, rows[i].n_containers);
	}
}

/* "app=pay" of a pod that has more than is kept may be there. */
static void test_a_label_that_was_not_kept_is_not_known(void **state)
{
	struct label known = {(char *)"a0", (char *)""}, other = {(char *)"a0", (char *)"x"},
		     more = {(char *)"app", (char *)"pay"};
	char text[4096];
	size_t n = (size_t)snprintf(text, sizeof(text),
				    "'metadata':{'name':'a','namespace':'b','uid':'u','labels':{");
	_cleanup_(pod_freep) struct pod *few = NULL, *many = NULL;

	few = decode("'metadata':{'name':'a','namespace':'b','uid':'u','labels':{'a0':''}}");
	assert_int_equal(pod_has_labels(few, &more, 1), 0);
	for (int i = 0; i <= LIMIT_LABELS; i++)
		n += (size_t)snprintf(text + n, sizeof(text) - n, "%s'a%d':''", i ? "," : "", i);
	(void)snprintf(text + n, sizeof(text) - n, "}}");
	many = decode(text);
	assert_int_equal(many->n_labels, LIMIT_LABELS);
	assert_int_equal(pod_has_labels(many, &known, 1), 1);
	assert_int_equal(pod_has_labels(many, &other, 1), 0);
	assert_int_equal(pod_has_labels(many, &more, 1), -EAGAIN);
}

static void test_what_a_status_may_hold(void **state)
{
	_cleanup_(pod_freep) struct pod *p = decode(
		"'metadata':{'name':'a','namespace':'b','uid':'u'},'status':{'podIP':'10.0.0.1',"
		"'podIPs':[{'ip':'10.0.0.1'},{'ip':'0.0.0.0'},{'ip':'x'},{'ip':'fd00::1'},"
		"{'ip':'10.0.0.2'}],'containerStatuses':[{'name':'web','containerID':"
		"'cri-o://aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa'},"
		"{'name':'x','containerID':'docker://short'},{'name':'waits'},{},7],"
		"'initContainerStatuses':{'name':'x'}}");

	assert_int_equal(p->n_addresses, 2);
	assert_int_equal(p->n_containers, 1);
	assert_string_equal(p->containers[0].name, "web");
}

/* --- which are kept --------------------------------------------------------------------------- */

static int put(struct pods *p, const char *name, const char *uid)
{
	struct pod draft = {.namespace = (char *)"shop", .name = (char *)name}, *pod;

	(void)snprintf(draft.uid, sizeof(draft.uid), "%s", uid);
	assert_int_equal(pod_new(&draft, &pod), 0);
	return pods_put(p, pod);
}

static const char *name_of(const struct pods *p, const char *uid)
{
	const struct pod *pod = pods_find(p, uid);

	return pod ? pod->name : "";
}

static int set_up(void **state)
{
	return pods_new((struct pods **)state);
}

static int tear_down(void **state)
{
	pods_free(*state);
	return 0;
}

static void test_a_pod_is_found_by_its_uid(void **state)
{
	struct pods *p = *state;

	assert_int_equal(put(p, "b", "2"), 1);
	assert_int_equal(put(p, "a", "1"), 1);
	assert_int_equal(put(p, "c", "3"), 1);
	assert_int_equal(put(p, "b", "2"), 0);
	assert_int_equal(p->n, 3);
	assert_string_equal(name_of(p, "1"), "a");
	assert_string_equal(name_of(p, "3"), "c");
	assert_string_equal(name_of(p, "4"), "");
	pods_delete(p, "shop", "b");
	pods_delete(p, "other", "a");
	assert_string_equal(name_of(p, "2"), "");
	assert_string_equal(name_of(p, "1"), "a");
	/* Made anew under its name: the old uid is nobody's. */
	assert_int_equal(put(p, "a", "9"), 1);
	assert_string_equal(name_of(p, "1"), "");
	assert_string_equal(name_of(p, "9"), "a");
}

static void test_of_two_that_claim_a_uid_neither_is_believed(void **state)
{
	struct pods *p = *state;

	assert_int_equal(put(p, "a", "1"), 1);
	assert_int_equal(put(p, "b", "1"), 0);
	assert_string_equal(name_of(p, "1"), "");
	pods_delete(p, "shop", "a");
	assert_string_equal(name_of(p, "1"), "b");
}

static void test_a_list_without_a_pod_does_not_forget_it_at_once(void **state)
{
	struct pods *p = *state;

	pods_begin(p);
	(void)put(p, "a", "1");
	(void)put(p, "b", "2");
	pods_end(p, 1000);
	assert_true(p->listed);
	pods_begin(p);
	(void)put(p, "b", "2");
	pods_end(p, 2000);
	assert_string_equal(name_of(p, "1"), "a");
	assert_int_equal(p->items[0].missed_ms, 2000);
	pods_begin(p);
	(void)put(p, "b", "2");
	pods_end(p, 2000 + PODS_LINGER_MS - 1);
	assert_string_equal(name_of(p, "1"), "a");
	pods_begin(p); /* without an end: takes nothing away */
	pods_begin(p);
	(void)put(p, "b", "2");
	pods_end(p, 2000 + PODS_LINGER_MS);
	assert_string_equal(name_of(p, "1"), "");
	assert_string_equal(name_of(p, "2"), "b");
}

static void test_no_more_than_the_limit_are_kept(void **state)
{
	struct pods *p = *state;
	char name[16];

	pods_begin(p);
	for (int i = 0; i < LIMIT_PODS; i++) {
		(void)snprintf(name, sizeof(name), "%04d", i);
		assert_int_equal(put(p, name, name), 1);
	}
	assert_int_equal(put(p, "more", "more"), -E2BIG);
	assert_int_equal(put(p, "0007", "0007"), 0); /* one that is there may change */
	pods_end(p, 1);
	assert_int_equal(p->n, LIMIT_PODS);
	assert_int_equal(p->left_out, 1);
	/* One that a list is without makes room. */
	pods_begin(p);
	for (int i = 1; i < LIMIT_PODS; i++) {
		(void)snprintf(name, sizeof(name), "%04d", i);
		(void)put(p, name, name);
	}
	pods_end(p, 2);
	assert_string_equal(name_of(p, "0000"), "0000");
	assert_int_equal(put(p, "more", "more"), 1);
	assert_string_equal(name_of(p, "0000"), "");
	assert_string_equal(name_of(p, "more"), "more");
	pods_clear(p);
	assert_int_equal(p->n, 0);
	assert_false(p->listed);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_a_real_list_of_pods),
		cmocka_unit_test(test_a_real_watch_of_pods),
		cmocka_unit_test(test_what_a_cgroup_could_not_have_is_no_uid),
		cmocka_unit_test(test_what_kubernetes_would_not_allow_is_no_name),
		cmocka_unit_test(test_a_label_that_was_not_kept_is_not_known),
		cmocka_unit_test(test_what_a_status_may_hold),
		cmocka_unit_test_setup_teardown(test_a_pod_is_found_by_its_uid, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_of_two_that_claim_a_uid_neither_is_believed,
						set_up, tear_down),
		cmocka_unit_test_setup_teardown(
			test_a_list_without_a_pod_does_not_forget_it_at_once, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_no_more_than_the_limit_are_kept, set_up,
						tear_down),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
