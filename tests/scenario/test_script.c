/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Every scenario of tests/scenario/NAME.txt, a test each. script.c has the steps.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <glob.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "script.h"

#define SCRIPTS 100
#define SCRIPT_BYTES 65536

static void run_file(void **state)
{
	const char *path = *state;
	_cleanup_fclose_ FILE *f = fopen(path, "re");
	_cleanup_free_ char *text = calloc(1, SCRIPT_BYTES);

	assert_non_null(f);
	assert_non_null(text);
	assert_in_range(fread(text, 1, SCRIPT_BYTES - 1, f), 1, SCRIPT_BYTES - 2);
	script_run(strrchr(path, '/') + 1, text);
}

int main(void)
{
	struct CMUnitTest tests[SCRIPTS] = {};
	glob_t files;
	int failed;

	if (glob(TESTS_DIR "/scenario/*.txt", 0, NULL, &files) || files.gl_pathc > SCRIPTS) {
		fputs("no scenarios, or too many\n", stderr);
		return 1;
	}
	for (size_t i = 0; i < files.gl_pathc; i++) {
		tests[i].name = strrchr(files.gl_pathv[i], '/') + 1;
		tests[i].test_func = run_file;
		tests[i].initial_state = files.gl_pathv[i];
	}
	failed = _cmocka_run_group_tests("script", tests, files.gl_pathc, NULL, NULL);
	globfree(&files);
	return failed;
}
