/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * base/file: what is replaced is whole, what is read is bounded, and nothing temporary is left.
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

#include "base/cleanup.h"
#include "base/file.h"

static char folder[64];
static int dir;

static int setup(void **state)
{
	(void)snprintf(folder, sizeof(folder), "/tmp/sinew-file.XXXXXX");
	assert_non_null(mkdtemp(folder));
	dir = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	assert_true(dir >= 0);
	return 0;
}

static int teardown(void **state)
{
	close(dir);
	assert_int_equal(rmdir(folder), 0); /* so nothing was left in it */
	return 0;
}

static int read_back(size_t max, char **ret, uint64_t *ret_ms)
{
	char path[128];
	size_t length;
	int r;

	(void)snprintf(path, sizeof(path), "%s/a.json", folder);
	r = file_read(path, max, ret, &length, ret_ms);
	if (r >= 0)
		assert_int_equal(length, strlen(*ret));
	return r;
}

static void test_replaced_read_and_removed(void **state)
{
	static const char *const texts[] = {"longer than the next", "short", ""};
	struct stat st;
	uint64_t ms;

	for (size_t i = 0; i < ARRAY_SIZE(texts); i++) {
		_cleanup_free_ char *text = NULL;

		assert_int_equal(file_replace(dir, "a", texts[i], strlen(texts[i])), 0);
		assert_int_equal(read_back(100, &text, &ms), 0);
		assert_string_equal(text, texts[i]);
	}
	assert_int_equal(fstatat(dir, "a.json", &st, 0), 0);
	assert_int_equal(st.st_mode & 07777, 0600);
	assert_int_equal(ms / 1000, st.st_mtim.tv_sec);
	assert_int_equal(file_replace(dir, "a", NULL, 0), 0);
	assert_int_equal(file_replace(dir, "a", NULL, 0), 0); /* gone is gone */
	assert_int_equal(fstatat(dir, "a.json", &st, 0), -1);
}

static void test_bounds_and_errors(void **state)
{
	_cleanup_free_ char *text = NULL;
	char name[400];

	memset(name, 'n', sizeof(name) - 1);
	name[sizeof(name) - 1] = '\0';
	assert_int_equal(file_replace(dir, name, "x", 1), -ENAMETOOLONG);
	assert_int_equal(read_back(100, &text, NULL), -ENOENT);
	assert_int_equal(file_replace(dir, "a", "12345", 5), 0);
	assert_int_equal(read_back(4, &text, NULL), -E2BIG);
	assert_null(text);
	assert_int_equal(read_back(5, &text, NULL), 0);
	/* a folder is in the way: the text stays outside, and so does the temporary file */
	assert_int_equal(file_replace(dir, "a", NULL, 0), 0);
	assert_int_equal(mkdirat(dir, "a.json", 0700), 0);
	assert_int_equal(file_replace(dir, "a", "x", 1), -EISDIR);
	assert_int_equal(unlinkat(dir, "a.json", AT_REMOVEDIR), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_replaced_read_and_removed),
		cmocka_unit_test(test_bounds_and_errors),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
