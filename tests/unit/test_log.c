/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * base/log: one line a message, whatever the message's bytes; repeats are counted, not said.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <yyjson.h>

#include "base/cleanup.h"
#include "base/log.h"

#define SAID 65536

/* Standard error while a test listens. */
struct ear {
	int saved;
	FILE *file;
	char said[SAID];
};

static void ear_open(struct ear *e)
{
	e->saved = dup(STDERR_FILENO);
	e->file = tmpfile();
	assert_non_null(e->file);
	assert_return_code(dup2(fileno(e->file), STDERR_FILENO), errno);
}

static const char *ear_close(struct ear *e)
{
	size_t n;

	(void)dup2(e->saved, STDERR_FILENO);
	(void)close(e->saved);
	rewind(e->file);
	n = fread(e->said, 1, SAID - 1, e->file);
	e->said[n] = '\0';
	(void)fclose(e->file);
	return e->said;
}

static unsigned int count(const char *text, const char *part)
{
	unsigned int n = 0;

	for (const char *at = text; (at = strstr(at, part)); at++)
		n++;
	return n;
}

static void test_text(void **state)
{
	struct ear e;

	log_init("sinewd", LOG_INFO, LOG_FORMAT_TEXT);
	ear_open(&e);
	log_info("%d services", 3);
	log_notice("n");
	log_warn("w");
	log_err("e");
	log_debug("silent");
	assert_int_equal(log_err_r(-ENOENT, "cannot open %s", "x"), -ENOENT);
	assert_string_equal(ear_close(&e), "sinewd: 3 services\nsinewd: n\nsinewd: warning: w\n"
					   "sinewd: error: e\n"
					   "sinewd: error: cannot open x: No such file or "
					   "directory\n");
}

static void test_levels(void **state)
{
	struct ear e;

	log_init("p", LOG_ERROR, LOG_FORMAT_TEXT);
	ear_open(&e);
	log_warn("w");
	assert_int_equal(log_warn_r(-5, "w"), -5);
	assert_string_equal(ear_close(&e), "");
	log_init("p", LOG_DEBUG, LOG_FORMAT_TEXT);
	ear_open(&e);
	log_debug("d");
	assert_string_equal(ear_close(&e), "p: debug: d\n");
}

static void test_strange_bytes_stay_on_one_line(void **state)
{
	struct ear e;

	log_init("p", LOG_INFO, LOG_FORMAT_TEXT);
	ear_open(&e);
	log_info("%s", "a\nb\x1b[31m\xff\xc3(\xc3\xa4\x7f");
	assert_string_equal(ear_close(&e), "p: a\\x0ab\\x1b[31m?"
					   "?(\xc3\xa4\\x7f\n");
}

static void test_json_is_ecs(void **state)
{
	yyjson_doc *doc;
	yyjson_val *root;
	struct ear e;

	log_init("p\"q", LOG_INFO, LOG_FORMAT_JSON);
	ear_open(&e);
	log_warn("%s", "say \"hi\"\\\n\x01\xff");
	(void)ear_close(&e);
	assert_int_equal(count(e.said, "\n"), 1);
	doc = yyjson_read(e.said, strlen(e.said) - 1, 0);
	assert_non_null(doc);
	root = yyjson_doc_get_root(doc);
	assert_string_equal(yyjson_get_str(yyjson_obj_get(root, "message")), "say \"hi\"\\\n\x01?");
	assert_string_equal(yyjson_get_str(yyjson_obj_get(root, "log.level")), "warning");
	assert_string_equal(yyjson_get_str(yyjson_obj_get(root, "process.name")), "p\"q");
	assert_int_equal(yyjson_get_int(yyjson_obj_get(root, "process.pid")), getpid());
	assert_int_equal(yyjson_get_len(yyjson_obj_get(root, "@timestamp")), 24);
	yyjson_doc_free(doc);
}

static void test_journal_gets_priorities(void **state)
{
	struct stat st;
	char stream[64];
	struct ear e;

	ear_open(&e);
	assert_return_code(fstat(STDERR_FILENO, &st), errno);
	(void)snprintf(stream, sizeof(stream), "%llu:%llu", (unsigned long long)st.st_dev,
		       (unsigned long long)st.st_ino);
	(void)setenv("JOURNAL_STREAM", stream, 1);
	log_init("p", LOG_INFO, LOG_FORMAT_AUTO);
	log_err("e");
	log_info("i");
	(void)setenv("JOURNAL_STREAM", "1:1", 1);
	log_init("p", LOG_INFO, LOG_FORMAT_AUTO);
	log_info("somebody else's");
	(void)unsetenv("JOURNAL_STREAM");
	assert_string_equal(ear_close(&e), "<3>e\n<6>i\np: somebody else's\n");
}

static void test_repeats_are_counted(void **state)
{
	unsigned int said;
	struct ear e;

	log_init("p", LOG_INFO, LOG_FORMAT_TEXT);
	ear_open(&e);
	for (unsigned int i = 0; i < 1000; i++)
		log_info("again %u", i);
	log_info("another");
	(void)usleep(1100000);
	log_info("again %u", 1000u); /* another call: counted on its own */
	(void)ear_close(&e);
	/* Twenty in each second; the loop may lie over the end of one. */
	said = count(e.said, "again");
	assert_in_range(said, 21, 200);
	assert_int_equal(count(e.said, "another"), 1);
}

static void say_often(unsigned int n)
{
	for (unsigned int i = 0; i < n; i++)
		log_info("the same %u", i);
}

static void test_swallowed_ones_are_told(void **state)
{
	struct ear e;
	unsigned int told = 0;
	const char *at;

	log_init("p", LOG_INFO, LOG_FORMAT_TEXT);
	ear_open(&e);
	say_often(500);
	(void)usleep(1100000);
	say_often(1);
	(void)ear_close(&e);
	for (at = e.said; (at = strstr(at, " more like the next message")); at++) {
		const char *number = at;

		while (number > e.said && number[-1] >= '0' && number[-1] <= '9')
			number--;
		told += (unsigned int)strtoul(number, NULL, 10);
	}
	assert_int_equal(told + count(e.said, "the same"), 501);
	assert_true(told > 0);
}

static void test_long_message_is_cut(void **state)
{
	char text[5000];
	struct ear e;

	memset(text, 'a', sizeof(text) - 1);
	text[sizeof(text) - 1] = '\0';
	log_init("p", LOG_INFO, LOG_FORMAT_TEXT);
	ear_open(&e);
	log_info("%s", text);
	(void)log_write_r(LOG_ERROR, -EIO, "%s", text);
	(void)ear_close(&e);
	assert_int_equal(count(e.said, "\n"), 2);
	assert_in_range(strlen(e.said), 4000, 4200);
}

static void test_errno_is_kept(void **state)
{
	struct ear e;

	log_init("p", LOG_INFO, LOG_FORMAT_TEXT);
	ear_open(&e);
	errno = EXDEV;
	log_info("x");
	assert_int_equal(errno, EXDEV);
	(void)log_err_r(-EIO, "x");
	assert_int_equal(errno, EXDEV);
	(void)ear_close(&e);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_text),
		cmocka_unit_test(test_levels),
		cmocka_unit_test(test_strange_bytes_stay_on_one_line),
		cmocka_unit_test(test_json_is_ecs),
		cmocka_unit_test(test_journal_gets_priorities),
		cmocka_unit_test(test_repeats_are_counted),
		cmocka_unit_test(test_swallowed_ones_are_told),
		cmocka_unit_test(test_long_message_is_cut),
		cmocka_unit_test(test_errno_is_kept),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
