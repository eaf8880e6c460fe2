/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A backend's condition and what happened to it, in words; and that every "left" comes of the clock
 * that the programs read.
 * Pitfalls: P-68.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <arpa/inet.h>
#include <string.h>
#include <time.h>

#include "control/sentence.h"
#include "control/view.h"

#define SECOND 1000000000ull
#define NOW (1000 * SECOND)

static const struct sn_policy rules = {.consecutive = 5,
				       .failure_percent = 50,
				       .slow_percent = 80,
				       .slow_ns = SECOND / 10,
				       .bucket_ns = SECOND,
				       .slow_start_ns = 60 * SECOND};
static const struct condition_at at = {&rules, NOW};

static void expect(const struct backend_traffic *b, const char *state, const char *text)
{
	char buf[CONDITION_TEXT];

	assert_string_equal(condition_state(b, NOW), state);
	assert_string_equal(condition_text(b, &at, buf), text);
	assert_int_equal(backend_is_usable(b, NOW), strcmp(state, "active") == 0);
}

static void test_an_ejection_says_how_long_why_and_how_often(void **state)
{
	struct backend_traffic b = {.state = SN_BACKEND_ACTIVE,
				    .ejected_until_ns = NOW + 21 * SECOND,
				    .ejections = 1,
				    .trip = SN_TRIP_CONSECUTIVE,
				    .reason = SN_R_REFUSED};

	expect(&b, "ejected", "ejected, 21s left: 5 consecutive refused");
	b.ejections = 2;
	b.reason = SN_R_TIMEOUT;
	expect(&b, "ejected", "ejected, 21s left: 5 consecutive timeout (2nd time)");
	b.trip = SN_TRIP_RATIO;
	expect(&b, "ejected",
	       "ejected, 21s left: 50% or more failed within 10s, last timeout (2nd time)");
	b.trip = SN_TRIP_SLOW;
	expect(&b, "ejected",
	       "ejected, 21s left: 80% or more took over 100ms within 10s (2nd time)");
	b.ejected_until_ns = NOW;
	b.trip = SN_TRIP_PROBE;
	b.ejections = 13;
	expect(&b, "half_open",
	       "half-open, the next connect tells: half-open probe timeout (13th time)");
	b.ejected_until_ns = 0;
	expect(&b, "active", "usable");
}

static void test_a_hold_by_hand_has_the_say(void **state)
{
	struct backend_traffic b = {.state = SN_BACKEND_ACTIVE,
				    .ejected_until_ns = NOW + SECOND,
				    .held = SN_HOLD_EJECT,
				    .held_until_ns = NOW + 90 * SECOND,
				    .held_why = "new disk"};

	expect(&b, "held", "ejected by hand, 90s left: new disk");
	b.held = SN_HOLD_DRAIN;
	b.held_until_ns = SN_FOREVER;
	b.held_why = NULL;
	expect(&b, "held", "drained by hand, until it is restored");
	b.held_until_ns = NOW; /* over, though nobody has taken it away yet */
	expect(&b, "ejected", "ejected, 1s left: connected");
	b.state = SN_BACKEND_GONE;
	expect(&b, "gone", "removed");
	b = (struct backend_traffic){.state = SN_BACKEND_DRAINING};
	expect(&b, "draining", "draining: weight 0");
}

/* As bpf/stage/grade.h has it: from a tenth to all. */
static void test_slow_start_is_a_share_that_grows(void **state)
{
	struct backend_traffic b = {.state = SN_BACKEND_ACTIVE, .since_ns = NOW};

	expect(&b, "active", "usable, slow start 10%");
	b.since_ns = NOW - 37 * SECOND;
	expect(&b, "active", "usable, slow start 61%");
	b.since_ns = NOW - 60 * SECOND;
	expect(&b, "active", "usable");
	b.since_ns = NOW + SECOND; /* a tick ahead of us */
	expect(&b, "active", "usable, slow start 10%");
}

/* P-68: the wall's clock is set, and stands ahead of the kernel's after a suspend; what is left of
 * an ejection must not change with it. The programs read CLOCK_MONOTONIC, and so do we. */
static void test_p68_user_space_reads_the_clock_of_the_programs(void **state)
{
	struct timespec t;
	uint64_t before, now, wall;

	(void)clock_gettime(CLOCK_MONOTONIC, &t);
	before = (uint64_t)t.tv_sec * SECOND + (uint64_t)t.tv_nsec;
	now = condition_now_ns();
	(void)clock_gettime(CLOCK_MONOTONIC, &t);
	assert_in_range(now, before, (uint64_t)t.tv_sec * SECOND + (uint64_t)t.tv_nsec);
	wall = view_now_ms();
	assert_in_range(condition_wall_ms(now + 21 * SECOND, now), wall + 21000, wall + 21999);
	assert_in_range(condition_wall_ms(now - 21 * SECOND, now), wall - 21000, wall - 20001);
}

static void expect_sentence(const struct sn_event *e, const char *next, const char *text)
{
	char buf[SENTENCE_TEXT];
	struct sn_event event = *e;

	event.peer.word_be[2] = htonl(0xffff);
	event.peer.word_be[3] = htonl(0x0a000106);
	event.peer_port_be = htons(8080);
	assert_string_equal(sentence_format(&event, &rules, next, buf), text);
}

static void test_events_are_sentences(void **state)
{
	struct sn_event e = {.type = SN_EVENT_EJECTED,
			     .reason = SN_R_REFUSED,
			     .trip = SN_TRIP_CONSECUTIVE,
			     .duration_ns = 60 * SECOND + SECOND / 4,
			     .times = 2,
			     .usable = 2,
			     .total = 3};

	expect_sentence(
		&e, "",
		"10.0.1.6:8080 ejected for 60s: 5 consecutive refused (2nd time), 2 of 3 usable");
	e.times = 1;
	expect_sentence(&e, "",
			"10.0.1.6:8080 ejected for 60s: 5 consecutive refused, 2 of 3 usable");
	e.type = SN_EVENT_SHADOW;
	expect_sentence(&e, "",
			"10.0.1.6:8080 would have been ejected for 60s (shadow): 5 consecutive "
			"refused");
	e.type = SN_EVENT_RESTORED;
	expect_sentence(&e, "", "10.0.1.6:8080 restored after 60s, 2 of 3 usable");
	e.type = SN_EVENT_FAILED_OVER;
	expect_sentence(
		&e, "10.0.1.7:8080",
		"failed over from 10.0.1.6:8080 to 10.0.1.7:8080 inside connect(): refused");
	expect_sentence(&e, "",
			"failed over from 10.0.1.6:8080 to another backend inside connect(): "
			"refused");
	e.type = SN_EVENT_OUTCOME;
	expect_sentence(&e, "", "the backend answered the SYN with a reset");
}

static void test_panic_begins_and_ends(void **state)
{
	struct sn_policy none = {.flags = SN_POLICY_PANIC_NONE};
	struct sn_event e = {.type = SN_EVENT_PANIC, .usable = 1, .total = 4};
	char buf[SENTENCE_TEXT];

	expect_sentence(&e, "", "panic: 1 of 4 usable, ejection is ignored");
	assert_string_equal(sentence_format(&e, &none, "", buf),
			    "panic: 1 of 4 usable, connects are refused, but for probes");
	e.usable = 4;
	e.duration_ns = 42 * SECOND;
	expect_sentence(&e, "", "panic is over after 42s: ejection counts again");
}

static void test_every_type_has_a_name_of_its_own(void **state)
{
	for (uint16_t i = SN_EVENT_OUTCOME; i <= SN_EVENT_PANIC; i++)
		for (uint16_t k = SN_EVENT_OUTCOME; k < i; k++)
			assert_string_not_equal(sentence_type(i), sentence_type(k));
	assert_string_equal(sentence_type(0), "unknown");
	assert_string_equal(sentence_type(SN_EVENT_PANIC + 1), "unknown");
}

static void test_spans_are_as_exact_as_a_person_needs(void **state)
{
	static const struct {
		uint64_t ns;
		const char *text;
	} rows[] = {{0, "0s"},
		    {999, "0us"},
		    {450000, "450us"},
		    {250000000, "250ms"},
		    {21 * SECOND + 400000000, "21s"},
		    {21 * SECOND + 600000000, "22s"},
		    {90 * SECOND, "90s"},
		    {150 * SECOND, "2m30s"},
		    {3600 * SECOND + 29 * SECOND, "1h"}};
	char buf[CONDITION_SPAN];

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++)
		assert_string_equal(condition_span(rows[i].ns, buf), rows[i].text);
	assert_string_equal(condition_ordinal(1, buf), "1st");
	assert_string_equal(condition_ordinal(3, buf), "3rd");
	assert_string_equal(condition_ordinal(11, buf), "11th");
	assert_string_equal(condition_ordinal(112, buf), "112th");
	assert_string_equal(condition_ordinal(122, buf), "122nd");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_an_ejection_says_how_long_why_and_how_often),
		cmocka_unit_test(test_a_hold_by_hand_has_the_say),
		cmocka_unit_test(test_slow_start_is_a_share_that_grows),
		cmocka_unit_test(test_p68_user_space_reads_the_clock_of_the_programs),
		cmocka_unit_test(test_events_are_sentences),
		cmocka_unit_test(test_panic_begins_and_ends),
		cmocka_unit_test(test_every_type_has_a_name_of_its_own),
		cmocka_unit_test(test_spans_are_as_exact_as_a_person_needs),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
