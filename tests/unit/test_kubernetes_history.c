/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * registry/kubernetes_join over histories made by chance: whatever came, moved, was lost and went,
 * what was told comes to what a list of what there is now would say.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "registry/kubernetes_join.h"

#define KINDS 3 /* services, slices, nodes */
#define NAMES 5 /* of each kind */
#define HISTORIES 3000
#define JSON 2000
#define TOLD 100

static struct {
	unsigned int seed, version;
	bool external;
	uint64_t now;
	char objects[KINDS][NAMES][JSON]; /* as they are; "": none */
	struct {
		char name[130];
		uint64_t etag;
	} told[TOLD];
	size_t n_told;
} world;

static unsigned int chance(unsigned int n)
{
	return (unsigned int)rand_r(&world.seed) % n;
}

/* --- objects -----------------------------------------------------------------------------------
 */

static void make_service(char *json, unsigned int i)
{
	static const char *const types[] = {"ClusterIP", "ClusterIP", "LoadBalancer",
					    "ExternalName"};
	static const char *const ports[] = {
		"{'name':'http','port':80,'nodePort':30080}",
		"{'name':'http','port':80},{'name':'b','port':81,'nodePort':30081}", ""};

	(void)snprintf(
		json, JSON,
		"{'kind':'Service','metadata':{'namespace':'%s','uid':'s%u',"
		"'resourceVersion':'%u','name':'s%u'},'spec':{'type':'%s'%s,'ports':[%s]}%s}",
		i % 2 ? "shop" : "mail", i, ++world.version, i, types[chance(4)],
		chance(2) ? ",'clusterIPs':['None']" : "", ports[chance(3)],
		chance(3) ? "" : ",'status':{'loadBalancer':{'ingress':[{'ip':'192.0.2.7'}]}}");
}

static void make_slice(char *json, unsigned int i)
{
	static const char *const conditions[] = {
		"", "", "'conditions':{'ready':false},",
		"'conditions':{'ready':false,'serving':true,'terminating':true},"};
	static const char *const ports[] = {"{'name':'http','port':8080}", "{'name':'http'}",
					    "{'name':'http','port':8080},{'name':'b','port':81}"};
	unsigned int n = chance(4);
	char label[64] = "";
	int at;

	if (chance(5))
		(void)snprintf(label, sizeof(label), "'kubernetes.io/service-name':'s%u'",
			       chance(NAMES));
	at = snprintf(json, JSON,
		      "{'kind':'EndpointSlice','addressType':'%s','metadata':{'namespace':'%s',"
		      "'uid':'e%u','resourceVersion':'%u','name':'e%u','labels':{%s}},'ports':[%s],"
		      "'endpoints':[",
		      chance(8) ? "IPv4" : "FQDN", i % 2 ? "shop" : "mail", i, ++world.version, i,
		      label, ports[chance(3)]);
	for (unsigned int k = 0; k < n; k++)
		at += snprintf(json + at, JSON - (size_t)at,
			       "%s{'addresses':['10.0.0.%u'],%s'nodeName':'n%u'}", k ? "," : "",
			       chance(6), conditions[chance(4)], chance(NAMES));
	(void)snprintf(json + at, JSON - (size_t)at, "]}");
}

static void make_node(char *json, unsigned int i)
{
	(void)snprintf(json, JSON,
		       "{'kind':'Node','metadata':{'uid':'n%u','resourceVersion':'%u','name':'n%u',"
		       "'labels':{'%s':'z%u'}},'status':{'addresses':["
		       "{'type':'InternalIP','address':'10.1.0.%u'}]}}",
		       i, ++world.version, i, chance(4) ? "topology.kubernetes.io/zone" : "no-zone",
		       chance(3), 1 + chance(3));
}

static struct kubernetes_object *read_object(unsigned int kind, const char *json)
{
	struct kubernetes_event e = {};
	char text[JSON + 64];
	int n = snprintf(text, sizeof(text), "{'type':'ADDED','object':%s}", json);

	for (char *p = text; *p; p++)
		*p = *p == '\'' ? '"' : *p;
	if (kubernetes_decode_event(text, (size_t)n, (enum kubernetes_kind)kind, &e) < 0 ||
	    !e.object)
		fail_msg("%s", text);
	return e.object;
}

/* --- what is told ------------------------------------------------------------------------------
 */

static size_t find_told(const char *namespace, const char *name)
{
	char whole[130];
	size_t i = 0;

	(void)snprintf(whole, sizeof(whole), "%s/%s", namespace, name);
	while (i < world.n_told && strcmp(world.told[i].name, whole) != 0)
		i++;
	assert_true(i < TOLD);
	memcpy(world.told[i].name, whole, sizeof(whole));
	return i;
}

static void listen(struct kubernetes_join *j)
{
	struct kubernetes_change change;
	size_t i;

	while (kubernetes_join_next(j, world.now, &change) > 0) {
		if (change.service) {
			i = find_told(change.service->namespace, change.service->name);
			world.told[i].etag = change.service->etag;
			world.n_told += i == world.n_told;
			service_unref(change.service);
			continue;
		}
		i = find_told(change.namespace, change.name);
		if (i < world.n_told)
			world.told[i] = world.told[--world.n_told];
	}
}

/* --- histories ---------------------------------------------------------------------------------
 */

static void put_one(struct kubernetes_join *j, unsigned int kind, unsigned int i)
{
	static void (*const make[KINDS])(char *json, unsigned int i) = {make_service, make_slice,
									make_node};
	char *json = world.objects[kind][i];

	make[kind](json, i);
	assert_int_equal(kubernetes_join_put(j, read_object(kind, json), world.now), 0);
}

static void delete_one(struct kubernetes_join *j, unsigned int kind, unsigned int i)
{
	struct kubernetes_object *o;

	if (!*world.objects[kind][i])
		return;
	o = read_object(kind, world.objects[kind][i]);
	kubernetes_join_delete(j, o, world.now);
	kubernetes_object_free(o);
	world.objects[kind][i][0] = '\0';
}

/* Some went while nobody watched. */
static void list_again(struct kubernetes_join *j, unsigned int kind)
{
	kubernetes_join_begin(j, (enum kubernetes_kind)kind);
	for (unsigned int i = 0; i < NAMES; i++) {
		char *json = world.objects[kind][i];

		if (!chance(3))
			*json = '\0';
		if (*json)
			assert_int_equal(kubernetes_join_put(j, read_object(kind, json), world.now),
					 0);
		if (!chance(4))
			listen(j);
	}
	kubernetes_join_end(j, (enum kubernetes_kind)kind, world.now);
}

static void live(struct kubernetes_join *j)
{
	for (unsigned int left = 5 + chance(60); left; left--) {
		unsigned int kind = chance(KINDS), i = chance(NAMES), what = chance(12);

		world.now += chance(3) ? chance(5) : chance(60);
		if (what < 8)
			put_one(j, kind, i);
		else if (what < 10)
			delete_one(j, kind, i);
		else if (what == 10)
			list_again(j, kind);
		else
			listen(j);
	}
	for (int i = 0; i < 3; i++) {
		world.now += 1000;
		listen(j);
	}
	assert_int_equal(kubernetes_join_due(j), 0);
}

static struct kubernetes_join *open_join(void)
{
	struct kubernetes_join *j;

	assert_int_equal(kubernetes_join_new("kubernetes/test", NULL, &j), 0);
	if (world.external)
		kubernetes_join_set_node(j, "n1");
	return j;
}

static void compare(struct kubernetes_join *j, unsigned int history)
{
	_cleanup_(kubernetes_join_freep) struct kubernetes_join *fresh = open_join();
	struct kubernetes_join_counts a, b;
	struct object *objects;
	size_t n;

	for (unsigned int kind = KINDS; kind--;)
		for (unsigned int i = 0; i < NAMES; i++)
			if (*world.objects[kind][i])
				(void)kubernetes_join_put(
					fresh, read_object(kind, world.objects[kind][i]), 1);
	assert_int_equal(kubernetes_join_all(fresh, &objects, &n), 0);
	for (size_t i = 0; i < n; i++) {
		const struct service *s = objects[i].service;
		size_t at = find_told(s->namespace, s->name);

		if (at == world.n_told || world.told[at].etag != s->etag)
			fail_msg("history %u: %s/%s", history, s->namespace, s->name);
	}
	object_free_list(objects, n);
	assert_int_equal(n, world.n_told);
	kubernetes_join_count(j, &a);
	kubernetes_join_count(fresh, &b);
	assert_int_equal(a.endpoints, b.endpoints);
	assert_memory_equal(a.objects, b.objects, sizeof(a.objects));
}

static void test_whatever_happens_what_is_told_is_what_there_is(void **state)
{
	for (unsigned int history = 1; history <= HISTORIES; history++) {
		_cleanup_(kubernetes_join_freep) struct kubernetes_join *j = NULL;
		struct object *objects;
		size_t n;

		memset(&world, 0, sizeof(world));
		world.seed = history;
		world.now = 1;
		world.external = history % 2;
		j = open_join();
		assert_int_equal(kubernetes_join_all(j, &objects, &n), 0);
		object_free_list(objects, n);
		live(j);
		compare(j, history);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_whatever_happens_what_is_told_is_what_there_is),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
