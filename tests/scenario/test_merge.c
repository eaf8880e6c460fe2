/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * registry/merge: several registries as one. Who wins, what the others add, what a silent one
 * keeps, and what does not fit.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/text.h"
#include "model/address.h"
#include "model/limits.h"
#include "registry/draft.h"
#include "say.h"

#define SEES(s, text) assert_string_equal(say_view(s), text)

static struct merge_counts count(const struct say *s, unsigned int source)
{
	struct merge_counts c;

	merge_count(s->m, source, &c);
	return c;
}

static void test_endpoints_of_all_ports_of_the_first(void **state)
{
	struct say s;

	say_init(&s);
	(void)say_snapshot(&s, 0, 1, "pay:81=10.96.0.9 10.0.0.2; cart:80 10.0.0.3");
	SEES(&s, "cart:80 10.0.0.3@b; pay:81=10.96.0.9 10.0.0.2@b");
	(void)say_snapshot(&s, 0, 0, "pay:80=10.96.0.1 10.0.0.1:8080");
	/* Its only port is the same thing under another number. */
	SEES(&s, "cart:80 10.0.0.3@b; pay:80=10.96.0.1 10.0.0.1:8080@a 10.0.0.2:81@b");
	assert_false(s.urgent);
	assert_int_equal(s.told, 1);
	assert_int_equal(count(&s, 0).services, 1);
	assert_int_equal(count(&s, 1).services, 2);
	assert_int_equal(count(&s, 1).endpoints, 2);
	say_done(&s);
}

static void test_tie_belongs_to_the_first(void **state)
{
	struct say s;

	say_init(&s);
	(void)say_snapshot(&s, 0, 2, "pay:80 10.0.0.1*3 10.0.0.2*3");
	(void)say_snapshot(&s, 0, 1, "pay:80 10.0.0.1*2");
	SEES(&s, "pay:80 10.0.0.1*2@b 10.0.0.2*3@c");
	(void)say_snapshot(&s, 0, 0, "pay:80 10.0.0.1:80*1"); /* as asked for, and 80, are one */
	SEES(&s, "pay:80 10.0.0.1*1@a 10.0.0.2*3@c");
	(void)say_snapshot(&s, 0, 0, "pay:80 10.0.0.1:90*1"); /* another port is another backend */
	SEES(&s, "pay:80 10.0.0.1*2@b 10.0.0.1:90*1@a 10.0.0.2*3@c");
	say_done(&s);
}

static void test_suspect_of_one_is_well_if_another_names_it(void **state)
{
	struct say s;

	say_init(&s);
	(void)say_snapshot(&s, 0, 0, "pay:80 10.0.0.1");
	(void)say_snapshot(&s, 0, 1, "pay:80 10.0.0.1*7");
	SEES(&s, "pay:80 10.0.0.1@a");
	(void)say_snapshot(&s, 9000, 0, "");
	SEES(&s, "pay:80 10.0.0.1*7@b");
	(void)say_snapshot(&s, 9000, 1, "");
	SEES(&s, "pay:80 10.0.0.1@a?");
	(void)say_snapshot(&s, 9000, 1, "pay:80 10.0.0.1*7");
	SEES(&s, "pay:80 10.0.0.1*7@b");
	say_done(&s);
}

static void test_only_what_changed_is_told(void **state)
{
	struct say s;
	bool urgent;

	say_init(&s);
	(void)say_snapshot(&s, 0, 0, "pay:80 10.0.0.1 10.0.0.2; cart:80 10.0.0.3");
	SEES(&s, "cart:80 10.0.0.3@a; pay:80 10.0.0.1@a 10.0.0.2@a");
	(void)say_snapshot(&s, 9000, 0, "cart:80 10.0.0.3; pay:80 10.0.0.2 10.0.0.1");
	assert_false(merge_has_change(s.m, &urgent));
	say_upsert(&s, 0, 0, "pay:80 10.0.0.1 10.0.0.2 10.0.0.4");
	assert_true(merge_has_change(s.m, &urgent));
	assert_false(urgent);
	say_upsert(&s, 0, 0, "pay:80 10.0.0.1 10.0.0.2"); /* a third is no more than half */
	assert_true(merge_has_change(s.m, &urgent));
	assert_true(urgent);
	SEES(&s, "cart:80 10.0.0.3@a; pay:80 10.0.0.1@a 10.0.0.2@a");
	assert_int_equal(s.told, 0); /* it came and went unseen */
	assert_false(merge_has_change(s.m, &urgent));
	assert_false(urgent);
	say_done(&s);
}

static void test_take_all_is_everything(void **state)
{
	struct merge_change c;
	struct say s;
	bool urgent;

	say_init(&s);
	(void)say_snapshot(&s, 0, 0, "pay:80 10.0.0.1; policy gentle 3");
	SEES(&s, "pay:80 10.0.0.1@a; policy gentle 3");
	say_upsert(&s, 0, 1, "cart:80 10.0.0.3");
	assert_int_equal(merge_take_all(s.m, s.now_ms, &c), 0);
	assert_int_equal(c.n_upserts, 3);
	assert_int_equal(c.n_deletes, 0);
	merge_change_done(&c);
	assert_false(merge_has_change(s.m, &urgent));
	say_remove(&s, 0, 0, "policy gentle");
	assert_int_equal(merge_take_all(s.m, s.now_ms, &c), 0);
	assert_int_equal(c.n_upserts, 2);
	assert_int_equal(c.n_deletes, 1); /* or nobody would ever tell that it went */
	assert_int_equal(c.deletes[0].kind, OBJECT_POLICY);
	assert_string_equal(c.deletes[0].name, "gentle");
	merge_change_done(&c);
	say_done(&s);
}

static void test_dead_registry_freezes_its_own(void **state)
{
	struct say s;

	say_init(&s);
	(void)say_snapshot(&s, 0, 0, "pay:80 10.0.0.1");
	(void)say_snapshot(&s, 0, 1, "pay:80 10.0.0.2 10.0.0.3; cart:80 10.0.0.4");
	/* Registry b says nothing any more; a goes on. */
	assert_int_equal(merge_set_stale(s.m, 1, STALE_KEEP), 0);
	say_upsert(&s, 60000, 0, "pay:80 10.0.0.1 10.0.0.5");
	SEES(&s, "cart:80 10.0.0.4@b; pay:80 10.0.0.1@a 10.0.0.2@b 10.0.0.3@b 10.0.0.5@a");
	assert_int_equal(merge_set_stale(s.m, 1, STALE_DRAIN), 0);
	SEES(&s, "cart:80 10.0.0.4*0@b; pay:80 10.0.0.1@a 10.0.0.2*0@b 10.0.0.3*0@b 10.0.0.5@a");
	assert_int_equal(merge_set_stale(s.m, 1, STALE_FAIL), 0);
	SEES(&s, "cart:80; pay:80 10.0.0.1@a 10.0.0.5@a");
	assert_true(s.urgent);
	assert_int_equal(count(&s, 1).endpoints, 3); /* it is not forgotten */
	assert_int_equal(merge_set_stale(s.m, 1, STALE_KEEP), 0);
	SEES(&s, "cart:80 10.0.0.4@b; pay:80 10.0.0.1@a 10.0.0.2@b 10.0.0.3@b 10.0.0.5@a");
	say_done(&s);
}

static void test_drained_by_silence_is_well_if_another_names_it(void **state)
{
	struct say s;

	say_init(&s);
	(void)say_snapshot(&s, 0, 0, "pay:80 10.0.0.1 10.0.0.2");
	(void)say_snapshot(&s, 0, 1, "pay:80 10.0.0.1*7");
	assert_int_equal(merge_set_stale(s.m, 0, STALE_DRAIN), 0);
	SEES(&s, "pay:80 10.0.0.1*7@b 10.0.0.2*0@a");
	say_done(&s);
}

static void test_policy_of_the_first(void **state)
{
	struct say s;

	say_init(&s);
	(void)say_snapshot(&s, 0, 1, "policy gentle 7");
	SEES(&s, "policy gentle 7");
	say_upsert(&s, 0, 0, "policy gentle 3");
	SEES(&s, "policy gentle 3");
	assert_int_equal(count(&s, 0).policies, 1);
	say_remove(&s, 0, 0, "policy gentle");
	SEES(&s, "policy gentle 7");
	(void)say_snapshot(&s, 0, 1, "policy gentle 7; pay:80 10.0.0.1");
	(void)say_snapshot(&s, 0, 1, "pay:80 10.0.0.1");
	SEES(&s, "pay:80 10.0.0.1@b");
	assert_true(s.urgent);
	assert_int_equal(count(&s, 1).policies, 0);
	say_done(&s);
}

static void test_other_family_cannot_be_reached(void **state)
{
	struct say s;

	say_init(&s);
	(void)say_snapshot(&s, 0, 0, "pay:80=10.96.0.1 10.0.0.1");
	(void)say_snapshot(&s, 0, 1, "pay:80 [fd00::1] 10.0.0.2");
	SEES(&s, "pay:80=10.96.0.1 10.0.0.1@a 10.0.0.2@b");
	assert_int_equal(count(&s, 1).refused, 1);
	say_done(&s);
}

/* --- limits ------------------------------------------------------------------------------- */

static void say_many(struct say *s, unsigned int source, unsigned int second, unsigned int n)
{
	struct text_buffer b = {};
	_cleanup_free_ char *text = NULL;

	text_append(&b, "pay:80");
	for (unsigned int i = 0; i < n; i++)
		text_append_format(&b, " 10.%u.%u.%u", second, i / 250, 1 + i % 250);
	text = text_take(&b);
	say_upsert(s, 0, source, text);
}

static void test_too_many_endpoints_are_counted(void **state)
{
	const struct service *x;
	struct say s;
	size_t of_a = 0;

	say_init(&s);
	say_many(&s, 0, 9, 3000);
	say_many(&s, 1, 1, 3000);
	(void)say_view(&s);
	x = merge_find(s.m, "default", "pay");
	assert_int_equal(x->n_endpoints, LIMIT_ENDPOINTS);
	for (size_t i = 0; i < x->n_endpoints; i++)
		of_a += !strcmp(x->sources[x->endpoints[i].source - 1], "a");
	assert_int_equal(of_a, 3000); /* whatever their addresses: precedence decides */
	assert_true(x->n_nodes <= LIMIT_SERVICE_NODES);
	assert_int_equal(count(&s, 0).refused, 0);
	assert_int_equal(count(&s, 1).refused, 6000 - LIMIT_ENDPOINTS);
	say_done(&s);
}

static void test_held_ones_give_way_to_named_ones(void **state)
{
	struct say s;

	say_init(&s);
	say_many(&s, 0, 1, 3000);
	s.now_ms += 9000;
	say_many(&s, 0, 9, 3000);
	assert_int_equal(count(&s, 0).endpoints, 3000);
	assert_int_equal(count(&s, 0).suspect, LIMIT_ENDPOINTS - 3000);
	assert_int_equal(count(&s, 0).refused, 6000 - LIMIT_ENDPOINTS);
	say_done(&s);
}

static size_t many_services(unsigned int n, unsigned int endpoints, struct object **ret)
{
	_cleanup_(draft_freep) struct draft_service *d = NULL;
	struct object *objects = calloc(n, sizeof(*objects));
	char name[32];

	assert_non_null(objects);
	assert_int_equal(draft_new(&d), 0);
	for (unsigned int i = 0; i < n; i++) {
		(void)snprintf(name, sizeof(name), "service-%u", i);
		assert_int_equal(draft_init(d, "default", name, "a"), 0);
		assert_int_equal(draft_add_port(d, NULL, 80, SN_PROTO_TCP), 0);
		for (unsigned int e = 0; e < endpoints; e++) {
			struct draft_endpoint x = {.weight = 100, .zone = "z", .node = name};

			(void)snprintf(name, sizeof(name), "10.%u.%u.%u", e, i / 250, 1 + i % 250);
			assert_int_equal(address_parse(name, &x.addr), 0);
			assert_int_equal(draft_add_endpoint(d, &x), 0);
		}
		objects[i].kind = OBJECT_SERVICE;
		assert_int_equal(draft_finish(d, &objects[i].service), 0);
	}
	*ret = objects;
	return n;
}

static void test_too_many_services_are_counted(void **state)
{
	struct object *objects;
	size_t n = many_services(LIMIT_MERGED + 5, 0, &objects);
	struct say s;

	say_init(&s);
	assert_int_equal(merge_snapshot(s.m, 0, "a", (struct merge_objects){objects, n}, s.now_ms),
			 0);
	assert_int_equal(count(&s, 0).services, LIMIT_MERGED);
	assert_int_equal(count(&s, 0).refused, 5);
	say_upsert(&s, 0, 1, "pay:80 10.0.0.1");
	assert_int_equal(count(&s, 1).refused, 1);
	say_upsert(&s, 0, 1, "service-1:80 10.0.0.1"); /* known ones have room */
	assert_int_equal(count(&s, 1).services, 1);
	say_done(&s);
}

static void test_said_twice_in_a_snapshot_counts_once(void **state)
{
	struct say s;

	say_init(&s);
	(void)say_snapshot(&s, 0, 0, "pay:80 10.0.0.1; pay:80 10.0.0.2");
	SEES(&s, "pay:80 10.0.0.1@a");
	assert_int_equal(count(&s, 0).refused, 1);
	say_done(&s);
}

/* --- figures ------------------------------------------------------------------------------ */

static void order(struct say *s, unsigned int first, unsigned int second, unsigned int third)
{
	merge_set_order(s->m, (const unsigned int[]){first, second, third}, 3);
}

/* A person moved lines of agent.yaml: who wins is another, what each said is the same. */
static void test_another_order_changes_who_wins_and_nothing_else(void **state)
{
	struct say s;
	bool urgent;

	say_init(&s);
	(void)say_snapshot(&s, 0, 0, "pay:80=10.96.0.1 10.0.0.1*1; cart:80 10.0.0.9; policy p 1");
	(void)say_snapshot(&s, 0, 1, "pay:81=10.96.0.2 10.0.0.1*2 10.0.0.2*2; policy p 2");
	(void)say_snapshot(&s, 0, 2, "pay:82=10.96.0.3 10.0.0.2*3");
	SEES(&s, "cart:80 10.0.0.9@a; pay:80=10.96.0.1 10.0.0.1*1@a 10.0.0.1:81*2@b "
		 "10.0.0.2:81*2@b 10.0.0.2:82*3@c; policy p 1");
	order(&s, 1, 2, 0);
	assert_true(merge_has_change(s.m, &urgent));
	assert_false(urgent);
	SEES(&s, "cart:80 10.0.0.9@a; pay:81=10.96.0.2 10.0.0.1:80*1@a 10.0.0.1*2@b "
		 "10.0.0.2*2@b 10.0.0.2:82*3@c; policy p 2");
	assert_int_equal(s.told, 2); /* pay, p */
	order(&s, 1, 2, 0);
	assert_false(merge_has_change(s.m, &urgent));
	/* What comes later falls into its place, and what is counted is counted with its own. */
	say_upsert(&s, 0, 0, "mail:80 10.0.0.7*1");
	say_upsert(&s, 0, 1, "mail:80 10.0.0.7*2 10.0.0.8");
	SEES(&s, "cart:80 10.0.0.9@a; mail:80 10.0.0.7*2@b 10.0.0.8@b; pay:81=10.96.0.2 "
		 "10.0.0.1:80*1@a 10.0.0.1*2@b 10.0.0.2*2@b 10.0.0.2:82*3@c; policy p 2");
	assert_int_equal(count(&s, 0).services, 3);
	assert_int_equal(count(&s, 1).services, 2);
	say_done(&s);
}

/* The guard is against registries, not against the person who removed one. */
static void test_a_forgotten_source_goes_at_once_and_takes_nothing_of_others_along(void **state)
{
	struct say s;

	say_init(&s);
	(void)say_snapshot(&s, 0, 0, "pay:80 10.0.0.1; cart:80 10.0.0.3; policy p 1");
	(void)say_snapshot(&s, 0, 1, "pay:80 10.0.0.1 10.0.0.2; policy p 2");
	(void)say_snapshot(&s, 9000, 0, "pay:80 10.0.0.4; cart:80 10.0.0.3; policy p 1");
	SEES(&s, "cart:80 10.0.0.3@a; pay:80 10.0.0.1@b 10.0.0.2@b 10.0.0.4@a; policy p 1");
	merge_forget(s.m, 0);
	SEES(&s, "pay:80 10.0.0.1@b 10.0.0.2@b; policy p 2");
	assert_true(s.urgent);
	assert_int_equal(count(&s, 0).services + count(&s, 0).suspect + count(&s, 0).policies, 0);
	assert_int_equal(count(&s, 1).services, 1);
	merge_forget(s.m, 0);
	SEES(&s, "pay:80 10.0.0.1@b 10.0.0.2@b; policy p 2");
	assert_int_equal(s.told, 0);
	/* The number may be another's, of whom nothing is held against it. */
	(void)say_snapshot(&s, 0, 0, "mail:80 10.0.0.5");
	SEES(&s, "mail:80 10.0.0.5@a; pay:80 10.0.0.1@b 10.0.0.2@b; policy p 2");
	merge_forget(s.m, 1);
	merge_forget(s.m, 0);
	SEES(&s, "");
	say_done(&s);
}

static double ms_since(const struct timespec *t)
{
	struct timespec now;

	(void)clock_gettime(CLOCK_MONOTONIC, &now);
	return (double)(now.tv_sec - t->tv_sec) * 1e3 + (double)(now.tv_nsec - t->tv_nsec) / 1e6;
}

static void test_ten_thousand_services(void **state)
{
	struct object *objects;
	size_t n = many_services(10000, 3, &objects);
	struct merge_change c;
	struct timespec t;
	struct say s;
	double first;

	say_init(&s);
	(void)clock_gettime(CLOCK_MONOTONIC, &t);
	assert_int_equal(merge_snapshot(s.m, 0, "a", (struct merge_objects){objects, n}, s.now_ms),
			 0);
	assert_int_equal(merge_take(s.m, s.now_ms, &c), 0);
	first = ms_since(&t);
	assert_int_equal(c.n_upserts, 10000);
	merge_change_done(&c);
	n = many_services(10000, 3, &objects);
	(void)clock_gettime(CLOCK_MONOTONIC, &t);
	assert_int_equal(merge_snapshot(s.m, 0, "a", (struct merge_objects){objects, n}, s.now_ms),
			 0);
	assert_int_equal(merge_take(s.m, s.now_ms, &c), 0);
	print_message("10,000 services with 3 endpoints: %.1f ms, the same again %.1f ms\n", first,
		      ms_since(&t));
	assert_int_equal(c.n_upserts, 0);
	merge_change_done(&c);
	assert_true(first < 5000); /* of a sanitized build on a busy machine */
	say_done(&s);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_endpoints_of_all_ports_of_the_first),
		cmocka_unit_test(test_tie_belongs_to_the_first),
		cmocka_unit_test(test_suspect_of_one_is_well_if_another_names_it),
		cmocka_unit_test(test_only_what_changed_is_told),
		cmocka_unit_test(test_take_all_is_everything),
		cmocka_unit_test(test_dead_registry_freezes_its_own),
		cmocka_unit_test(test_drained_by_silence_is_well_if_another_names_it),
		cmocka_unit_test(test_policy_of_the_first),
		cmocka_unit_test(test_other_family_cannot_be_reached),
		cmocka_unit_test(test_too_many_endpoints_are_counted),
		cmocka_unit_test(test_held_ones_give_way_to_named_ones),
		cmocka_unit_test(test_too_many_services_are_counted),
		cmocka_unit_test(test_said_twice_in_a_snapshot_counts_once),
		cmocka_unit_test(test_another_order_changes_who_wins_and_nothing_else),
		cmocka_unit_test(
			test_a_forgotten_source_goes_at_once_and_takes_nothing_of_others_along),
		cmocka_unit_test(test_ten_thousand_services),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
