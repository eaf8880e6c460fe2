/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * See recorded.h. Before: tests/peers/record wrote the files. After: decoders' tests.
 */
#include "recorded.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/cleanup.h"

#define RECORDED 65536

char *recorded_read(const char *name, size_t *ret_n)
{
	char path[512], *text = calloc(1, RECORDED);
	_cleanup_fclose_ FILE *f = NULL;

	(void)snprintf(path, sizeof(path), TESTS_DIR "/fuzz/corpus/%s", name);
	f = fopen(path, "re");
	assert_non_null(f);
	assert_non_null(text);
	*ret_n = fread(text, 1, RECORDED - 1, f);
	assert_in_range(*ret_n, 1, RECORDED - 2); /* whole */
	return text;
}
