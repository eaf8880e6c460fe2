/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * daemon/statefile: what a source declares, on disk whole or not at all, and back.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <dirent.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/text.h"
#include "daemon/statefile.h"
#include "declared.h"
#include "folder.h"
#include "harness/model.h"
#include "model/limits.h"

static char folder[256];

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

static int write_state(const struct declared *d, const char *source)
{
	struct statefile f;
	int r;

	assert_int_equal(statefile_take(&f, d->store, source), 0);
	r = statefile_write(&f, folder);
	statefile_done(&f);
	return r;
}

static int read_state(struct declared *d, const char *name)
{
	int r;

	declared_init(d);
	folder_listen();
	r = statefile_read(folder_path(folder, name), d->store);
	(void)folder_heard();
	return r;
}

static unsigned int count_files(void)
{
	DIR *dir = opendir(folder);
	struct dirent *entry;
	unsigned int n = 0;

	assert_non_null(dir);
	while ((entry = readdir(dir)))
		n += entry->d_name[0] != '.';
	(void)closedir(dir);
	return n;
}

static void test_round_trip(void **state)
{
	struct declared d, back;
	const struct service *s;
	struct stat st;
	char address[2 * ADDRESS_TEXT];
	size_t n;

	declared_init(&d);
	assert_int_equal(declared_change(&d, "manifest",
					 "+a 10.96.0.1 80+53u 10.1.0.1:8080 @p, "
					 "+b - 80 10.1.0.1 fd01::1, +%p"),
			 0);
	assert_int_equal(declared_change(&d, "manifest", "+shop/c 10.96.0.3 80"), 0);
	assert_int_equal(declared_change(&d, "other", "+x 10.96.0.9 80"), 0);
	(void)snprintf(address, sizeof(address), "%s", declared_address(&d, "b"));
	assert_int_equal(write_state(&d, "manifest"), 0);
	assert_int_equal(count_files(), 1);
	assert_int_equal(stat(folder_path(folder, "manifest.json"), &st), 0);
	assert_int_equal(st.st_mode & 0777, 0600);

	assert_int_equal(read_state(&back, "manifest.json"), 0);
	(void)store_services(back.store, &n);
	assert_int_equal(n, 3);
	(void)store_policies(back.store, &n);
	assert_int_equal(n, 1);
	assert_int_equal(store_generation(back.store, "manifest"), 2);
	assert_string_equal(declared_address(&back, "b"), address);
	s = store_find_service(back.store, "default", "a");
	assert_true(service_is_equal(s, store_find_service(d.store, "default", "a")));
	assert_string_equal(s->source, "manifest");
	assert_true(service_is_equal(store_find_service(back.store, "default", "b"),
				     store_find_service(d.store, "default", "b")));
	declared_done(&d);
	declared_done(&back);
}

static void test_source_with_nothing_has_no_file(void **state)
{
	struct declared d;

	declared_init(&d);
	assert_int_equal(write_state(&d, "s"), 0);
	assert_int_equal(declared_change(&d, "s", "+a 10.96.0.1 80"), 0);
	assert_int_equal(write_state(&d, "s"), 0);
	assert_true(folder_has(folder, "s.json"));
	assert_int_equal(declared_change(&d, "s", "-a"), 0);
	assert_int_equal(write_state(&d, "s"), 0);
	assert_int_equal(count_files(), 0);
	declared_done(&d);
}

/* A source's name never becomes a path; two names never become one file. */
static void test_names(void **state)
{
	static const char *const names[] = {"consul/dc1", "consul%2Fdc1", "../../etc/passwd",
					    ".",          "a b",          "A",
					    "a",          "\xc3\xa4",     "a.json"};
	struct declared d, back;
	char words[64];

	declared_init(&d);
	for (unsigned int i = 0; i < ARRAY_SIZE(names); i++) {
		(void)snprintf(words, sizeof(words), "+n%u 10.96.0.%u 80", i, i);
		assert_int_equal(declared_change(&d, names[i], words), 0);
		assert_int_equal(write_state(&d, names[i]), 0);
		assert_int_equal(count_files(), i + 1);
	}
	assert_true(folder_has(folder, "consul%2Fdc1.json"));
	assert_int_equal(read_state(&back, "consul%2Fdc1.json"), 0);
	assert_string_equal(store_find_service(back.store, "default", "n0")->source, "consul/dc1");
	declared_done(&back);
	declared_done(&d);
}

/* The longest names that a source may have: each is written and read. */
static void test_longest_names(void **state)
{
	struct declared d, back;
	char name[2][128], words[64];

	declared_init(&d);
	for (unsigned int i = 0; i < 2; i++) {
		memset(name[i], '.', 127);
		name[i][126] = (char)('a' + i);
		name[i][127] = '\0';
		(void)snprintf(words, sizeof(words), "+n%u 10.96.0.%u 80", i, i);
		assert_int_equal(declared_change(&d, name[i], words), 0);
		assert_int_equal(write_state(&d, name[i]), 0);
		assert_int_equal(write_state(&d, name[i]), 0);
		assert_int_equal(count_files(), i + 1);
	}
	{
		DIR *dir = opendir(folder);
		struct dirent *entry;

		assert_non_null(dir);
		while ((entry = readdir(dir))) {
			if (entry->d_name[0] == '.')
				continue;
			assert_int_equal(read_state(&back, entry->d_name), 0);
			declared_done(&back);
		}
		(void)closedir(dir);
	}
	declared_done(&d);
}

/* What is not a state file says so, and nothing of it comes into the store. */
static void test_bad_files(void **state)
{
	static const struct {
		const char *text;
		int r;
	} rows[] = {
		{"", -EINVAL},
		{"{", -EINVAL},
		{"[]", -EINVAL},
		{"{}", -EINVAL},
		{"{\"source\":\"\",\"items\":[]}", -EINVAL},
		{"{\"source\":\"s\"}", -EINVAL},
		{"{\"source\":\"s\",\"items\":{}}", -EINVAL},
		{"{\"source\":\"s\",\"items\":[{\"apiVersion\":\"sinew/v1\",\"kind\":\"Service\","
		 "\"metadata\":{\"name\":\"good\"},\"spec\":{\"ports\":[{\"port\":80}]}},{}]}",
		 -EINVAL},
		{"{\"source\":\"s\",\"items\":[{\"apiVersion\":\"sinew/v1\",\"kind\":\"Service\","
		 "\"metadata\":{\"name\":\"good\"},\"spec\":{\"ports\":[{\"port\":80}],"
		 "\"address\":\"8.8.8.8\"}}]}",
		 -EINVAL},
	};

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct declared d;
		size_t n;

		folder_write(folder, "x.json", rows[i].text);
		if (read_state(&d, "x.json") != rows[i].r)
			fail_msg("%s", rows[i].text);
		(void)store_services(d.store, &n);
		assert_int_equal(n, 0);
		(void)store_sources(d.store, &n);
		assert_int_equal(n, 0);
		declared_done(&d);
	}
}

static void test_unreadable(void **state)
{
	struct declared d;

	assert_int_equal(read_state(&d, "none.json"), -ENOENT);
	declared_done(&d);
	assert_int_equal(mkdir(folder_path(folder, "dir.json"), 0700), 0);
	assert_true(read_state(&d, "dir.json") < 0);
	declared_done(&d);
}

/* The old file stays when the new one cannot be made, and no half one is left. */
static void test_failed_write_keeps_the_old_file(void **state)
{
	_cleanup_free_ char *before = NULL, *after = NULL;
	struct declared d;

	declared_init(&d);
	assert_int_equal(declared_change(&d, "s", "+a 10.96.0.1 80"), 0);
	assert_int_equal(write_state(&d, "s"), 0);
	before = folder_read(folder, "s.json");
	assert_non_null(before);
	/* A folder is in the way of the temporary file. */
	assert_int_equal(mkdir(folder_path(folder, "s.tmp"), 0700), 0);
	assert_int_equal(declared_change(&d, "s", "+a 10.96.0.1 81"), 0);
	assert_true(write_state(&d, "s") < 0);
	after = folder_read(folder, "s.json");
	assert_string_equal(after, before);
	assert_int_equal(rmdir(folder_path(folder, "s.tmp")), 0);
	assert_int_equal(write_state(&d, "s"), 0);
	free(after);
	after = folder_read(folder, "s.json");
	assert_string_not_equal(after, before);
	assert_int_equal(count_files(), 1);
	declared_done(&d);
}

/* The disk is full in the middle of it: a file may have 100 bytes here. */
static void test_half_written_file_never_gets_its_name(void **state)
{
	_cleanup_free_ char *before = NULL, *after = NULL;
	struct rlimit limit, small;
	struct declared d;
	int r;

	declared_init(&d);
	assert_int_equal(declared_change(&d, "s", "+a 10.96.0.1 80"), 0);
	assert_int_equal(write_state(&d, "s"), 0);
	before = folder_read(folder, "s.json");
	assert_int_equal(declared_change(&d, "s", "+a 10.96.0.1 81"), 0);
	assert_int_equal(getrlimit(RLIMIT_FSIZE, &limit), 0);
	small = (struct rlimit){100, limit.rlim_max};
	(void)signal(SIGXFSZ, SIG_IGN);
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
	r = write_state(&d, "s");
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
	assert_int_equal(r, -EFBIG);
	after = folder_read(folder, "s.json");
	assert_string_equal(after, before);
	assert_int_equal(count_files(), 1);
	declared_done(&d);
}

/* A snapshot is what it was when it was taken, whatever the store does meanwhile. */
static void test_snapshot(void **state)
{
	struct declared d, back;
	struct statefile f;

	declared_init(&d);
	assert_int_equal(declared_change(&d, "s", "+a 10.96.0.1 80, +b 10.96.0.2 80"), 0);
	assert_int_equal(statefile_take(&f, d.store, "s"), 0);
	assert_int_equal(declared_change(&d, "s", "whole"), 0);
	declared_done(&d);
	assert_int_equal(statefile_write(&f, folder), 0);
	statefile_done(&f);
	assert_int_equal(read_state(&back, "s.json"), 0);
	assert_string_equal(declared_address(&back, "b"), "10.96.0.2");
	assert_int_equal(store_generation(back.store, "s"), 1);
	declared_done(&back);
}

/* A file that could not be read stops counting once its source is declared again. */
static void test_bad_file_is_settled(void **state)
{
	struct declared d;

	declared_init(&d);
	folder_write(folder, "s" STATEFILE_BAD, "{");
	folder_write(folder, "t" STATEFILE_BAD, "{");
	assert_int_equal(declared_change(&d, "s", "+a 10.96.0.1 80"), 0);
	assert_int_equal(write_state(&d, "s"), 0);
	assert_false(folder_has(folder, "s" STATEFILE_BAD));
	assert_true(folder_has(folder, "t" STATEFILE_BAD));
	declared_done(&d);
}

/* More than one request may bring: whatever could be declared can be read back. */
static void test_larger_than_a_request(void **state)
{
	struct declared d, back;
	struct text_buffer labels = {};
	struct stat st;
	size_t n;

	declared_init(&d);
	for (unsigned int i = 0; i < LIMIT_LABELS; i++)
		text_append_format(&labels, "%s'%0253u':'%0253u'", i ? "," : "", i, i);
	for (unsigned int i = 0; i < 1100; i++) {
		struct text_buffer b = {};
		struct object o;
		struct change change = {.source = "s", .upserts = &o, .n_upserts = 1};

		text_append_format(&b,
				   "{'apiVersion':'sinew/v1','kind':'Service','metadata':{'name':"
				   "'n%u','labels':{%s}},'spec':{'ports':[{'port':80}]}}",
				   i, labels.data);
		o = model_object(b.data, "s");
		text_done(&b);
		assert_int_equal(store_plan(d.store, &change, &d.problems, &d.plan), 0);
		store_commit(d.store, &d.plan);
		plan_done(&d.plan);
		object_done(&o);
	}
	text_done(&labels);
	assert_int_equal(write_state(&d, "s"), 0);
	assert_int_equal(stat(folder_path(folder, "s.json"), &st), 0);
	assert_true(st.st_size > LIMIT_BODY);
	assert_int_equal(read_state(&back, "s.json"), 0);
	(void)store_services(back.store, &n);
	assert_int_equal(n, 1100);
	declared_done(&back);
	declared_done(&d);
}

#define IN_FOLDER(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		IN_FOLDER(test_round_trip),
		IN_FOLDER(test_source_with_nothing_has_no_file),
		IN_FOLDER(test_names),
		IN_FOLDER(test_longest_names),
		IN_FOLDER(test_bad_files),
		IN_FOLDER(test_unreadable),
		IN_FOLDER(test_failed_write_keeps_the_old_file),
		IN_FOLDER(test_half_written_file_never_gets_its_name),
		IN_FOLDER(test_snapshot),
		IN_FOLDER(test_bad_file_is_settled),
		IN_FOLDER(test_larger_than_a_request),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
