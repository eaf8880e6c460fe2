/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * base/text: what it reads it writes back, what it refuses it leaves alone.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/text.h"

static void test_duration_parse(void **state)
{
	static const struct {
		const char *text;
		int r;
		uint64_t ms;
	} cases[] = {
		{"0", 0, 0},
		{"250ms", 0, 250},
		{"30s", 0, 30000},
		{"5m", 0, 300000},
		{"1h30m", 0, 5400000},
		{"2d", 0, 172800000},
		{"1d2h3m4s5ms", 0, 93784005},
		{"0s", 0, 0},
		{"18446744073709551615ms", 0, UINT64_MAX},
		{"18446744073709551616ms", -ERANGE, 0},
		{"213503982335d", -ERANGE, 0},
		{"213503982334d15h", -ERANGE, 0},
		{"", -EINVAL, 0},
		{"5", -EINVAL, 0},
		{"00", -EINVAL, 0},
		{"s", -EINVAL, 0},
		{"-5s", -EINVAL, 0},
		{"5 s", -EINVAL, 0},
		{" 5s", -EINVAL, 0},
		{"5S", -EINVAL, 0},
		{"5sec", -EINVAL, 0},
		{"1.5s", -EINVAL, 0},
		{"30m1h", -EINVAL, 0},
		{"1m1m", -EINVAL, 0},
		{"1h 30m", -EINVAL, 0},
		{"5us", -EINVAL, 0},
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		uint64_t ms = 4711;
		int r = text_parse_duration(cases[i].text, &ms);

		if (r != cases[i].r || ms != (r < 0 ? 4711 : cases[i].ms))
			fail_msg("\"%s\": %d, %llu", cases[i].text, r, (unsigned long long)ms);
	}
}

static uint64_t random_bits(uint64_t *state)
{
	*state ^= *state << 13;
	*state ^= *state >> 7;
	*state ^= *state << 17;
	return *state;
}

static void test_duration_round_trip(void **state)
{
	char buf[TEXT_DURATION];
	uint64_t seed = 88172645463325252ull;

	for (unsigned int i = 0; i < 20000; i++) {
		uint64_t ms = random_bits(&seed) >> (i % 64), back = 0;

		assert_int_equal(text_parse_duration(text_format_duration(ms, buf), &back), 0);
		assert_true(back == ms);
	}
	assert_string_equal(text_format_duration(5400000, buf), "1h30m");
	assert_string_equal(text_format_duration(0, buf), "0");
	assert_string_equal(text_format_duration(UINT64_MAX, buf), "213503982334d14h25m51s615ms");
}

static void test_size(void **state)
{
	static const struct {
		const char *text;
		int r;
		uint64_t bytes;
	} cases[] = {
		{"0", 0, 0},           {"4096", 0, 4096},
		{"64KiB", 0, 65536},   {"4MiB", 0, 4194304},
		{"1GiB", 0, 1 << 30},  {"2TiB", 0, 2ull << 40},
		{"1500B", 0, 1500},    {"16777216TiB", -ERANGE, 0},
		{"4MB", -EINVAL, 0},   {"4M", -EINVAL, 0},
		{"MiB", -EINVAL, 0},   {"", -EINVAL, 0},
		{"4 MiB", -EINVAL, 0}, {"4MiBx", -EINVAL, 0},
		{"-1", -EINVAL, 0},    {"18446744073709551616", -ERANGE, 0},
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		uint64_t bytes = 4711;
		int r = text_parse_size(cases[i].text, &bytes);

		if (r != cases[i].r || bytes != (r < 0 ? 4711 : cases[i].bytes))
			fail_msg("\"%s\": %d, %llu", cases[i].text, r, (unsigned long long)bytes);
	}
}

static void test_size_round_trip(void **state)
{
	char buf[TEXT_SIZE];
	uint64_t seed = 1;

	for (unsigned int i = 0; i < 20000; i++) {
		uint64_t bytes = random_bits(&seed) >> (i % 64) << (i / 64 % 40), back = 0;

		assert_int_equal(text_parse_size(text_format_size(bytes, buf), &back), 0);
		assert_true(back == bytes);
	}
	assert_string_equal(text_format_size(4194304, buf), "4MiB");
	assert_string_equal(text_format_size(1500, buf), "1500B");
	assert_string_equal(text_format_size(0, buf), "0B");
}

static void test_time(void **state)
{
	char buf[TEXT_TIME];

	assert_string_equal(text_format_time(0, buf), "1970-01-01T00:00:00.000Z");
	assert_string_equal(text_format_time(1770120067341, buf), "2026-02-03T12:01:07.341Z");
	assert_string_equal(text_format_time(951782399999, buf), "2000-02-28T23:59:59.999Z");
	assert_string_equal(text_format_time(951782400000, buf), "2000-02-29T00:00:00.000Z");
	assert_string_equal(text_format_time(253402300799999, buf), "9999-12-31T23:59:59.999Z");
	/* What RFC 3339 cannot write is no time. */
	assert_string_equal(text_format_time(253402300800000, buf), "1970-01-01T00:00:00.000Z");
	assert_string_equal(text_format_time(UINT64_MAX, buf), "1970-01-01T00:00:00.000Z");
}

static const char *suggest(const char *word)
{
	static const char *const known[] = {"address",   "ports",  NULL,
					    "endpoints", "policy", "port"};

	return text_suggest(word, known, ARRAY_SIZE(known));
}

static void test_suggest(void **state)
{
	char longest[66];

	assert_string_equal(suggest("adress"), "address");
	assert_string_equal(suggest("addresss"), "address");
	assert_string_equal(suggest("ADDRESS"), "address");
	assert_string_equal(suggest("endopints"), "endpoints");
	assert_string_equal(suggest("prot"), "port");
	assert_string_equal(suggest("prots"), "ports");
	assert_string_equal(suggest("policies"), "policy");
	assert_null(suggest("weather"));
	assert_null(suggest(""));
	assert_null(suggest("x"));
	memset(longest, 'p', sizeof(longest));
	longest[65] = '\0';
	assert_null(suggest(longest));
	longest[64] = '\0';
	assert_null(suggest(longest));
}

/* Addresses of services come from it: another value would move them all. */
static void test_hash_is_what_it_was(void **state)
{
	uint64_t hash = 0, ones = 0;

	assert_true(text_hash("", 0, 0) == text_hash(NULL, 0, 0));
	assert_int_equal(text_hash("", 0, 0), 0x1bde2244100e0f45ull);
	assert_int_equal(text_hash("shop", 4, 0), 0x981c3bf21213623dull);
	assert_int_equal(text_hash("payments-api", 12, 7), 0xd8f45a3afbff4f88ull);
	/* Each bit of the input moves about half of the output. */
	for (unsigned int bit = 0; bit < 128; bit++) {
		unsigned char data[16] = {0};

		hash = text_hash(data, 16, 3);
		data[bit / 8] ^= (unsigned char)(1u << bit % 8);
		ones += (uint64_t)__builtin_popcountll(hash ^ text_hash(data, 16, 3));
	}
	assert_in_range(ones, 128 * 28, 128 * 36);
	/* Bytes behind the end do not count; a NUL more does. */
	assert_true(text_hash("ab", 1, 0) == text_hash("ac", 1, 0));
	assert_true(text_hash("a\0", 2, 0) != text_hash("a", 1, 0));
}

static void test_utf8(void **state)
{
	static const struct {
		const char *text;
		size_t n, length;
	} cases[] = {
		{"a", 1, 1},
		{"", 0, 0},
		{"\xc3\xa4", 2, 2},
		{"\xc3\xa4", 1, 0},     /* cut */
		{"\xe2\x82\xac", 3, 3}, /* the euro sign */
		{"\xf0\x9f\x98\x80", 4, 4},
		{"\xf4\x8f\xbf\xbf", 4, 4},     /* the last code point */
		{"\xf4\x90\x80\x80", 4, 0},     /* one further */
		{"\xf8\x88\x80\x80\x80", 5, 0}, /* five bytes */
		{"\xc0\x80", 2, 0},             /* an overlong NUL */
		{"\xc1\xbf", 2, 0},
		{"\xe0\x80\xaf", 3, 0},
		{"\xf0\x80\x80\xaf", 4, 0},
		{"\xed\xa0\x80", 3, 0}, /* a surrogate */
		{"\xed\x9f\xbf", 3, 3},
		{"\x80", 1, 0},
		{"\xff", 1, 0},
		{"\xc3\x28", 2, 0},
		{"\xe2\x82\x28", 3, 0},
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++)
		if (text_utf8_length(cases[i].text, cases[i].n) != cases[i].length)
			fail_msg("case %zu: %zu", i, text_utf8_length(cases[i].text, cases[i].n));
}

static void test_printable(void **state)
{
	static const struct {
		const char *said, *shown;
	} cases[] = {
		{"", ""},
		{"a\r\n\tb\x7f", "a   b "},
		{"gr\xc3\xbc\xc3\x9f dich \xe2\x82\xac", "gr\xc3\xbc\xc3\x9f dich \xe2\x82\xac"},
		{"f\xfcr Sie", "f?r Sie"}, /* Latin-1 */
		{"\xff\xfe\x80", "???"},
		{"cut \xc3", "cut "},
		{"cut \xe2\x82", "cut "},
		{"cut \xf0\x9f\x98", "cut "},
		{"\xe2\x82x", "??x"},
		{"\xed\xa0\x80", "???"}, /* a surrogate */
		{"\xf8", "?"},
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		char text[64];

		(void)snprintf(text, sizeof(text), "%s", cases[i].said);
		text_make_printable(text);
		assert_string_equal(text, cases[i].shown);
	}
}

struct heard {
	char text[200];
	int r; /* of the line "stop" */
};

static int on_line(void *arg, const char *line, size_t length)
{
	struct heard *h = arg;
	size_t n = strlen(h->text);

	(void)snprintf(h->text + n, sizeof(h->text) - n, "[%.*s]", (int)length, line);
	return length == 4 && !memcmp(line, "stop", 4) ? h->r : 0;
}

/* However a stream is cut into pieces, its lines are the same. */
static void test_lines(void **state)
{
	static const char stream[] = "one\n\ntwo\nthree\nfo";

	for (size_t piece = 1; piece <= sizeof(stream); piece++) {
		struct heard heard = {};
		const struct text_lines lines = {5, on_line, &heard};
		struct text_buffer rest = {};

		for (size_t at = 0; at < strlen(stream); at += piece) {
			size_t left = strlen(stream) - at;

			assert_int_equal(text_take_lines(&rest, &lines, stream + at,
							 left < piece ? left : piece),
					 0);
		}
		assert_string_equal(heard.text, "[one][two][three]");
		assert_int_equal(text_take_lines(&rest, &lines, "ur\n", 3), 0);
		assert_string_equal(heard.text, "[one][two][three][four]");
		text_done(&rest);
	}
}

static void test_lines_end(void **state)
{
	static const char *const pieces[][3] = {
		{"123456\n", NULL}, {"123456", NULL}, {"123", "456\n", NULL}, {"123", "456", NULL}};
	struct heard heard = {.r = -ECANCELED};
	const struct text_lines lines = {5, on_line, &heard};
	struct text_buffer rest = {};

	for (size_t i = 0; i < ARRAY_SIZE(pieces); i++) {
		int r = 0;

		for (size_t k = 0; pieces[i][k]; k++) {
			assert_int_equal(r, 0);
			r = text_take_lines(&rest, &lines, pieces[i][k], strlen(pieces[i][k]));
		}
		assert_int_equal(r, -EMSGSIZE);
		text_done(&rest);
	}
	assert_string_equal(heard.text, "");
	assert_int_equal(text_take_lines(&rest, &lines, "a\nstop\nb\n", 9), -ECANCELED);
	assert_string_equal(heard.text, "[a][stop]");
	text_done(&rest);
}

static void test_buffer(void **state)
{
	struct text_buffer b = {};
	char *text;

	text = text_take(&b);
	assert_string_equal(text, "");
	free(text);
	for (unsigned int i = 0; i < 1000; i++) {
		text_append(&b, "ab");
		text_append_bytes(&b, "cdXX", 2);
		text_append_format(&b, "%u.", i % 10);
	}
	assert_int_equal(b.n, 6000);
	assert_memory_equal(b.data + 5994, "abcd9.", 7);
	text = text_take(&b);
	assert_int_equal(strlen(text), 6000);
	assert_null(b.data);
	assert_int_equal(b.n, 0);
	free(text);
	text_append_bytes(&b, "a\0b", 3);
	assert_int_equal(b.n, 3);
	text_done(&b);
	b.no_memory = true;
	text_append(&b, "x");
	assert_null(text_take(&b));
	assert_false(b.no_memory);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_duration_parse),
		cmocka_unit_test(test_duration_round_trip),
		cmocka_unit_test(test_size),
		cmocka_unit_test(test_size_round_trip),
		cmocka_unit_test(test_time),
		cmocka_unit_test(test_suggest),
		cmocka_unit_test(test_hash_is_what_it_was),
		cmocka_unit_test(test_utf8),
		cmocka_unit_test(test_printable),
		cmocka_unit_test(test_lines),
		cmocka_unit_test(test_lines_end),
		cmocka_unit_test(test_buffer),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
