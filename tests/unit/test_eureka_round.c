/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * registry/eureka_lost and registry/eureka_round: who went and did not come back, whom of them a
 * second look asks, and what it concludes.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "registry/eureka_round.h"

struct server {
	struct eureka_apps apps;
	struct eureka_lost lost;
};

static int setup(void **state)
{
	struct server *s = calloc(1, sizeof(*s));

	s->lost.now_ms = 1000000;
	s->lost.seed = 7;
	*state = s;
	return !s;
}

static int teardown(void **state)
{
	struct server *s = *state;

	eureka_apps_done(&s->apps);
	eureka_lost_done(&s->lost);
	free(s);
	return 0;
}

/* `what`: "a UP", "b DOWN", "c DELETED"; n applications of so many instances each. */
struct batch {
	const char *app, *status; /* "A%zu" or a name */
	size_t n_apps, n;
	bool is_delta;
};

static void append(struct text_buffer *b, const char *app, const struct batch *batch)
{
	bool deleted = !strcmp(batch->status, "DELETED");

	text_append_format(b, "%s{\"name\":\"%s\",\"instance\":[", b->n ? "," : "", app);
	for (size_t i = 0; i < batch->n; i++)
		text_append_format(b,
				   "%s{\"instanceId\":\"i%zu\",\"ipAddr\":\"10.1.0.1\",\"port\":1,"
				   "\"status\":\"%s\"%s}",
				   i ? "," : "", i, deleted ? "UP" : batch->status,
				   deleted ? ",\"actionType\":\"DELETED\"" : "");
	text_append(b, "]}");
}

static void say(struct server *s, const struct batch *batches, size_t n)
{
	struct text_buffer list = {}, all = {};
	struct eureka_answer answer;
	char error[JSON_ERROR], app[32];
	bool is_delta = n && batches[0].is_delta;

	for (size_t i = 0; i < n; i++) {
		for (size_t k = 0; k < batches[i].n_apps; k++) {
			(void)snprintf(app, sizeof(app), "%s-%zu", batches[i].app, k);
			append(&list, app, &batches[i]);
		}
		if (!batches[i].n_apps)
			append(&list, batches[i].app, &batches[i]);
	}
	text_append_format(&all, "{\"applications\":{\"application\":[%s]}}",
			   list.data ? list.data : "");
	assert_int_equal(eureka_decode(all.data, all.n, &answer, error), 0);
	assert_int_equal(eureka_apps_apply(&s->apps, &answer, is_delta, &s->lost), 0);
	text_done(&list);
	text_done(&all);
}

#define SAY(s, ...)                                                                                \
	say(s, (const struct batch[]){__VA_ARGS__},                                                \
	    sizeof((const struct batch[]){__VA_ARGS__}) / sizeof(struct batch))

static size_t count_lost(struct server *s, const char *app)
{
	const struct eureka_lost_app *found = eureka_lost_find(&s->lost, app);

	return found ? found->n : 0;
}

static void test_who_goes_is_known_until_he_is_back(void **state)
{
	struct server *s = *state;

	SAY(s, {"PAY", "UP", 0, 3}, {"CART", "UP", 0, 1});
	assert_int_equal(s->lost.n, 0);
	SAY(s, {"PAY", "OUT_OF_SERVICE", 0, 1, true});
	assert_int_equal(count_lost(s, "PAY"), 1);
	SAY(s, {"PAY", "DELETED", 0, 2, true}); /* the first of them for the second time */
	assert_int_equal(count_lost(s, "PAY"), 2);
	SAY(s, {"PAY", "UP", 0, 1, true});
	assert_int_equal(count_lost(s, "PAY"), 1);
	SAY(s, {"CART", "UP", 0, 1}); /* a whole answer */
	assert_int_equal(count_lost(s, "PAY"), 3);
	assert_int_equal(count_lost(s, "CART"), 0);
	SAY(s, {"PAY", "UP", 0, 3});
	assert_int_equal(count_lost(s, "CART"), 1);
	assert_int_equal(s->lost.n, 1);
	s->lost.now_ms += EUREKA_LOST_MS + 1;
	assert_int_equal(count_lost(s, "CART"), 0);
}

static void test_one_without_a_name_of_ours_is_of_no_interest(void **state)
{
	struct server *s = *state;

	SAY(s, {"\xc3\x84", "UP", 0, 1}, {"CART", "UP", 0, 1});
	SAY(s, {"CART", "UP", 0, 1});
	assert_int_equal(s->lost.n, 0);
}

/* Whatever part of the list a server is wrong about, somebody of it is asked for. */
static void test_the_sample_is_of_all_that_went(void **state)
{
	struct server *s = *state;
	const struct eureka_lost_app *pay;
	size_t parts[4] = {};

	SAY(s, {"CART", "UP", 0, 1}, {"PAY", "UP", 0, 1000});
	SAY(s, {"CART", "UP", 0, 1});
	pay = eureka_lost_find(&s->lost, "PAY");
	assert_non_null(pay);
	assert_int_equal(pay->n, EUREKA_LOST_IDS);
	for (size_t i = 0; i < pay->n; i++) {
		parts[strtoul(pay->ids[i].id + 1, NULL, 10) / 250]++;
		assert_true(!i || pay->ids[i - 1].rank < pay->ids[i].rank);
	}
	for (size_t i = 0; i < 4; i++)
		assert_in_range(parts[i], 1, 12);
}

static void test_a_server_that_loses_everything_does_not_fill_us(void **state)
{
	struct server *s = *state;

	SAY(s, {"OLD", "UP", 0, 1}, {"A", "UP", 400, 2}, {"B", "UP", 400, 2});
	SAY(s, {"A", "UP", 400, 2}, {"B", "UP", 400, 2});
	s->lost.now_ms++;
	SAY(s, {"B", "UP", 400, 2});
	assert_int_equal(s->lost.n, EUREKA_LOST_APPS);
	assert_int_equal(count_lost(s, "OLD"), 0); /* made room */
	assert_int_equal(count_lost(s, "A-0"), 2);
	s->lost.now_ms++;
	SAY(s, {"B", "UP", 0, 1});
	assert_int_equal(s->lost.n, EUREKA_LOST_APPS);
	assert_int_equal(count_lost(s, "A-0"), 0);
	assert_int_equal(count_lost(s, "B-0"), 2);
}

/* --- whom to ask -------------------------------------------------------------------------------
 */

static void test_the_lost_ones_of_a_service_and_then_witnesses(void **state)
{
	struct server *s = *state;
	struct eureka_round round = {};

	SAY(s, {"PAY", "UP", 0, 20}, {"CART", "UP", 0, 2}, {"MAIL", "UP", 0, 30},
	    {"DEAD", "DOWN", 0, 9});
	SAY(s, {"CART", "UP", 0, 1}, {"MAIL", "UP", 0, 30}, {"DEAD", "DOWN", 0, 9});
	assert_int_equal(eureka_round_begin(&round, &s->lost, &s->apps, "pay", 0), 1);
	assert_int_equal(round.n_apps, 1);
	assert_int_equal(round.n_lost, EUREKA_LOST_IDS);
	assert_int_equal(round.n, EUREKA_LOST_IDS + EUREKA_ROUND_WITNESSES);
	for (size_t i = 0; i < round.n; i++) {
		if (i < round.n_lost)
			assert_string_equal(round.questions[i].app, "PAY");
		else
			assert_string_not_equal(round.questions[i].app, "DEAD");
	}
	eureka_round_done(&round);
	assert_int_equal(eureka_round_begin(&round, &s->lost, &s->apps, "mail", 0), 0);
	assert_int_equal(eureka_round_begin(&round, &s->lost, &s->apps, NULL, 0), 1);
	assert_int_equal(round.n_apps, 2);
	assert_int_equal(round.n_lost, EUREKA_LOST_IDS + 1);
	eureka_round_done(&round);
}

static void test_without_anybody_who_is_left_nobody_is_asked(void **state)
{
	struct server *s = *state;
	struct eureka_round round = {};

	SAY(s, {"PAY", "UP", 0, 3}, {"DEAD", "DOWN", 0, 1});
	SAY(s, {"DEAD", "DOWN", 0, 1});
	assert_int_equal(count_lost(s, "PAY"), 3);
	assert_int_equal(eureka_round_begin(&round, &s->lost, &s->apps, "pay", 0), 0);
	assert_int_equal(round.n, 0);
}

static void test_a_round_about_everything_is_bounded_and_the_next_one_is_about_others(void **state)
{
	struct server *s = *state;
	struct eureka_round round = {};
	bool seen[40] = {};

	SAY(s, {"A", "UP", 40, 30}, {"CART", "UP", 0, 1});
	SAY(s, {"CART", "UP", 0, 1});
	for (size_t turn = 0; turn < 3; turn++) {
		assert_int_equal(eureka_round_begin(&round, &s->lost, &s->apps, NULL, turn), 1);
		assert_int_equal(round.n_apps, EUREKA_ROUND_APPS);
		assert_int_equal(round.n_lost, EUREKA_ROUND_LOST);
		for (size_t i = 0; i < round.n_apps; i++)
			seen[strtoul(round.apps[i] + 2, NULL, 10)] = true;
		eureka_round_done(&round);
	}
	for (size_t i = 0; i < ARRAY_SIZE(seen); i++)
		assert_true(seen[i]);
}

static void test_each_turn_has_other_witnesses(void **state)
{
	struct server *s = *state;
	struct eureka_round round = {};
	char first[32];

	SAY(s, {"PAY", "UP", 0, 1}, {"CART", "UP", 0, 100});
	SAY(s, {"CART", "UP", 0, 100});
	assert_int_equal(eureka_round_begin(&round, &s->lost, &s->apps, "pay", 0), 1);
	(void)snprintf(first, sizeof(first), "%s", round.questions[1].id);
	for (size_t i = 2; i < round.n; i++)
		assert_string_not_equal(round.questions[i].id, first);
	eureka_round_done(&round);
	assert_int_equal(eureka_round_begin(&round, &s->lost, &s->apps, "pay", 1), 1);
	for (size_t i = 1; i < round.n; i++)
		assert_string_not_equal(round.questions[i].id, first);
	eureka_round_done(&round);
}

/* --- what it means ------------------------------------------------------------------------------
 */

/* g: gone, d: DOWN, u: UP and young, o: UP, and known for 90 s. */
static enum eureka_verdict play(struct eureka_round *round, const char *replies)
{
	enum eureka_verdict verdict = EUREKA_MORE;

	for (; *replies && verdict == EUREKA_MORE; replies++) {
		const struct eureka_reply reply = {
			.known = *replies != 'g',
			.usable = *replies == 'u' || *replies == 'o',
			.memory_ms = *replies == 'o'   ? GUARD_RETURN_MS
				     : *replies == 'u' ? GUARD_RETURN_MS - 1
						       : 0,
		};

		verdict = eureka_round_take(round, &reply);
	}
	assert_int_equal(*replies, '\0');
	return verdict;
}

static void test_what_answers_mean(void **state)
{
	static const struct {
		const char *replies;
		enum eureka_verdict verdict;
	} cases[] = {
		{"ggg", EUREKA_MORE},
		{"gggooo", EUREKA_GONE},
		{"gdgooo", EUREKA_GONE},
		{"ggu", EUREKA_REFUTED},
		{"o", EUREKA_REFUTED},
		{"gggg", EUREKA_NOTHING},
		{"gggoog", EUREKA_NOTHING},
		{"gggouo", EUREKA_MORE},
		{"gggouuouo", EUREKA_GONE},
		{"ggguuuuuuuu", EUREKA_NOTHING},
		{"gggddddddoo", EUREKA_NOTHING},
	};
	struct server *s = *state;

	SAY(s, {"PAY", "UP", 0, 3}, {"CART", "UP", 0, 1});
	SAY(s, {"CART", "UP", 0, 1});
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct eureka_round round = {};

		assert_int_equal(eureka_round_begin(&round, &s->lost, &s->apps, "pay", i), 1);
		assert_int_equal(play(&round, cases[i].replies), cases[i].verdict);
		eureka_round_done(&round);
	}
}

/* The rest of an application that is refuted is not asked for; another one may be gone all the
 * same. */
static void test_of_several_one_is_refuted(void **state)
{
	struct server *s = *state;
	struct eureka_round round = {};

	SAY(s, {"A", "UP", 3, 3}, {"CART", "UP", 0, 1});
	SAY(s, {"CART", "UP", 0, 1});
	assert_int_equal(eureka_round_begin(&round, &s->lost, &s->apps, NULL, 0), 1);
	assert_int_equal(play(&round, "gggo"), EUREKA_MORE);
	assert_int_equal(round.at, 6);
	assert_int_equal(play(&round, "gggooo"), EUREKA_GONE);
	assert_false(round.refuted[0]);
	assert_true(round.refuted[1]);
	assert_false(round.refuted[2]);
	eureka_round_done(&round);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		TEST(test_who_goes_is_known_until_he_is_back),
		TEST(test_one_without_a_name_of_ours_is_of_no_interest),
		TEST(test_the_sample_is_of_all_that_went),
		TEST(test_a_server_that_loses_everything_does_not_fill_us),
		TEST(test_the_lost_ones_of_a_service_and_then_witnesses),
		TEST(test_without_anybody_who_is_left_nobody_is_asked),
		TEST(test_a_round_about_everything_is_bounded_and_the_next_one_is_about_others),
		TEST(test_each_turn_has_other_witnesses),
		TEST(test_what_answers_mean),
		TEST(test_of_several_one_is_refuted),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
