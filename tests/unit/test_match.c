/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * register/match and register/instance: who is registered where, under which address, and why not.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <sinew/service.h>
#include <stdio.h>
#include <string.h>

#include "model/address.h"
#include "register/match.h"

#define MAX 8

static struct {
	struct registration *list[MAX];
	size_t n;
	struct listener_table table;
	struct sn_addr address;
	bool has_address;
	struct match match;
	struct pod pod;
} now;

/* --- the world -------------------------------------------------------------------------------- */

static int find_registry(void *arg, const char *name)
{
	return !strcmp(name, "dc1")   ? 0
	       : !strcmp(name, "dc2") ? 1
	       : !strcmp(name, "k8s") ? -EROFS
				      : -ENOENT;
}

/* Container "c1" has app=pay, "c2" app=mail; of "c3" nobody knows. */
static int has_labels(void *arg, const char *container, const struct label *labels, size_t n)
{
	const char *app = !strcmp(container, "c1") ? "pay" : "mail";

	if (!strcmp(container, "c3"))
		return -EAGAIN;
	for (size_t i = 0; i < n; i++)
		if (strcmp(labels[i].key, "app") != 0 || strcmp(labels[i].value, app) != 0)
			return 0;
	return 1;
}

static void registers(const char *name, const char *registry, enum registration_by by,
		      const char *workload)
{
	struct label label = {(char *)"app", (char *)workload};
	const struct registration draft = {
		.namespace = (char *)"shop",
		.name = (char *)name,
		.source = (char *)"manifest",
		.service = (char *)"payments",
		.registry = (char *)registry,
		.by = by,
		.workload = (char *)(by == REGISTRATION_BY_CONTAINER ? "" : workload),
		.pod_namespace = (char *)"",
		.pod_container = (char *)"",
		.selects = &label,
		.n_selects = by == REGISTRATION_BY_CONTAINER,
		.port = 8080,
		.proto = SN_PROTO_TCP,
		.ttl_ms = 15000};

	assert_int_equal(registration_new(&draft, &now.list[now.n++]), 0);
}

static void listens(const char *address, uint16_t port, const char *cgroup, const char *unit,
		    const char *container)
{
	static uint64_t cookie;
	struct listener l = {.cookie = ++cookie, .port = port, .proto = SN_PROTO_TCP}, copy;

	assert_int_equal(address_parse(address, &l.addr), 0);
	l.cgroup = (char *)cgroup;
	l.unit = (char *)unit;
	l.container = (char *)container;
	assert_int_equal(listener_copy(&l, &copy), 0);
	assert_int_equal(listener_table_add(&now.table, &copy), 0);
}

#define WEB "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
#define LOG "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb"

/* "p1" is shop/pay-0 with app=pay, its web at the addresses of now.pod; of others nobody knows. */
static const struct pod *find_pod(void *arg, const char *uid)
{
	static struct label label = {(char *)"app", (char *)"pay"};
	static struct pod_container web = {WEB, (char *)"web"};

	now.pod.namespace = (char *)"shop";
	now.pod.name = (char *)"pay-0";
	now.pod.labels = &label;
	now.pod.containers = &web;
	now.pod.n_labels = now.pod.n_containers = 1;
	return !strcmp(uid, "p1") ? &now.pod : NULL;
}

/* `label`: "app" is that; any of them may be "". */
static void registers_pod(const char *namespace, const char *name, const char *label,
			  const char *container)
{
	struct registration draft;

	registers("pay", "dc1", REGISTRATION_BY_CONTAINER, label);
	draft = *now.list[0];
	draft.by = REGISTRATION_BY_POD;
	draft.pod_namespace = (char *)namespace;
	draft.pod_container = (char *)container;
	draft.workload = (char *)name;
	draft.n_selects = *label != '\0';
	assert_int_equal(registration_new(&draft, &now.list[now.n++]), 0);
	registration_unref(now.list[0]);
	now.list[0] = now.list[--now.n];
}

static void listens_in_pod(const char *address, const char *pod, const char *container)
{
	struct listener l = {.cookie = 900 + now.table.n,
			     .port = 8080,
			     .proto = SN_PROTO_TCP,
			     .cgroup = (char *)"/kubepods.slice/x",
			     .unit = (char *)"cri-containerd-x.scope",
			     .container = (char *)container,
			     .pod = (char *)pod},
			copy;

	assert_int_equal(address_parse(address, &l.addr), 0);
	assert_int_equal(listener_copy(&l, &copy), 0);
	assert_int_equal(listener_table_add(&now.table, &copy), 0);
}

static void match(void)
{
	const struct match_world world = {.node = "n1",
					  .address = now.has_address ? &now.address : NULL,
					  .registry = find_registry,
					  .has_labels = has_labels,
					  .pod = find_pod};

	assert_int_equal(match_make(now.list, now.n, &now.table, &world, &now.match), 0);
}

static int set_up(void **state)
{
	memset(&now, 0, sizeof(now));
	return 0;
}

static int tear_down(void **state)
{
	for (size_t i = 0; i < now.n; i++)
		registration_unref(now.list[i]);
	listener_table_done(&now.table);
	match_done(&now.match);
	return 0;
}

static void assert_id(size_t i, const char *id)
{
	assert_true(i < now.match.n);
	assert_string_equal(now.match.items[i].instance->id, id);
}

/* --- workloads -------------------------------------------------------------------------------- */

static void test_workloads(void **state)
{
	static const struct {
		enum registration_by by;
		const char *workload, *cgroup, *unit, *container;
		enum match_reason reason;
	} cases[] = {
		{REGISTRATION_BY_UNIT, "pay.service", "/x", "pay.service", NULL, MATCH_OK},
		{REGISTRATION_BY_UNIT, "pay.service", "/x", "pay@1.service", NULL, MATCH_QUIET},
		{REGISTRATION_BY_UNIT, "pay.service", "/x", NULL, NULL, MATCH_QUIET},
		{REGISTRATION_BY_CGROUP, "/shop/*", "/shop/pay", NULL, NULL, MATCH_OK},
		{REGISTRATION_BY_CGROUP, "/shop/*", "/shop/pay/worker", NULL, NULL, MATCH_OK},
		{REGISTRATION_BY_CGROUP, "/shop/pay", "/shop/pay/worker", NULL, NULL, MATCH_OK},
		{REGISTRATION_BY_CGROUP, "/shop/p?y", "/shop/pay", NULL, NULL, MATCH_OK},
		{REGISTRATION_BY_CGROUP, "/shop/*", "/shop", NULL, NULL, MATCH_QUIET},
		{REGISTRATION_BY_CGROUP, "/shop/*", "/shopping/pay", NULL, NULL, MATCH_QUIET},
		{REGISTRATION_BY_CGROUP, "/shop/pay", "/shop/payer", NULL, NULL, MATCH_QUIET},
		{REGISTRATION_BY_CGROUP, "/*/pay", "/a/b/pay", NULL, NULL, MATCH_QUIET},
		{REGISTRATION_BY_CGROUP, "/shop/*", "", NULL, NULL, MATCH_QUIET},
		{REGISTRATION_BY_CONTAINER, "pay", "/x", NULL, "c1", MATCH_OK},
		{REGISTRATION_BY_CONTAINER, "pay", "/x", NULL, "c2", MATCH_QUIET},
		{REGISTRATION_BY_CONTAINER, "pay", "/x", NULL, "c3", MATCH_NO_LABELS},
		{REGISTRATION_BY_CONTAINER, "pay", "/x", NULL, NULL, MATCH_QUIET},
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		(void)set_up(NULL);
		registers("pay", "dc1", cases[i].by, cases[i].workload);
		listens("10.0.0.5", 8080, cases[i].cgroup, cases[i].unit, cases[i].container);
		match();
		assert_int_equal(now.match.reasons[0], cases[i].reason);
		assert_int_equal(now.match.n, cases[i].reason == MATCH_OK);
		(void)tear_down(NULL);
	}
	(void)set_up(NULL);
}

static void test_pods(void **state)
{
	static const struct {
		const char *namespace, *name, *label, *container, *pod, *id;
		enum match_reason reason;
	} cases[] = {
		{"shop", "", "", "", "p1", WEB, MATCH_OK},
		{"shop", "pay-*", "pay", "web", "p1", WEB, MATCH_OK},
		{"shop", "pay-?", "", "", "p1", NULL, MATCH_OK},
		{"shop", "pay", "", "", "p1", WEB, MATCH_QUIET},
		{"shop", "", "mail", "", "p1", WEB, MATCH_QUIET},
		{"other", "", "pay", "", "p1", WEB, MATCH_QUIET},
		{"shop", "", "", "log", "p1", WEB, MATCH_QUIET},
		{"shop", "", "", "web", "p1", LOG, MATCH_NO_POD}, /* its status is not told yet */
		{"shop", "", "mail", "web", "p1", LOG, MATCH_QUIET},
		{"shop", "", "", "", "p2", WEB, MATCH_NO_POD},
		{"shop", "", "", "", NULL, WEB, MATCH_QUIET}, /* in no pod */
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		(void)set_up(NULL);
		registers_pod(cases[i].namespace, cases[i].name, cases[i].label,
			      cases[i].container);
		listens_in_pod("10.0.0.5", cases[i].pod, cases[i].id);
		match();
		assert_int_equal(now.match.reasons[0], cases[i].reason);
		assert_int_equal(now.match.n, cases[i].reason == MATCH_OK);
		assert_int_equal(now.match.doubt, cases[i].reason == MATCH_NO_POD);
		(void)tear_down(NULL);
	}
	(void)set_up(NULL);
}

static void test_what_listens_at_all_addresses_of_a_pod(void **state)
{
	static const struct {
		const char *listens, *addresses[2], *id;
	} cases[] = {
		{"0.0.0.0", {"10.1.0.1"}, "sinew:n1:payments:10.1.0.1:8080"},
		{"0.0.0.0", {"fd00::1", "10.1.0.1"}, "sinew:n1:payments:10.1.0.1:8080"},
		{"::", {"fd00::1", "10.1.0.1"}, "sinew:n1:payments:[fd00::1]:8080"},
		{"::", {"10.1.0.1", "fd00::1"}, "sinew:n1:payments:10.1.0.1:8080"},
		{"0.0.0.0", {"fd00::1"}, NULL}, /* nobody hears there */
		{"0.0.0.0", {NULL}, NULL},      /* not told yet; the node's is another's */
		{"10.1.0.9", {NULL}, "sinew:n1:payments:10.1.0.9:8080"},
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		(void)set_up(NULL);
		now.has_address = true;
		assert_int_equal(address_parse("192.0.2.1", &now.address), 0);
		for (size_t k = 0; k < 2 && cases[i].addresses[k]; k++)
			assert_int_equal(address_parse(cases[i].addresses[k],
						       &now.pod.addresses[now.pod.n_addresses++]),
					 0);
		registers_pod("shop", "", "", "");
		listens_in_pod(cases[i].listens, "p1", WEB);
		match();
		assert_int_equal(now.match.reasons[0], cases[i].id ? MATCH_OK : MATCH_NO_POD);
		if (cases[i].id)
			assert_id(0, cases[i].id);
		(void)tear_down(NULL);
	}
	(void)set_up(NULL);
}

static void test_another_port_is_nobody(void **state)
{
	registers("pay", "dc1", REGISTRATION_BY_CGROUP, "/shop/*");
	listens("10.0.0.5", 8081, "/shop/pay", NULL, NULL);
	match();
	assert_int_equal(now.match.reasons[0], MATCH_QUIET);
	assert_int_equal(now.match.n, 0);
}

/* --- addresses -------------------------------------------------------------------------------- */

static void test_addresses(void **state)
{
	static const struct {
		const char *listens, *own, *id;
	} cases[] = {
		{"10.0.0.5", NULL, "sinew:n1:payments:10.0.0.5:8080"},
		{"10.0.0.5", "10.0.0.9", "sinew:n1:payments:10.0.0.5:8080"},
		{"fd00::5", NULL, "sinew:n1:payments:[fd00::5]:8080"},
		{"0.0.0.0", NULL, NULL},
		{"::", NULL, NULL},
		{"0.0.0.0", "10.0.0.9", "sinew:n1:payments:10.0.0.9:8080"},
		{"0.0.0.0", "fd00::9", NULL}, /* nobody hears there */
		{"::", "10.0.0.9", "sinew:n1:payments:10.0.0.9:8080"},
		{"::", "fd00::9", "sinew:n1:payments:[fd00::9]:8080"},
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		(void)set_up(NULL);
		now.has_address = cases[i].own && address_parse(cases[i].own, &now.address) == 0;
		registers("pay", "dc1", REGISTRATION_BY_CGROUP, "/shop/*");
		listens(cases[i].listens, 8080, "/shop/pay", NULL, NULL);
		match();
		assert_int_equal(now.match.reasons[0], cases[i].id ? MATCH_OK : MATCH_NO_ADDRESS);
		if (cases[i].id)
			assert_id(0, cases[i].id);
		(void)tear_down(NULL);
	}
	(void)set_up(NULL);
}

static void test_a_given_address_is_announced(void **state)
{
	struct registration draft;

	registers("pay", "dc1", REGISTRATION_BY_CGROUP, "/shop/*");
	draft = *now.list[0];
	draft.has_address = true;
	assert_int_equal(address_parse("192.0.2.7", &draft.address), 0);
	assert_int_equal(registration_new(&draft, &now.list[now.n++]), 0);
	registration_unref(now.list[0]);
	now.list[0] = now.list[--now.n];
	listens("0.0.0.0", 8080, "/shop/pay", NULL, NULL);
	listens("10.0.0.5", 8080, "/shop/pay", NULL, NULL); /* is the same instance then */
	match();
	assert_int_equal(now.match.n, 1);
	assert_id(0, "sinew:n1:payments:192.0.2.7:8080");
	assert_int_equal(now.match.reasons[0], MATCH_OK);
}

/* --- several ---------------------------------------------------------------------------------- */

static void test_each_address_is_an_instance_and_each_socket_is_not(void **state)
{
	registers("pay", "dc1", REGISTRATION_BY_CGROUP, "/shop/*");
	listens("10.0.0.5", 8080, "/shop/pay", NULL, NULL);
	listens("10.0.0.6", 8080, "/shop/pay", NULL, NULL);
	listens("10.0.0.6", 8080, "/shop/pay", NULL, NULL);
	listens("0.0.0.0", 8080, "/shop/pay", NULL, NULL); /* what it lacks does not matter */
	match();
	assert_int_equal(now.match.n, 2);
	assert_int_equal(now.match.reasons[0], MATCH_OK);
}

static void test_two_registrations_of_one_listener(void **state)
{
	registers("a", "dc1", REGISTRATION_BY_CGROUP, "/shop/*");
	registers("b", "dc1", REGISTRATION_BY_UNIT, "pay.service");
	registers("c", "dc2", REGISTRATION_BY_UNIT, "pay.service");
	listens("10.0.0.5", 8080, "/shop/pay", "pay.service", NULL);
	match();
	assert_int_equal(now.match.n, 2);
	assert_int_equal(now.match.items[0].registry, 0);
	assert_string_equal(now.match.items[0].instance->owner, "shop/a");
	assert_int_equal(now.match.items[1].registry, 1);
	assert_int_equal(now.match.reasons[0], MATCH_OK);
	assert_int_equal(now.match.reasons[1], MATCH_TAKEN);
	assert_int_equal(now.match.reasons[2], MATCH_OK);
}

static void test_a_registry_that_is_not_there_or_only_read(void **state)
{
	registers("a", "nowhere", REGISTRATION_BY_CGROUP, "/shop/*");
	registers("b", "k8s", REGISTRATION_BY_CGROUP, "/shop/*");
	listens("10.0.0.5", 8080, "/shop/pay", NULL, NULL);
	match();
	assert_int_equal(now.match.n, 0);
	assert_int_equal(now.match.reasons[0], MATCH_NO_REGISTRY);
	assert_int_equal(now.match.reasons[1], MATCH_READ_ONLY);
	for (int i = MATCH_QUIET; i < _MATCH_REASON_MAX; i++)
		assert_string_not_equal(match_reason_text((enum match_reason)i), "");
}

static void test_an_instance_changes_with_what_a_registry_is_told(void **state)
{
	char *tags[] = {(char *)"v2"};
	struct registration draft;
	struct sn_addr addr;
	struct instance *a, *b;

	registers("a", "dc1", REGISTRATION_BY_CGROUP, "/shop/*");
	assert_int_equal(address_parse("10.0.0.5", &addr), 0);
	assert_int_equal(instance_new(now.list[0], &addr, "n1", &a), 0);
	assert_int_equal(instance_new(now.list[0], &addr, "n1", &b), 0);
	assert_true(a->hash == b->hash);
	instance_unref(b);
	draft = *now.list[0];
	draft.tags = tags;
	draft.n_tags = 1;
	assert_int_equal(instance_new(&draft, &addr, "n1", &b), 0);
	assert_string_equal(a->id, b->id);
	assert_true(a->hash != b->hash);
	instance_unref(a);
	instance_unref(b);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_workloads, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_another_port_is_nobody, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_pods, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_what_listens_at_all_addresses_of_a_pod, set_up,
						tear_down),
		cmocka_unit_test_setup_teardown(test_addresses, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_a_given_address_is_announced, set_up,
						tear_down),
		cmocka_unit_test_setup_teardown(
			test_each_address_is_an_instance_and_each_socket_is_not, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_two_registrations_of_one_listener, set_up,
						tear_down),
		cmocka_unit_test_setup_teardown(test_a_registry_that_is_not_there_or_only_read,
						set_up, tear_down),
		cmocka_unit_test_setup_teardown(
			test_an_instance_changes_with_what_a_registry_is_told, set_up, tear_down),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
