/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * registry/guard, through the merge: what a registry takes away is believed by the rule in guard.h,
 * and an empty answer of a broken one wipes nothing.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "registry/guard.h"
#include "say.h"

#define SEES(s, text) assert_string_equal(say_view(s), text)
#define TEN                                                                                        \
	"a:80 10.0.0.1; b:80 10.0.0.2; c:80 10.0.0.3; d:80 10.0.0.4; e:80 10.0.0.5; "              \
	"f:80 10.0.0.6; g:80 10.0.0.7; h:80 10.0.0.8; i:80 10.0.0.9; j:80 10.0.0.10"

static size_t suspects(const struct say *s)
{
	struct merge_counts c;

	merge_count(s->m, 0, &c);
	return c.suspect;
}

/* Nothing but time and an answer without news. */
static void pass(struct say *s, uint64_t ms)
{
	s->now_ms += ms;
	merge_contact(s->m, 0, s->now_ms);
}

/* --- P-84 --------------------------------------------------------------------------------- */

static void test_p84_empty_answer_wipes_nothing(void **state)
{
	struct say s;

	say_init(&s);
	(void)say_snapshot(&s, 0, 0, "pay:80 10.0.0.1 10.0.0.2; cart:80=10.96.0.7 10.0.0.3");
	SEES(&s, "cart:80=10.96.0.7 10.0.0.3@a; pay:80 10.0.0.1@a 10.0.0.2@a");
	for (int i = 0; i < 20; i++) {
		(void)say_snapshot(&s, 30000, 0, "");
		SEES(&s, "cart:80=10.96.0.7 10.0.0.3@a?; pay:80 10.0.0.1@a? 10.0.0.2@a?");
		assert_int_equal(suspects(&s), 3);
		assert_false(s.urgent);
	}
	assert_int_equal(merge_next_ms(s.m), 0);
	(void)say_snapshot(&s, 0, 0, "pay:80 10.0.0.1 10.0.0.2; cart:80=10.96.0.7 10.0.0.3");
	SEES(&s, "cart:80=10.96.0.7 10.0.0.3@a; pay:80 10.0.0.1@a 10.0.0.2@a");
	assert_int_equal(suspects(&s), 0);
	say_done(&s);
}

static void test_p84_empty_answer_wipes_no_only_service(void **state)
{
	struct say s;

	say_init(&s);
	(void)say_snapshot(&s, 0, 0, "pay:80 10.0.0.1");
	(void)say_snapshot(&s, 9000, 0, "");
	(void)say_snapshot(&s, 40000, 0, "");
	pass(&s, 40000);
	SEES(&s, "pay:80 10.0.0.1@a?");
	say_done(&s);
}

static void test_p84_empty_services_wipe_nothing(void **state)
{
	struct say s;

	say_init(&s);
	(void)say_snapshot(&s, 0, 0, "pay:80 10.0.0.1; cart:80 10.0.0.2");
	for (int i = 0; i < 5; i++)
		(void)say_snapshot(&s, 9000, 0, "pay:80; cart:80");
	pass(&s, 90000);
	SEES(&s, "cart:80 10.0.0.2@a?; pay:80 10.0.0.1@a?");
	say_done(&s);
}

/* A registry that lost its data gets it back as services register again. */
static void test_p84_restarted_empty_registry_is_waited_for(void **state)
{
	static const char *const back[] = {
		"",
		"a:80 10.0.0.1",
		"a:80 10.0.0.1; b:80 10.0.0.2; c:80 10.0.0.3; d:80 10.0.0.4; e:80 10.0.0.5; "
		"f:80 10.0.0.6",
		"a:80 10.0.0.1; b:80 10.0.0.2; c:80 10.0.0.3; d:80 10.0.0.4; e:80 10.0.0.5; "
		"f:80 10.0.0.6; g:80 10.0.0.7",
	};
	struct say s;

	say_init(&s);
	(void)say_snapshot(&s, 0, 0, TEN);
	for (size_t i = 0; i < ARRAY_SIZE(back); i++) {
		(void)say_snapshot(&s, 20000, 0, back[i]);
		(void)say_view(&s);
		assert_int_equal(s.n_has, 10);
	}
	assert_int_equal(suspects(&s), 3);
	(void)say_snapshot(&s, 20000, 0, TEN);
	assert_int_equal(suspects(&s), 0);
	say_done(&s);
}

/* It has one service, and lost it: as a small one that comes back with nothing, or an old copy. */
static void test_p84_who_was_away_is_not_believed_by_repeating_itself(void **state)
{
	struct say s;

	say_init(&s);
	(void)say_snapshot(&s, 0, 0, "pay:80 10.0.0.1 10.0.0.2 10.0.0.3; cart:80 10.0.0.9");
	s.now_ms += 5000;
	merge_set_away(s.m, 0, true, s.now_ms);
	say_remove(&s, 9000, 0, "cart"); /* its words may come before the word that it is back */
	merge_set_away(s.m, 0, false, s.now_ms);
	say_upsert(&s, 10, 0, "pay:80 10.0.0.1");
	for (int i = 0; i < 8; i++) {
		say_remove(&s, 5000, 0, "cart");
		say_upsert(&s, 5000, 0, "pay:80 10.0.0.1");
		pass(&s, 0);
		SEES(&s, "cart:80 10.0.0.9@a?; pay:80 10.0.0.1@a 10.0.0.2@a? 10.0.0.3@a?");
	}
	say_upsert(&s, 1000, 0,
		   "pay:80 10.0.0.1 10.0.0.2"); /* what it names again is well at once */
	SEES(&s, "cart:80 10.0.0.9@a?; pay:80 10.0.0.1@a 10.0.0.2@a 10.0.0.3@a?");
	pass(&s, GUARD_RETURN_MS);
	SEES(&s, "pay:80 10.0.0.1@a 10.0.0.2@a");
	say_done(&s);
}

/* It lost everything, and has nearly everything back: the rest may come with its next heartbeat. */
static void test_p84_what_a_registry_does_not_have_back_yet_is_not_believed_soon(void **state)
{
	struct say s;

	say_init(&s);
	(void)say_snapshot(&s, 0, 0, TEN "; k:80 10.0.0.11");
	(void)say_snapshot(&s, 9000, 0, "");
	for (int i = 0; i < 4; i++) {
		(void)say_snapshot(&s, 20000, 0, TEN);
		pass(&s, 0);
		(void)say_view(&s);
		assert_int_equal(suspects(&s), 1);
	}
	(void)say_snapshot(&s, GUARD_RETURN_MS, 0, TEN);
	assert_int_equal(suspects(&s), 0);
	say_done(&s);
}

/* Ten services go one after another, each said twice: a registry that loses its data, or whose
 * writers lost it. When half of them are gone the rest stays. */
static void test_p84_what_goes_bit_by_bit_is_waited_for_too(void **state)
{
	struct say s;
	char name[2] = "";

	say_init(&s);
	(void)say_snapshot(&s, 0, 0, TEN);
	for (*name = 'a'; *name <= 'j'; ++*name) {
		say_remove(&s, 500, 0, name);
		say_remove(&s, GUARD_CONFIRM_MS, 0, name);
	}
	(void)say_view(&s);
	assert_int_equal(s.n_has, 5);
	assert_int_equal(suspects(&s), 5);
	pass(&s, 2 * GUARD_SETTLE_MS);
	(void)say_view(&s);
	assert_int_equal(s.n_has, 5);
	say_done(&s);
}

/* Those that never had an endpoint cannot be lost, and say nothing about those that can. */
static void test_p84_services_without_endpoints_do_not_hide_that_all_others_are_lost(void **state)
{
	struct say s;

	say_init(&s);
	(void)say_snapshot(
		&s, 0, 0,
		"a:80 10.0.0.1; b:80 10.0.0.2; c:80; d:80; e:80; f:80; g:80; h:80; i:80; "
		"j:80; k:80");
	for (int i = 0; i < 3; i++) {
		say_upsert(&s, 2000, 0, "a:80");
		say_upsert(&s, 0, 0, "b:80");
	}
	assert_int_equal(suspects(&s), 2);
	say_done(&s);
}

/* A little that goes while it was away is nothing to wonder about. */
static void test_p84_who_was_away_may_take_back_a_few(void **state)
{
	struct say s;

	say_init(&s);
	(void)say_snapshot(&s, 0, 0, "pay:80 10.0.0.1 10.0.0.2 10.0.0.3");
	merge_set_away(s.m, 0, true, s.now_ms);
	merge_set_away(s.m, 0, false, s.now_ms + 9000);
	(void)say_snapshot(&s, 9010, 0, "pay:80 10.0.0.1 10.0.0.2");
	SEES(&s, "pay:80 10.0.0.1@a 10.0.0.2@a");
	say_done(&s);
}

static void test_p84_other_ports_and_nobody_there(void **state)
{
	struct say s;

	say_init(&s);
	(void)say_snapshot(&s, 0, 0, "pay:80 10.0.0.1; cart:80 10.0.0.2");
	say_upsert(&s, 9000, 0, "pay:81"); /* its only port is the same thing */
	SEES(&s, "cart:80 10.0.0.2@a; pay:81 10.0.0.1:80@a?");
	say_done(&s);
}

static void test_p84_policies_stay_with_a_broken_answer(void **state)
{
	struct say s;

	say_init(&s);
	(void)say_snapshot(&s, 0, 0, "pay:80 10.0.0.1; cart:80 10.0.0.2; policy gentle 3");
	(void)say_snapshot(&s, 9000, 0, "");
	SEES(&s, "cart:80 10.0.0.2@a?; pay:80 10.0.0.1@a?; policy gentle 3");
	say_done(&s);
}

/* --- P-82, P-83 --------------------------------------------------------------------------- */

/* Endpoints that move to another slice: away in one event, back in the next. */
static void test_p82_slice_move_is_no_moment_without_the_backend(void **state)
{
	static const char *const moves[] = {"pay:80 10.0.0.3", "pay:80 10.0.0.1 10.0.0.2 10.0.0.3",
					    "pay:80", "pay:80 10.0.0.1 10.0.0.2 10.0.0.3"};
	static const char *const seen[] = {"pay:80 10.0.0.1@a? 10.0.0.2@a? 10.0.0.3@a",
					   "pay:80 10.0.0.1@a 10.0.0.2@a 10.0.0.3@a",
					   "pay:80 10.0.0.1@a? 10.0.0.2@a? 10.0.0.3@a?",
					   "pay:80 10.0.0.1@a 10.0.0.2@a 10.0.0.3@a"};
	struct say s;

	say_init(&s);
	(void)say_snapshot(&s, 0, 0, "pay:80 10.0.0.1 10.0.0.2 10.0.0.3; cart:80 10.0.0.9");
	for (size_t i = 0; i < ARRAY_SIZE(moves); i++) {
		say_upsert(&s, 20, 0, moves[i]);
		(void)say_view(&s);
		assert_non_null(strstr(say_view(&s), seen[i]));
	}
	say_done(&s);
}

/* After a watch has expired everything is listed again: what is not in there has gone. */
static void test_p83_relist_deletes_vanished_keys(void **state)
{
	struct say s;

	say_init(&s);
	(void)say_snapshot(&s, 0, 0, TEN);
	(void)say_snapshot(&s, 9000, 0, TEN "; k:80 10.0.0.11 10.0.0.12 10.0.0.13");
	(void)say_snapshot(&s, 9000, 0, TEN "; k:80 10.0.0.11 10.0.0.12");
	(void)say_view(&s);
	assert_int_equal(suspects(&s), 0); /* a third of a service goes at once */
	assert_true(s.urgent);
	(void)say_snapshot(&s, 9000, 0, TEN);
	(void)say_view(&s);
	assert_int_equal(s.n_has, 11);
	assert_int_equal(suspects(&s), 2);
	(void)say_snapshot(&s, GUARD_CONFIRM_MS, 0, TEN); /* the second list says so, too */
	(void)say_view(&s);
	assert_true(s.urgent);
	assert_int_equal(s.n_has, 10);
	assert_null(merge_find(s.m, "default", "k"));
	say_done(&s);
}

/* --- held, and not ------------------------------------------------------------------------ */

static void test_scale_down_goes_at_once(void **state)
{
	struct say s;

	say_init(&s);
	(void)say_snapshot(&s, 0, 0, "pay:80 10.0.0.1 10.0.0.2 10.0.0.3");
	say_upsert(&s, 9000, 0, "pay:80 10.0.0.1 10.0.0.2");
	SEES(&s, "pay:80 10.0.0.1@a 10.0.0.2@a");
	assert_true(s.urgent);
	say_upsert(&s, 9000, 0, "pay:80 10.0.0.1"); /* a half is not more than a half */
	SEES(&s, "pay:80 10.0.0.1@a");
	say_done(&s);
}

static void test_draining_is_no_removal(void **state)
{
	struct say s;

	say_init(&s);
	(void)say_snapshot(&s, 0, 0, "pay:80 10.0.0.1 10.0.0.2");
	say_upsert(&s, 9000, 0, "pay:80 10.0.0.1*0 10.0.0.2*0");
	SEES(&s, "pay:80 10.0.0.1*0@a 10.0.0.2*0@a");
	assert_int_equal(suspects(&s), 0);
	say_done(&s);
}

static void test_losses_within_the_window_add_up(void **state)
{
	struct say s;

	say_init(&s);
	(void)say_snapshot(&s, 0, 0, "pay:80 10.0.0.1 10.0.0.2 10.0.0.3 10.0.0.4 10.0.0.5");
	say_upsert(&s, 9000, 0, "pay:80 10.0.0.1 10.0.0.2 10.0.0.3 10.0.0.4");
	say_upsert(&s, 2000, 0, "pay:80 10.0.0.1 10.0.0.2 10.0.0.3");
	SEES(&s, "pay:80 10.0.0.1@a 10.0.0.2@a 10.0.0.3@a");
	say_upsert(&s, 2000, 0, "pay:80 10.0.0.1 10.0.0.2"); /* three of five in four seconds */
	SEES(&s, "pay:80 10.0.0.1@a 10.0.0.2@a 10.0.0.3@a?");
	say_done(&s);
}

static void test_losses_outside_the_window_do_not(void **state)
{
	struct say s;

	say_init(&s);
	(void)say_snapshot(&s, 0, 0, "pay:80 10.0.0.1 10.0.0.2 10.0.0.3 10.0.0.4 10.0.0.5");
	say_upsert(&s, 9000, 0, "pay:80 10.0.0.1 10.0.0.2 10.0.0.3 10.0.0.4");
	say_upsert(&s, 5000, 0, "pay:80 10.0.0.1 10.0.0.2 10.0.0.3");
	say_upsert(&s, 5000, 0, "pay:80 10.0.0.1 10.0.0.2");
	SEES(&s, "pay:80 10.0.0.1@a 10.0.0.2@a");
	say_done(&s);
}

/* One of forty goes twice a second for a minute, and another one comes: a quarter of them within
 * the window is not too many, and more often than it has places. */
static void test_losses_that_follow_each_other_for_long_are_no_many(void **state)
{
	char text[1024];
	struct say s;

	say_init(&s);
	for (int n = 0; n < 120; n++) {
		size_t at = (size_t)snprintf(text, sizeof(text), "pay:80");

		for (int i = n; i < n + 40; i++)
			at += (size_t)snprintf(text + at, sizeof(text) - at, " 10.0.%d.%d", i / 100,
					       i % 100 + 1);
		say_upsert(&s, 500, 0, text);
		assert_int_equal(suspects(&s), 0);
	}
	say_done(&s);
}

static void test_all_replaced_old_ones_are_last(void **state)
{
	struct say s;

	say_init(&s);
	(void)say_snapshot(&s, 0, 0, "pay:80 10.0.0.1 10.0.0.2");
	say_upsert(&s, 9000, 0, "pay:80 10.0.0.3 10.0.0.4");
	SEES(&s, "pay:80 10.0.0.1@a? 10.0.0.2@a? 10.0.0.3@a 10.0.0.4@a");
	pass(&s, GUARD_SETTLE_MS);
	SEES(&s, "pay:80 10.0.0.3@a 10.0.0.4@a");
	say_done(&s);
}

/* --- how it ends -------------------------------------------------------------------------- */

static void test_second_word_confirms_not_before_a_second(void **state)
{
	struct say s;

	say_init(&s);
	(void)say_snapshot(&s, 0, 0, "pay:80 10.0.0.1 10.0.0.2; cart:80 10.0.0.3");
	say_upsert(&s, 9000, 0, "pay:80");
	say_upsert(&s, GUARD_CONFIRM_MS - 1, 0, "pay:80");
	SEES(&s, "cart:80 10.0.0.3@a; pay:80 10.0.0.1@a? 10.0.0.2@a?");
	say_remove(&s, 1, 0, "pay");
	SEES(&s, "cart:80 10.0.0.3@a");
	assert_true(s.urgent);
	say_done(&s);
}

static void test_word_about_another_service_confirms_nothing(void **state)
{
	struct say s;

	say_init(&s);
	(void)say_snapshot(&s, 0, 0, "pay:80 10.0.0.1; cart:80 10.0.0.3");
	say_remove(&s, 9000, 0, "pay");
	say_upsert(&s, 9000, 0, "cart:80 10.0.0.3 10.0.0.4");
	SEES(&s, "cart:80 10.0.0.3@a 10.0.0.4@a; pay:80 10.0.0.1@a?");
	say_done(&s);
}

static void test_one_that_comes_back_is_well(void **state)
{
	struct say s;

	say_init(&s);
	(void)say_snapshot(&s, 0, 0, "pay:80 10.0.0.1 10.0.0.2 10.0.0.3; cart:80 10.0.0.9");
	say_upsert(&s, 9000, 0, "pay:80");
	say_upsert(&s, 500, 0, "pay:80 10.0.0.2*7");
	SEES(&s, "cart:80 10.0.0.9@a; pay:80 10.0.0.1@a? 10.0.0.2*7@a 10.0.0.3@a?");
	say_upsert(&s, 500, 0, "pay:80 10.0.0.2*7"); /* the others have been away for a second */
	SEES(&s, "cart:80 10.0.0.9@a; pay:80 10.0.0.2*7@a");
	say_done(&s);
}

static void test_deletion_that_is_said_once_settles(void **state)
{
	struct say s;
	bool urgent;

	say_init(&s);
	(void)say_snapshot(&s, 0, 0, "pay:80 10.0.0.1; cart:80 10.0.0.3");
	say_remove(&s, 9000, 0, "pay");
	(void)say_view(&s);
	pass(&s, GUARD_SETTLE_MS - 1);
	assert_int_equal(merge_next_ms(s.m), 0);
	SEES(&s, "cart:80 10.0.0.3@a; pay:80 10.0.0.1@a?");
	pass(&s, 1);
	assert_true(merge_next_ms(s.m) && merge_next_ms(s.m) <= s.now_ms);
	SEES(&s, "cart:80 10.0.0.3@a");
	assert_true(s.urgent);
	assert_int_equal(merge_next_ms(s.m), 0);
	assert_false(merge_has_change(s.m, &urgent));
	say_done(&s);
}

static void test_only_service_deleted_by_name_settles(void **state)
{
	struct say s;

	say_init(&s);
	(void)say_snapshot(&s, 0, 0, "pay:80 10.0.0.1");
	say_remove(&s, 9000, 0, "pay");
	SEES(&s, "pay:80 10.0.0.1@a?");
	pass(&s, GUARD_SETTLE_MS);
	SEES(&s, "");
	say_done(&s);
}

static void test_nothing_settles_without_contact(void **state)
{
	struct say s;

	say_init(&s);
	(void)say_snapshot(&s, 0, 0, "pay:80 10.0.0.1; cart:80 10.0.0.3");
	say_remove(&s, 9000, 0, "pay");
	s.now_ms += 10 * GUARD_SETTLE_MS;
	merge_contact(s.m, 1, s.now_ms); /* another registry's voice is no contact with this one */
	assert_int_equal(merge_next_ms(s.m), 0);
	SEES(&s, "cart:80 10.0.0.3@a; pay:80 10.0.0.1@a?");
	say_done(&s);
}

static void test_several_emptied_at_once_do_not_settle(void **state)
{
	struct say s;

	say_init(&s);
	(void)say_snapshot(&s, 0, 0, TEN);
	say_remove(&s, 9000, 0, "a");
	say_remove(&s, 0, 0, "b");
	say_remove(&s, 0, 0, "c");
	pass(&s, 2 * GUARD_SETTLE_MS);
	(void)say_view(&s);
	assert_int_equal(suspects(&s), 3);
	say_upsert(&s, 0, 0, "c:80 10.0.0.3"); /* two of ten are a fifth */
	(void)say_view(&s);
	assert_int_equal(suspects(&s), 0);
	assert_int_equal(s.n_has, 8);
	say_done(&s);
}

static void test_operator_confirms(void **state)
{
	struct merge_counts c;
	struct say s;

	say_init(&s);
	(void)say_snapshot(&s, 0, 0, "pay:80 10.0.0.1 10.0.0.2; cart:80 10.0.0.3; api:80 10.0.0.4");
	(void)say_snapshot(&s, 9000, 0, "");
	assert_int_equal(merge_confirm(s.m, 0, "default", "pay"), 2);
	SEES(&s, "api:80 10.0.0.4@a?; cart:80 10.0.0.3@a?");
	assert_true(s.urgent);
	assert_int_equal(merge_confirm(s.m, 0, "default", "pay"), 0);
	assert_int_equal(merge_confirm(s.m, 1, NULL, NULL), 0);
	assert_int_equal(merge_confirm(s.m, 0, NULL, NULL), 2);
	SEES(&s, "");
	merge_count(s.m, 0, &c);
	assert_int_equal(c.held_total, 4);
	assert_int_equal(c.released_total, 4);
	assert_int_equal(c.services, 0);
	say_done(&s);
}

/* --- over a restart ----------------------------------------------------------------------- */

static struct object kept[8];
static size_t n_kept;

static int keep(void *arg, const struct object *o)
{
	kept[n_kept++] = (struct object){o->kind, service_ref(o->service), policy_ref(o->policy)};
	return 0;
}

static void test_held_ones_are_in_the_last_good_state(void **state)
{
	struct say s, later;
	struct object *objects = calloc(8, sizeof(*objects));

	say_init(&s);
	say_init(&later);
	(void)say_snapshot(&s, 0, 0, "pay:80 10.0.0.1 10.0.0.2 10.0.0.3; cart:80 10.0.0.4");
	(void)say_snapshot(&s, 9000, 0, "pay:80 10.0.0.3");
	n_kept = 0;
	assert_int_equal(merge_visit(s.m, 0, keep, NULL), 0);
	assert_int_equal(n_kept, 2);
	memcpy(objects, kept, sizeof(kept));
	assert_int_equal(merge_snapshot(later.m, 0, "a", (struct merge_objects){objects, n_kept},
					later.now_ms),
			 0);
	SEES(&later, "cart:80 10.0.0.4@a?; pay:80 10.0.0.1@a? 10.0.0.2@a? 10.0.0.3@a");
	assert_int_equal(suspects(&later), 3);
	(void)say_snapshot(&later, 100, 0, "pay:80 10.0.0.1 10.0.0.3; cart:80 10.0.0.4");
	SEES(&later, "cart:80 10.0.0.4@a; pay:80 10.0.0.1@a 10.0.0.2@a? 10.0.0.3@a");
	say_done(&s);
	say_done(&later);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_p84_empty_answer_wipes_nothing),
		cmocka_unit_test(test_p84_empty_answer_wipes_no_only_service),
		cmocka_unit_test(test_p84_empty_services_wipe_nothing),
		cmocka_unit_test(test_p84_restarted_empty_registry_is_waited_for),
		cmocka_unit_test(test_p84_who_was_away_is_not_believed_by_repeating_itself),
		cmocka_unit_test(
			test_p84_what_a_registry_does_not_have_back_yet_is_not_believed_soon),
		cmocka_unit_test(test_p84_what_goes_bit_by_bit_is_waited_for_too),
		cmocka_unit_test(
			test_p84_services_without_endpoints_do_not_hide_that_all_others_are_lost),
		cmocka_unit_test(test_p84_who_was_away_may_take_back_a_few),
		cmocka_unit_test(test_p84_other_ports_and_nobody_there),
		cmocka_unit_test(test_p84_policies_stay_with_a_broken_answer),
		cmocka_unit_test(test_p82_slice_move_is_no_moment_without_the_backend),
		cmocka_unit_test(test_p83_relist_deletes_vanished_keys),
		cmocka_unit_test(test_scale_down_goes_at_once),
		cmocka_unit_test(test_draining_is_no_removal),
		cmocka_unit_test(test_losses_within_the_window_add_up),
		cmocka_unit_test(test_losses_outside_the_window_do_not),
		cmocka_unit_test(test_losses_that_follow_each_other_for_long_are_no_many),
		cmocka_unit_test(test_all_replaced_old_ones_are_last),
		cmocka_unit_test(test_second_word_confirms_not_before_a_second),
		cmocka_unit_test(test_word_about_another_service_confirms_nothing),
		cmocka_unit_test(test_one_that_comes_back_is_well),
		cmocka_unit_test(test_deletion_that_is_said_once_settles),
		cmocka_unit_test(test_only_service_deleted_by_name_settles),
		cmocka_unit_test(test_nothing_settles_without_contact),
		cmocka_unit_test(test_several_emptied_at_once_do_not_settle),
		cmocka_unit_test(test_operator_confirms),
		cmocka_unit_test(test_held_ones_are_in_the_last_good_state),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
