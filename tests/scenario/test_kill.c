/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The daemon is killed at every point of a change: after each store into an array map, and after
 * each key that came or went. At each of these points every client sees a service as it was or as
 * it will be; and whatever the next daemon finds declared, it brings the maps to exactly that.
 * Pitfalls: P-71.
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
#include "harness/skip.h"
#include "step.h"
#include "world.h"

#define MOMENTS 8192
#define LINES 16

/* What clients could find at one moment. */
struct moments {
	char *copies; /* of fake_copy_size() each */
	size_t n, bytes;
	bool full;
};

static struct fake_copy *moment_at(const struct moments *m, size_t i)
{
	return (struct fake_copy *)(m->copies + i * m->bytes);
}

/* In a signal handler: copies only. */
static void keep_moment(void *arg)
{
	struct moments *m = arg;

	m->full = m->full || m->n == MOMENTS;
	if (m->full)
		return;
	fake_save(moment_at(m, m->n));
	if (!m->n || memcmp(moment_at(m, m->n), moment_at(m, m->n - 1), m->bytes) != 0)
		m->n++;
}

static void watch_all(struct kernel *k)
{
	struct window *windows[] = {&k->services, &k->slots,   &k->backends,  &k->policies,
				    &k->health,   &k->latency, &k->svc_stats, &k->svc_state};

	for (size_t i = 0; i < ARRAY_SIZE(windows); i++) {
		assert_int_equal(window_need(windows[i], windows[i]->entries - 1), 0);
		step_watch(windows[i]->base, windows[i]->mapped);
	}
}

/* --- one case ----------------------------------------------------------------------------- */

/* A change of several services at once: lines of world_put; a name alone removes. */
struct kill_case {
	const char *before[LINES], *after[LINES];
};

static const struct fake_size size = {16, 16, 128, 48};

/* A service's line, or "policy NAME SPEC". */
static char *json_of(const char *line)
{
	char name[16];
	int at = 0;

	if (sscanf(line, "policy %15s %n", name, &at) != 1)
		return world_service_json(line);
	return world_policy_json(name, line + at);
}

static void decode_line(const char *line, struct object *ret)
{
	_cleanup_free_ char *json = json_of(line);
	struct problems problems = {};
	yyjson_doc *doc = yyjson_read(json, strlen(json), 0);

	assert_int_equal(
		codec_decode_object(yyjson_doc_get_root(doc), "", "manifest", &problems, ret), 0);
	yyjson_doc_free(doc);
}

/* Makes the lines the source's whole snapshot. */
static int declare(struct world *w, const char *const *lines)
{
	struct object objects[LINES] = {};
	struct change change = {.source = "manifest", .whole = true, .upserts = objects};
	int r;

	for (; change.n_upserts < LINES && lines[change.n_upserts]; change.n_upserts++)
		decode_line(lines[change.n_upserts], &objects[change.n_upserts]);
	r = world_apply(w, &change);
	for (size_t i = 0; i < change.n_upserts; i++)
		object_done(&objects[i]);
	return r;
}

static bool has_line(const char *text, const char *line, size_t n)
{
	for (const char *at = text; (at = strstr(at, line)); at += n)
		if (at == text || at[-1] == '\n')
			return true;
	return false;
}

/* "10.0.0.1:80/TCP ->" of a line. */
static bool has_frontend(const char *text, const char *line)
{
	char key[80];

	(void)snprintf(key, sizeof(key), "%.*s", (int)strcspn(line, ">"), line);
	return has_line(text, key, strlen(key));
}

/* Every line that is there is one of before or of after; one that is in both is there. */
static void check_whole(const char *now, const char *before, const char *after, size_t moment)
{
	const char *next;

	for (const char *line = now; *line; line = next) {
		_cleanup_free_ char *one = strndup(line, strcspn(line, "\n") + 1);

		next = line + strlen(one);
		if (!has_line(before, one, strlen(one)) && !has_line(after, one, strlen(one)))
			fail_msg("moment %zu: %s is neither before\n%s nor after\n%s", moment, one,
				 before, after);
	}
	for (const char *line = before; *line; line = strchr(line, '\n') + 1)
		if (has_frontend(after, line) && !has_frontend(now, line))
			fail_msg("moment %zu: nobody is at %s", moment, line);
}

/* The next daemon over that moment, with what is declared: exactly that is there afterwards. */
static void check_adopted(const struct fake_copy *copy, const char *const *declared,
			  const char *wanted, size_t moment)
{
	_cleanup_free_ char *text = NULL;
	struct world w;

	world_init(&w, &size);
	assert_int_equal(declare(&w, declared), 0);
	world_kill(&w);
	fake_restore(copy);
	if (world_start(&w, false) < 0)
		fail_msg("moment %zu: it does not start", moment);
	text = world_text();
	if (strcmp(text, wanted) != 0)
		fail_msg("moment %zu: adopted\n%s instead of\n%s", moment, text, wanted);
	/* And it goes on as ever: all can be removed and made again. */
	fake.now_ns += 2000000000;
	assert_int_equal(declare(&w, (const char *[]){NULL}), 0);
	assert_int_equal(fake.n_frontends, 0);
	fake.now_ns += 2000000000;
	assert_int_equal(declare(&w, declared), 0);
	free(text);
	text = world_text();
	assert_string_equal(text, wanted);
	world_done(&w);
}

static void play(const struct kill_case *c)
{
	_cleanup_free_ char *before = NULL, *after = NULL;
	struct moments m = {};
	struct world w;

	world_init(&w, &size);
	m.bytes = (fake_copy_size() + 15) & ~(size_t)15;
	m.copies = calloc(MOMENTS, m.bytes);
	assert_non_null(m.copies);
	assert_int_equal(declare(&w, c->before), 0);
	before = world_text();
	watch_all(&w.kernel);
	keep_moment(&m);
	fake.on_change = keep_moment;
	fake.on_change_arg = &m;
	step_begin(keep_moment, &m);
	assert_int_equal(declare(&w, c->after), 0);
	step_end();
	fake.on_change = NULL;
	after = world_text();
	assert_null(strstr(after, "TORN"));
	assert_false(m.full);
	assert_in_range(m.n, 3, MOMENTS);
	for (size_t i = 0; i < m.n; i++) {
		_cleanup_free_ char *now = NULL;

		fake_restore(moment_at(&m, i));
		now = world_text();
		check_whole(now, before, after, i);
	}
	world_done(&w);
	for (size_t i = 0; i < m.n; i++) {
		check_adopted(moment_at(&m, i), c->before, before, i);
		check_adopted(moment_at(&m, i), c->after, after, i);
	}
	print_message("# %zu moments\n", m.n);
	free(m.copies);
}

/* --- cases -------------------------------------------------------------------------------- */

static void need_steps(void)
{
	if (!step_is_possible())
		test_skip("P-71: stores are stepped by the trap flag, which only x86-64 has");
}

static void test_p71_kill_while_a_set_grows(void **state)
{
	need_steps();
	play(&(struct kill_case){{"a 10.96.0.1 80 10.1.0.1 10.1.0.2*50"},
				 {"a 10.96.0.1 80 10.1.0.1 10.1.0.2*70 10.1.0.3*7"}});
}

static void test_p71_kill_while_a_set_shrinks_and_drains(void **state)
{
	need_steps();
	play(&(struct kill_case){{"a 10.96.0.1 80 10.1.0.1 10.1.0.2 10.1.0.3 10.1.0.4"},
				 {"a 10.96.0.1 80 10.1.0.4 10.1.0.2*0 10.1.0.9"}});
}

static void test_p71_kill_while_all_backends_are_replaced(void **state)
{
	need_steps();
	play(&(struct kill_case){{"a 10.96.0.1 80 10.1.0.1 10.1.0.2"},
				 {"a 10.96.0.1 80 10.2.0.1 10.2.0.2"}});
}

static void test_p71_kill_while_services_come(void **state)
{
	need_steps();
	play(&(struct kill_case){{"a 10.96.0.1 80 10.1.0.1"},
				 {"a 10.96.0.1 80 10.1.0.1", "b 10.96.0.2 80,53/UDP 10.1.0.1",
				  "c 10.96.0.3,fd00::3 80 10.1.0.1 fd01::1*3 fd01::2"}});
}

static void test_p71_kill_while_services_go(void **state)
{
	need_steps();
	play(&(struct kill_case){{"a 10.96.0.1 80 10.1.0.1", "b 10.96.0.2 80,53/UDP 10.1.0.1",
				  "c 10.96.0.3,fd00::3 80 10.1.0.1 fd01::1*3 fd01::2"},
				 {"b 10.96.0.2 80,53/UDP 10.1.0.1"}});
}

static void test_p71_kill_while_an_address_changes_hands(void **state)
{
	need_steps();
	play(&(struct kill_case){
		{"a 10.96.0.1 80,81 10.1.0.1 10.1.0.2", "b 10.96.0.2 80 10.1.0.3"},
		{"a 10.96.0.2 80 10.1.0.1 10.1.0.2", "b 10.96.0.1 80,82 10.1.0.3"}});
}

static void test_p71_kill_while_everything_changes(void **state)
{
	need_steps();
	play(&(struct kill_case){
		{"a 10.96.0.1 80,81 10.1.0.1 10.1.0.2", "b 10.96.0.2 80 10.1.0.3",
		 "c 10.96.0.3 80 10.1.0.1", "t 10.96.0.4 1,2 10.1.0.1=5/6 10.1.0.1=5/7"},
		{"a 10.96.0.1 80>8080 10.1.0.1 10.1.0.2*0", "d 10.96.0.5 80",
		 "c 10.96.0.3 80/UDP 10.1.0.1", "t 10.96.0.4 1,2 10.1.0.1=5/6 10.1.0.1=5/8"}});
}

static void test_p71_kill_while_a_policy_and_a_fallback_change(void **state)
{
	need_steps();
	play(&(struct kill_case){
		{"policy p {\"fallback\":[\"b\"]}", "a 10.96.0.1 80 @p 10.1.0.1@near 10.1.0.2",
		 "b 10.96.0.2 80 10.2.0.1 10.2.0.2", "c 10.96.0.3 80 @p 10.3.0.1"},
		{"policy p {\"fallback\":[\"b\"],\"loadBalancer\":{\"locality\":{\"prefer\":"
		 "\"zone\"}}}",
		 "a 10.96.0.1 80 @p 10.1.0.1@near 10.1.0.2", "b 10.96.0.2 80 10.2.0.1 10.2.0.3*7",
		 "c 10.96.0.3 80 10.3.0.1"}});
}

/* The window between a change and its state file: the kernel is ahead of what is declared. */
static void test_p71_kill_before_the_state_is_on_disk(void **state)
{
	_cleanup_free_ struct fake_copy *copy = NULL;
	struct world w;

	world_init(&w, &size);
	copy = calloc(1, fake_copy_size());
	assert_non_null(copy);
	assert_int_equal(world_put(&w, "a 10.96.0.1 80 10.1.0.1"), 0);
	assert_int_equal(world_put(&w, "b 10.96.0.2 80 10.1.0.1"), 0);
	fake_save(copy);
	world_done(&w);
	check_adopted(copy, (const char *[]){"a 10.96.0.1 80 10.1.0.1", NULL},
		      "10.96.0.1:80/TCP -> 10.1.0.1:80 100.00%\n", 0);
}

/* The kernel refuses the keys after all else was written: nothing old has changed by then. */
static void test_refused_keys_change_nothing(void **state)
{
	_cleanup_free_ char *before = NULL;
	struct world w;

	world_init(&w, &size);
	assert_int_equal(world_put(&w, "a 10.96.0.1 80 10.1.0.1 10.1.0.2"), 0);
	before = world_text();
	/* More often than there is room for, were any of it lost. */
	for (unsigned int i = 0; i < 40; i++) {
		_cleanup_free_ char *now = NULL;

		fake.fail_updates = ENOMEM;
		fake.fail_after = i % 3;
		assert_int_equal(world_put(&w, "a 10.96.0.1 80,81,82,83 10.1.0.2 10.1.0.3*5"),
				 -ENOMEM);
		now = world_text();
		assert_string_equal(now, before);
		fake.now_ns += 1000000000;
	}
	assert_int_equal(world_put(&w, "a 10.96.0.1 80,81,82,83 10.1.0.2 10.1.0.3*5"), 0);
	assert_int_equal(w.removed, 1);
	assert_int_equal(fake.n_frontends, 4);
	world_done(&w);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_p71_kill_while_a_set_grows),
		cmocka_unit_test(test_p71_kill_while_a_set_shrinks_and_drains),
		cmocka_unit_test(test_p71_kill_while_all_backends_are_replaced),
		cmocka_unit_test(test_p71_kill_while_services_come),
		cmocka_unit_test(test_p71_kill_while_services_go),
		cmocka_unit_test(test_p71_kill_while_an_address_changes_hands),
		cmocka_unit_test(test_p71_kill_while_everything_changes),
		cmocka_unit_test(test_p71_kill_while_a_policy_and_a_fallback_change),
		cmocka_unit_test(test_p71_kill_before_the_state_is_on_disk),
		cmocka_unit_test(test_refused_keys_change_nothing),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
