/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * daemon/persist: writes on another thread, answers when it is on disk, reads it all back, and
 * never takes a file that it cannot read for an empty one.
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
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "daemon/persist.h"
#include "declared.h"
#include "folder.h"

static char folder[256];

struct bench {
	uv_loop_t loop;
	struct declared d;
	struct persist p;
	char state[300];
	int answers, last;
};

static void begin(struct bench *b)
{
	*b = (struct bench){.last = 1};
	(void)snprintf(b->state, sizeof(b->state), "%s/state", folder);
	declared_init(&b->d);
	assert_int_equal(uv_loop_init(&b->loop), 0);
	assert_int_equal(persist_init(&b->p, &b->loop, b->state, b->d.store), 0);
}

static void end(struct bench *b)
{
	persist_stop(&b->p);
	(void)uv_run(&b->loop, UV_RUN_DEFAULT);
	persist_flush(&b->p);
	persist_done(&b->p);
	assert_int_equal(uv_loop_close(&b->loop), 0);
	declared_done(&b->d);
}

static int set_up(void **state)
{
	(void)snprintf(folder, sizeof(folder), "%s", folder_make());
	return 0;
}

static int tear_down(void **state)
{
	folder_remove(folder);
	return 0;
}

static void on_done(void *arg, int r)
{
	struct bench *b = arg;

	b->answers++;
	b->last = r;
}

static void change(struct bench *b, const char *source, const char *words)
{
	assert_int_equal(declared_change(&b->d, source, words), 0);
}

static bool has_file(const char *name)
{
	char path[300];

	(void)snprintf(path, sizeof(path), "%s/state/sources", folder);
	return folder_has(path, name);
}

static void put_file(const char *name, const char *text)
{
	char path[300];

	(void)snprintf(path, sizeof(path), "%s/state/sources", folder);
	folder_write(path, name, text);
}

static void test_answer_means_on_disk(void **state)
{
	struct bench b;

	begin(&b);
	change(&b, "s", "+a 10.96.0.1 80");
	persist_change(&b.p, "s", on_done, &b);
	assert_int_equal(b.answers, 0); /* never from within the call */
	while (!b.answers)
		(void)uv_run(&b.loop, UV_RUN_ONCE);
	assert_int_equal(b.last, 0);
	assert_true(has_file("s.json"));
	end(&b);
	assert_int_equal(b.answers, 1);
}

/* Changes that come while one write runs share the next one, and all are answered. */
static void test_changes_share_a_write(void **state)
{
	struct bench b, back;
	bool bad = false;
	char words[64];

	begin(&b);
	for (unsigned int i = 0; i < 50; i++) {
		(void)snprintf(words, sizeof(words), "+a%u 10.96.0.%u 80", i, i);
		change(&b, "s", words);
		persist_change(&b.p, "s", on_done, &b);
	}
	end(&b);
	assert_int_equal(b.answers, 50);
	assert_int_equal(b.last, 0);
	begin(&back);
	assert_int_equal(persist_load(&back.p, back.d.store, &bad), 0);
	assert_false(bad);
	assert_string_equal(declared_address(&back.d, "a49"), "10.96.0.49");
	assert_int_equal(store_generation(back.d.store, "s"), 50);
	end(&back);
}

/* Nobody waits: it is written all the same, at the latest when the daemon ends. */
static void test_unwaited_changes_are_written(void **state)
{
	struct bench b;

	begin(&b);
	change(&b, "s", "+a 10.96.0.1 80");
	persist_change(&b.p, "s", NULL, NULL);
	for (int i = 0; i < 1000 && !has_file("s.json"); i++) {
		(void)uv_run(&b.loop, UV_RUN_NOWAIT);
		(void)usleep(5000);
	}
	assert_true(has_file("s.json"));
	change(&b, "t", "+b 10.96.0.2 80");
	persist_change(&b.p, "t", NULL, NULL);
	end(&b);
	assert_true(has_file("t.json"));
}

static void test_several_sources(void **state)
{
	struct bench b, back;
	bool bad = false;
	size_t n;

	begin(&b);
	change(&b, "manifest", "+a 10.96.0.1 80, +%p");
	change(&b, "consul/dc1", "+b 10.96.0.2 80 @p");
	change(&b, "empty", "+c 10.96.0.3 80");
	change(&b, "empty", "-c");
	persist_change(&b.p, "manifest", on_done, &b);
	persist_change(&b.p, "consul/dc1", on_done, &b);
	persist_change(&b.p, "empty", on_done, &b);
	end(&b);
	assert_int_equal(b.answers, 3);
	begin(&back);
	assert_int_equal(persist_load(&back.p, back.d.store, &bad), 0);
	(void)store_services(back.d.store, &n);
	assert_int_equal(n, 2);
	assert_false(bad);
	assert_string_equal(store_find_service(back.d.store, "default", "b")->source, "consul/dc1");
	end(&back);
}

/* The folder is gone: the client is told, it is counted, and written when the folder is back. */
static void test_failed_write_is_told_and_tried_again(void **state)
{
	char sources[300];
	const char *said;
	struct bench b;

	begin(&b);
	(void)snprintf(sources, sizeof(sources), "%s/state/sources", folder);
	assert_int_equal(rmdir(sources), 0);
	change(&b, "s", "+a 10.96.0.1 80");
	folder_listen();
	persist_change(&b.p, "s", on_done, &b);
	while (!b.answers)
		(void)uv_run(&b.loop, UV_RUN_ONCE);
	said = folder_heard();
	assert_int_equal(b.last, -ENOENT);
	assert_int_equal(b.p.failures, 1);
	assert_int_equal(b.p.failing, 1);
	assert_non_null(strstr(said, "cannot write the state of source s"));
	assert_int_equal(mkdir(sources, 0700), 0);
	folder_listen();
	persist_change(&b.p, "s", on_done, &b);
	end(&b);
	(void)folder_heard();
	assert_int_equal(b.answers, 2);
	assert_int_equal(b.last, 0);
	assert_true(has_file("s.json"));
}

/* A bad file is moved aside and remembered at the next start, too; the others are read. */
static void test_bad_file_is_moved_aside(void **state)
{
	struct bench b;
	bool bad = false;
	const char *said;
	int r;

	begin(&b);
	change(&b, "good", "+a 10.96.0.1 80");
	persist_change(&b.p, "good", on_done, &b);
	end(&b);
	begin(&b);
	put_file("bad.json", "{\"source\":\"bad\",\"items\":[{}]}");
	put_file("half.tmp", "{\"sou");
	put_file("notes.txt", "a person's");
	folder_listen();
	r = persist_load(&b.p, b.d.store, &bad);
	said = folder_heard();
	assert_int_equal(r, 0);
	assert_true(bad);
	assert_non_null(strstr(said, "bad.json"));
	assert_non_null(strstr(said, "/items/0"));
	assert_string_equal(declared_address(&b.d, "a"), "10.96.0.1");
	assert_true(has_file("bad.json.bad"));
	assert_false(has_file("bad.json"));
	assert_false(has_file("half.tmp"));
	assert_true(has_file("notes.txt"));
	assert_int_equal(persist_aside(&b.p), 1);
	end(&b);
	begin(&b);
	bad = false;
	assert_int_equal(persist_load(&b.p, b.d.store, &bad), 0);
	assert_true(bad);
	change(&b, "bad", "+b 10.96.0.2 80");
	persist_change(&b.p, "bad", on_done, &b);
	end(&b);
	begin(&b);
	bad = false;
	assert_int_equal(persist_load(&b.p, b.d.store, &bad), 0);
	assert_false(bad);
	assert_string_equal(declared_address(&b.d, "b"), "10.96.0.2");
	end(&b);
}

static void test_waiting_clients_are_answered_at_the_end(void **state)
{
	struct bench b;

	begin(&b);
	change(&b, "s", "+a 10.96.0.1 80");
	persist_change(&b.p, "s", on_done, &b);
	persist_change(&b.p, "s", on_done, &b);
	persist_change(&b.p, "s", on_done, &b);
	end(&b);
	assert_int_equal(b.answers, 3);
}

static void test_remove(void **state)
{
	struct bench b;

	begin(&b);
	change(&b, "s", "+a 10.96.0.1 80");
	persist_change(&b.p, "s", on_done, &b);
	end(&b);
	put_file("x"
		 ".json.bad",
		 "{");
	assert_int_equal(persist_remove(b.state), 0);
	assert_false(folder_has(folder, "state"));
	assert_int_equal(persist_remove(b.state), 0);
}

#define IN_FOLDER(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		IN_FOLDER(test_answer_means_on_disk),
		IN_FOLDER(test_changes_share_a_write),
		IN_FOLDER(test_unwaited_changes_are_written),
		IN_FOLDER(test_several_sources),
		IN_FOLDER(test_failed_write_is_told_and_tried_again),
		IN_FOLDER(test_bad_file_is_moved_aside),
		IN_FOLDER(test_waiting_clients_are_answered_at_the_end),
		IN_FOLDER(test_remove),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
