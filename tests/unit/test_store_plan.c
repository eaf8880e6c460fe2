/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * model/store_plan: whose an object is, what a snapshot removes, policies, generations, and the
 * limits over everything.
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
#include "declared.h"
#include "harness/model.h"
#include "model/limits.h"

static bool has(const struct declared *d, const char *name)
{
	return store_find_service(d->store, "default", name);
}

static void test_owner(void **state)
{
	struct declared d;

	declared_init(&d);
	assert_int_equal(declared_change(&d, "manifest", "+a 10.96.0.1 80, +%p"), 0);
	assert_int_equal(declared_change(&d, "consul/dc1", "+a 10.96.0.1 81"), -EEXIST);
	assert_true(declared_says(&d, "service default/a: it belongs to source manifest; source "
				      "consul/dc1 cannot change it"));
	assert_int_equal(declared_change(&d, "consul/dc1", "-a"), -EEXIST);
	assert_true(declared_says(&d, "cannot remove it"));
	assert_int_equal(declared_change(&d, "consul/dc1", "-%p"), -EEXIST);
	assert_true(declared_says(&d, "policy default/p: it belongs"));
	/* The same name in another namespace is another object. */
	assert_int_equal(declared_change(&d, "consul/dc1", "+shop/a 10.96.0.2 80"), 0);
	assert_int_equal(declared_change(&d, "manifest", "-a"), 0);
	assert_int_equal(declared_change(&d, "consul/dc1", "+a 10.96.0.1 81"), 0);
	declared_done(&d);
}

static void test_delete(void **state)
{
	struct declared d;

	declared_init(&d);
	assert_int_equal(declared_change(&d, "s", "+a 10.96.0.1 80, +b 10.96.0.2 80"), 0);
	assert_int_equal(declared_change(&d, "s", "-x"), -ENOENT);
	assert_true(declared_says(&d, "service default/x: there is no such service"));
	assert_int_equal(declared_change(&d, "s", "-%x"), -ENOENT);
	assert_true(declared_says(&d, "there is no such policy"));
	/* Whole or not at all. */
	assert_int_equal(declared_change(&d, "s", "-a, -x"), -ENOENT);
	assert_true(has(&d, "a"));
	assert_int_equal(declared_change(&d, "s", "-a, +a 10.96.0.1 81"), -EINVAL);
	assert_true(declared_says(&d, "it is named twice in one change"));
	assert_int_equal(declared_change(&d, "s", "+a 10.96.0.1 81, +a 10.96.0.1 82"), -EINVAL);
	assert_int_equal(declared_change(&d, "s", "-a, -b"), 0);
	assert_false(has(&d, "a") || has(&d, "b"));
	declared_done(&d);
}

static void test_delete_of_nothing_can_be_passed_over(void **state)
{
	struct declared d;

	declared_init(&d);
	assert_int_equal(declared_change(&d, "other", "+m 10.96.0.9 80, +%q"), 0);
	assert_int_equal(
		declared_change(&d, "s", "+b 10.96.0.1 80, +f 10.96.0.2 80, +j 10.96.0.3 80, +%p"),
		0);
	/* Before, between and behind what there is, and what another source has. */
	assert_int_equal(declared_change(&d, "s",
					 "ignoring, -a, -b, -c, -j, -k, -m, -z, -%a, -%p, -%q, "
					 "+d 10.96.0.4 80"),
			 0);
	assert_int_equal(d.plan.n_unchanged, 7);
	assert_true(has(&d, "d") && has(&d, "f") && has(&d, "m"));
	assert_false(has(&d, "b") || has(&d, "j"));
	assert_null(store_find_policy(d.store, "default", "p"));
	assert_non_null(store_find_policy(d.store, "default", "q"));
	assert_int_equal(declared_change(&d, "s", "ignoring, -a, -a"), -EINVAL);
	assert_true(declared_says(&d, "it is named twice in one change"));
	/* Whose policy is used stays. */
	assert_int_equal(declared_change(&d, "other", "+u 10.96.0.5 80 @q"), 0);
	assert_int_equal(declared_change(&d, "other", "ignoring, -%q"), -EINVAL);
	assert_true(declared_says(&d, "still uses it"));
	declared_done(&d);
}

static void test_whole_snapshot(void **state)
{
	struct declared d;

	declared_init(&d);
	assert_int_equal(declared_change(&d, "s",
					 "+a 10.96.0.1 80, +b 10.96.0.2 80, "
					 "+d 10.96.0.4 80 @p, +%p, +%q"),
			 0);
	assert_int_equal(declared_change(&d, "t", "+c 10.96.0.3 80, +z/z 10.96.0.9 80, +%r"), 0);
	assert_int_equal(declared_change(&d, "s", "whole, +b 10.96.0.2 80, +e 10.96.0.5 80"), 0);
	/* b was there already; a, d, p, q go; e comes; of t nothing. */
	assert_int_equal(d.plan.n_services, 3);
	assert_int_equal(d.plan.n_policies, 2);
	assert_int_equal(d.plan.n_unchanged, 1);
	assert_true(has(&d, "b") && has(&d, "e") && has(&d, "c"));
	assert_false(has(&d, "a") || has(&d, "d"));
	assert_null(store_find_policy(d.store, "default", "p"));
	assert_non_null(store_find_policy(d.store, "default", "r"));
	assert_non_null(store_find_service(d.store, "z", "z"));
	assert_int_equal(declared_change(&d, "t", "whole"), 0);
	assert_false(has(&d, "c"));
	assert_true(has(&d, "b"));
	declared_done(&d);
}

static void test_plan_is_sorted_and_says_what_changes(void **state)
{
	struct declared d;

	declared_init(&d);
	assert_int_equal(declared_change(&d, "s", "+b/x 10.96.0.1 80, +a/y 10.96.0.2 80"), 0);
	assert_int_equal(
		declared_plan(&d, "s", "+c/a 10.96.0.3 80, -a/y, +b/x 10.96.0.1 81, +a/z - 1"), 0);
	assert_int_equal(d.plan.n_services, 4);
	assert_string_equal(d.plan.services[0].old->name, "y");
	assert_null(d.plan.services[0].new);
	assert_string_equal(d.plan.services[1].new->name, "z");
	assert_null(d.plan.services[1].old);
	assert_int_equal(d.plan.services[2].old->ports[0].port, 80);
	assert_int_equal(d.plan.services[2].new->ports[0].port, 81);
	assert_string_equal(d.plan.services[3].new->namespace, "c");
	assert_string_equal(d.plan.source, "s");
	declared_done(&d);
}

static void test_nothing_new_is_unchanged(void **state)
{
	const char *words = "+a 10.96.0.1 80 10.1.0.1, +b - 80, +%p";
	const struct service *a, *b;
	struct declared d;

	declared_init(&d);
	assert_int_equal(declared_change(&d, "s", words), 0);
	a = store_find_service(d.store, "default", "a");
	b = store_find_service(d.store, "default", "b");
	assert_int_equal(declared_change(&d, "s", words), 0);
	assert_int_equal(d.plan.n_services + d.plan.n_policies, 0);
	assert_int_equal(d.plan.n_unchanged, 3);
	assert_int_equal(store_generation(d.store, "s"), 1);
	/* The objects stay the same ones. */
	assert_ptr_equal(store_find_service(d.store, "default", "a"), a);
	assert_ptr_equal(store_find_service(d.store, "default", "b"), b);
	declared_done(&d);
}

static void test_generation_and_if_match(void **state)
{
	struct declared d;

	declared_init(&d);
	assert_int_equal(store_generation(d.store, "s"), 0);
	assert_int_equal(declared_change_if(&d, "s", "+a 10.96.0.1 80", 1), -ESTALE);
	assert_true(declared_says(&d, "source s is at generation 0, not 1; read it again"));
	assert_int_equal(declared_change_if(&d, "s", "+a 10.96.0.1 80", 0), 0);
	assert_int_equal(store_generation(d.store, "s"), 1);
	assert_int_equal(declared_change(&d, "t", "+b 10.96.0.2 80"), 0);
	assert_int_equal(store_generation(d.store, "s"), 1); /* each source counts on its own */
	/* Two writers read generation 1: the second one's update is refused. */
	assert_int_equal(declared_change_if(&d, "s", "+a 10.96.0.1 81", 1), 0);
	assert_int_equal(declared_change_if(&d, "s", "+a 10.96.0.1 82", 1), -ESTALE);
	assert_int_equal(store_find_service(d.store, "default", "a")->ports[0].port, 81);
	assert_int_equal(declared_change_if(&d, "s", "-a", 2), 0);
	/* It is remembered when nothing is left of the source. */
	assert_int_equal(store_generation(d.store, "s"), 3);
	assert_int_equal(store_set_generation(d.store, "s", 41), 0);
	assert_int_equal(declared_change_if(&d, "s", "+a 10.96.0.1 80", 41), 0);
	assert_int_equal(store_generation(d.store, "s"), 42);
	declared_done(&d);
}

static void test_policies(void **state)
{
	struct declared d;

	declared_init(&d);
	assert_int_equal(declared_change(&d, "s", "+a 10.96.0.1 80 @gentle"), -EINVAL);
	assert_true(declared_says(
		&d, "service default/a: there is no policy \"gentle\" in namespace default"));
	/* In the same change, in any order, is early enough; "default" always exists. */
	assert_int_equal(declared_change(&d, "s", "+a 10.96.0.1 80 @gentle, +%gentle"), 0);
	assert_int_equal(declared_change(&d, "s", "+b 10.96.0.2 80 @gentel"), -EINVAL);
	assert_true(declared_says(&d, "did you mean \"gentle\"?"));
	assert_int_equal(declared_change(&d, "s", "+b 10.96.0.2 80 @defualt"), -EINVAL);
	assert_true(declared_says(&d, "did you mean \"default\"?"));
	/* Another namespace's is another one. */
	assert_int_equal(declared_change(&d, "s", "+shop/b 10.96.0.2 80 @gentle"), -EINVAL);
	assert_true(declared_says(&d, "in namespace shop"));
	assert_int_equal(declared_change(&d, "s", "-%gentle"), -EINVAL);
	assert_true(declared_says(&d, "policy default/gentle: service default/a still uses it"));
	assert_int_equal(declared_change(&d, "s", "-%gentle, +a 10.96.0.1 80 @gentle"), -EINVAL);
	/* Another source may use it, and holds it. */
	assert_int_equal(declared_change(&d, "t", "+c 10.96.0.3 80 @gentle"), 0);
	assert_int_equal(declared_change(&d, "s", "whole"), -EINVAL);
	assert_true(declared_says(&d, "service default/c still uses it"));
	assert_int_equal(declared_change(&d, "t", "-c"), 0);
	assert_int_equal(declared_change(&d, "s", "-%gentle, +a 10.96.0.1 80"), 0);
	assert_int_equal(declared_change(&d, "s", "+%default, +a 10.96.0.1 81"), 0);
	assert_int_equal(declared_change(&d, "s", "-%default"), 0);
	declared_done(&d);
}

/* --- limits ------------------------------------------------------------------------------- */

/* One service of so many ports and endpoints, at 10.96.0.<i>. */
static struct object sized(unsigned int i, unsigned int ports, unsigned int endpoints)
{
	struct text_buffer b = {};
	struct object o;

	text_append_format(&b,
			   "{'apiVersion':'sinew/v1','kind':'Service','metadata':{'name':'s%u'},"
			   "'spec':{'address':'10.96.%u.%u','ports':[",
			   i, i >> 8, i & 255);
	for (unsigned int k = 0; k < ports; k++)
		text_append_format(&b, "%s{'port':%u,'name':'p%u'}", k ? "," : "", k + 1, k);
	text_append(&b, "],'endpoints':[");
	for (unsigned int k = 0; k < endpoints; k++)
		text_append_format(&b, "%s{'address':'10.1.%u.%u'}", k ? "," : "", k >> 8, k & 255);
	text_append(&b, "]}}");
	o = model_object(b.data, "s");
	text_done(&b);
	return o;
}

static int change_sized(struct declared *d, struct object *objects, size_t n)
{
	struct change change = {.source = "s", .upserts = objects, .n_upserts = n};
	int r;

	problems_done(&d->problems);
	plan_done(&d->plan);
	r = store_plan(d->store, &change, &d->problems, &d->plan);
	if (r >= 0)
		store_commit(d->store, &d->plan);
	for (size_t i = 0; i < n; i++)
		object_done(&objects[i]);
	return r;
}

/* LIMIT_SERVICES frontends: 511 services of 32 ports, one of 31. */
static void test_limit_services(void **state)
{
	struct object *objects = calloc(512, sizeof(*objects));
	struct object one;
	struct declared d;

	assert_non_null(objects);
	declared_init(&d);
	for (unsigned int i = 0; i < 512; i++)
		objects[i] = sized(i, i ? 32 : 31, 0);
	assert_int_equal(change_sized(&d, objects, 512), 0);
	one = sized(600, 1, 0);
	assert_int_equal(change_sized(&d, &one, 1), -E2BIG);
	assert_true(declared_says(&d, "16384 addresses and ports of services; at most 16383"));
	one = sized(0, 32, 0);
	assert_int_equal(change_sized(&d, &one, 1), -E2BIG);
	/* What a change removes makes room for what it brings. */
	one = sized(1, 31, 0);
	assert_int_equal(change_sized(&d, &one, 1), 0);
	one = sized(0, 32, 0);
	assert_int_equal(change_sized(&d, &one, 1), 0);
	free(objects);
	declared_done(&d);
}

/* LIMIT_BACKENDS: each port of each endpoint counts. */
static void test_limit_backends(void **state)
{
	struct object objects[16];
	struct declared d;

	declared_init(&d);
	for (unsigned int i = 0; i < 16; i++)
		objects[i] = sized(i, 2, i ? 2048 : 2047);
	assert_int_equal(change_sized(&d, objects, 16), 0); /* 65534 */
	objects[0] = sized(99, 1, 2);
	assert_int_equal(change_sized(&d, objects, 1), -E2BIG);
	assert_true(declared_says(&d, "65536 backends; at most 65535 are allowed"));
	objects[0] = sized(99, 1, 1);
	assert_int_equal(change_sized(&d, objects, 1), 0);
	declared_done(&d);
}

static void test_limit_policies(void **state)
{
	struct object *objects = calloc(LIMIT_POLICIES + 1, sizeof(*objects));
	struct declared d;

	assert_non_null(objects);
	declared_init(&d);
	for (unsigned int i = 0; i <= LIMIT_POLICIES; i++) {
		char text[160];

		(void)snprintf(text, sizeof(text),
			       "{'apiVersion':'sinew/v1','kind':'TrafficPolicy','metadata':"
			       "{'name':'p%u'},'spec':{}}",
			       i);
		objects[i] = model_object(text, "s");
	}
	assert_int_equal(change_sized(&d, objects, LIMIT_POLICIES), 0);
	assert_int_equal(change_sized(&d, objects + LIMIT_POLICIES, 1), -E2BIG);
	assert_true(declared_says(&d, "1024 policies; at most 1023"));
	free(objects);
	declared_done(&d);
}

static void test_limit_sources(void **state)
{
	char name[16], words[64];
	struct declared d;

	declared_init(&d);
	for (unsigned int i = 0; i < LIMIT_SOURCES; i++) {
		(void)snprintf(name, sizeof(name), "s%u", i);
		(void)snprintf(words, sizeof(words), "+a%u 10.96.0.%u 80", i, i);
		assert_int_equal(declared_change(&d, name, words), 0);
	}
	assert_int_equal(declared_change(&d, "more", "+b 10.97.0.1 80"), -E2BIG);
	assert_true(declared_says(&d, "more than 64 sources"));
	/* One that declares nothing any more gives up its place when it is needed. */
	assert_int_equal(declared_change(&d, "s7", "-a7"), 0);
	assert_int_equal(store_generation(d.store, "s7"), 2);
	assert_int_equal(declared_change(&d, "more", "+b 10.97.0.1 80"), 0);
	assert_int_equal(store_generation(d.store, "more"), 1);
	assert_int_equal(store_generation(d.store, "s7"), 0);
	assert_int_equal(declared_change(&d, "s7", "+c 10.97.0.2 80"), -E2BIG);
	assert_int_equal(store_set_generation(d.store, "yet-another", 3), -E2BIG);
	declared_done(&d);
}

static void test_limit_source_name(void **state)
{
	char name[130];
	struct declared d;

	declared_init(&d);
	memset(name, 'a', sizeof(name));
	name[128] = '\0';
	assert_int_equal(declared_change(&d, name, "+b 10.97.0.1 80"), -EINVAL);
	assert_true(declared_says(&d, "a source's name has 1 to 127 bytes"));
	assert_int_equal(declared_change(&d, "", "+b 10.97.0.1 80"), -EINVAL);
	name[127] = '\0';
	assert_int_equal(declared_change(&d, name, "+b 10.97.0.1 80"), 0);
	declared_done(&d);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_owner),
		cmocka_unit_test(test_delete),
		cmocka_unit_test(test_delete_of_nothing_can_be_passed_over),
		cmocka_unit_test(test_whole_snapshot),
		cmocka_unit_test(test_plan_is_sorted_and_says_what_changes),
		cmocka_unit_test(test_nothing_new_is_unchanged),
		cmocka_unit_test(test_generation_and_if_match),
		cmocka_unit_test(test_policies),
		cmocka_unit_test(test_limit_services),
		cmocka_unit_test(test_limit_backends),
		cmocka_unit_test(test_limit_policies),
		cmocka_unit_test(test_limit_sources),
		cmocka_unit_test(test_limit_source_name),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
