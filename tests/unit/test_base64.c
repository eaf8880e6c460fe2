/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * base/base64: the vectors of RFC 4648, every length there and back, and texts that are refused.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/base64.h"
#include "base/cleanup.h"

static void test_vectors(void **state)
{
	static const char *const pairs[][2] = {
		{"", ""},
		{"f", "Zg=="},
		{"fo", "Zm8="},
		{"foo", "Zm9v"},
		{"foob", "Zm9vYg=="},
		{"fooba", "Zm9vYmE="},
		{"foobar", "Zm9vYmFy"},
		{"\xfb\xff\xbf", "+/+/"},
	};

	for (size_t i = 0; i < ARRAY_SIZE(pairs); i++) {
		_cleanup_free_ char *text = base64_encode(pairs[i][0], strlen(pairs[i][0]));
		_cleanup_free_ char *data = NULL;
		size_t n;

		assert_string_equal(text, pairs[i][1]);
		assert_int_equal(base64_decode(text, strlen(text), &data, &n), 0);
		assert_int_equal(n, strlen(pairs[i][0]));
		assert_string_equal(data, pairs[i][0]);
	}
}

static void test_every_length_and_byte_comes_back(void **state)
{
	for (size_t n = 0; n < 600; n++) {
		unsigned char bytes[600];
		_cleanup_free_ char *text = NULL, *data = NULL;
		size_t length;

		for (size_t i = 0; i < n; i++)
			bytes[i] = (unsigned char)(i * 37 + n);
		text = base64_encode(bytes, n);
		assert_int_equal(strlen(text), BASE64_LENGTH(n));
		assert_int_equal(base64_decode(text, strlen(text), &data, &length), 0);
		assert_int_equal(length, n);
		assert_memory_equal(data, bytes, n);
	}
}

static void test_what_is_no_base64_is_refused(void **state)
{
	static const struct {
		const char *text;
		size_t length;
	} bad[] = {
		{"Z", 1},    {"Zg", 2},   {"Zg=", 3},      {"=", 1},         {"====", 4},
		{"Z===", 4}, {"Zm9=", 4}, {"Zh==", 4},     {"Zm 9", 4},      {"Zm9\n", 4},
		{"Zm-_", 4}, {"Z=g=", 4}, {"Zg==Zg==", 8}, {"Zm9v\0Zm9", 8}, {"Zm9v\xc3\xa4Zm", 8},
	};

	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		char *data = NULL;
		size_t n = 7;

		assert_int_equal(base64_decode(bad[i].text, bad[i].length, &data, &n), -EBADMSG);
		assert_null(data);
		assert_int_equal(n, 7);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_vectors),
		cmocka_unit_test(test_every_length_and_byte_comes_back),
		cmocka_unit_test(test_what_is_no_base64_is_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
