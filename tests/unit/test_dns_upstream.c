/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * dns/upstream: which answer is one, and what the asker gets of it.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <string.h>

#include "dns/upstream.h"

#define ID "\x12\x34"
#define COUNTS(qd, an, ar) "\0" qd "\0" an "\0\0\0" ar
#define NAME "\7example\3org\0"
#define TYPE "\0\1\0\1"
#define RECORD "\xc0\x0c\0\1\0\1\0\0\0\x3c\0\4\xc0\0\2\1"
#define OPT "\0\0\x29\x04\xd0\0\0\x80\0\0\0"
#define BYTES(text) (const uint8_t *)(text), sizeof(text) - 1

static struct dns_upstream asked;

static int setup(void **state)
{
	return dns_upstream_make(BYTES("\0\0\1\0" COUNTS("\1", "\0", "\1") NAME TYPE OPT), 0x1234,
				 &asked);
}

static void test_an_answer_is_known_by_all_that_was_asked(void **state)
{
	static const struct {
		const char *text;
		size_t n;
		enum dns_upstream_word want;
	} rows[] = {
#define ROW(text, want) {text, sizeof(text) - 1, want}
		ROW(ID "\x81\x80" COUNTS("\1", "\1", "\0") NAME TYPE RECORD, DNS_UPSTREAM_ANSWERED),
		ROW(ID "\x81\x80" COUNTS("\1", "\1", "\1") NAME TYPE RECORD OPT,
		    DNS_UPSTREAM_ANSWERED),
		ROW(ID "\x81\x80" COUNTS("\1", "\1", "\0") "\7EXAMPLE\3oRg\0" TYPE RECORD,
		    DNS_UPSTREAM_ANSWERED),
		ROW(ID "\x81\x83" COUNTS("\1", "\0", "\0") NAME TYPE, DNS_UPSTREAM_ANSWERED),
		ROW(ID "\x81\x82" COUNTS("\1", "\0", "\0") NAME TYPE, DNS_UPSTREAM_UNABLE),
		ROW(ID "\x81\x85" COUNTS("\1", "\0", "\0") NAME TYPE, DNS_UPSTREAM_UNABLE),
		ROW(ID "\x83\x80" COUNTS("\1", "\0", "\0") NAME TYPE, DNS_UPSTREAM_TRUNCATED),
		/* one record is promised, none is there */
		ROW(ID "\x81\x80" COUNTS("\1", "\1", "\0") NAME TYPE, DNS_UPSTREAM_UNABLE),
		ROW("\x12\x35\x81\x80" COUNTS("\1", "\1", "\0") NAME TYPE RECORD,
		    DNS_UPSTREAM_FOREIGN),
		ROW(ID "\x01\x80" COUNTS("\1", "\1", "\0") NAME TYPE RECORD, DNS_UPSTREAM_FOREIGN),
		ROW(ID "\xa1\x80" COUNTS("\1", "\1", "\0") NAME TYPE RECORD, DNS_UPSTREAM_FOREIGN),
		ROW(ID "\x81\x80" COUNTS("\0", "\1", "\0") NAME TYPE RECORD, DNS_UPSTREAM_FOREIGN),
		ROW(ID "\x81\x80" COUNTS("\2", "\1", "\0") NAME TYPE RECORD, DNS_UPSTREAM_FOREIGN),
		ROW(ID "\x81\x80" COUNTS("\1", "\1", "\0") "\7example\3com\0" TYPE RECORD,
		    DNS_UPSTREAM_FOREIGN),
		ROW(ID "\x81\x80" COUNTS("\1", "\1", "\0") NAME "\0\x1c\0\1" RECORD,
		    DNS_UPSTREAM_FOREIGN),
		ROW(ID "\x81\x80" COUNTS("\1", "\1", "\0") NAME "\0\1\0\3" RECORD,
		    DNS_UPSTREAM_FOREIGN),
		ROW(ID "\x81\x80" COUNTS("\1", "\0", "\0") NAME "\0\1\0", DNS_UPSTREAM_FOREIGN),
		ROW(ID "\x81\x80" COUNTS("\1", "\0", "\0"), DNS_UPSTREAM_FOREIGN),
		ROW(ID, DNS_UPSTREAM_FOREIGN),
		ROW("", DNS_UPSTREAM_FOREIGN),
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
		print_message("row %zu\n", i);
		assert_int_equal(
			dns_upstream_read(&asked, (const uint8_t *)rows[i].text, rows[i].n),
			rows[i].want);
	}
}

static void test_what_is_no_query_is_not_asked(void **state)
{
	static const uint8_t long_one[DNS_UPSTREAM_QUERY + 1] = {0, 0, 1, 0, 0, 1};
	struct dns_upstream u;

	assert_int_equal(dns_upstream_make(BYTES(""), 1, &u), -EINVAL);
	assert_int_equal(dns_upstream_make(BYTES("\0\0\1\0" COUNTS("\0", "\0", "\0")), 1, &u),
			 -EINVAL);
	assert_int_equal(dns_upstream_make(
				 BYTES("\0\0\1\0" COUNTS("\1", "\0", "\0") "\xc0\x0c" TYPE), 1, &u),
			 -EINVAL);
	assert_int_equal(
		dns_upstream_make(BYTES("\0\0\1\0" COUNTS("\1", "\0", "\0") NAME "\0\1\0"), 1, &u),
		-EINVAL);
	assert_int_equal(dns_upstream_make(long_one, sizeof(long_one), 1, &u), -EINVAL);
}

static void test_the_asker_gets_its_own_id_and_spelling(void **state)
{
	static const char text[] =
		ID "\x81\x80" COUNTS("\1", "\1", "\0") "\7EXAMPLE\3ORG\0" TYPE RECORD;
	static const char want[] = "\xab\xcd\x81\x80" COUNTS("\1", "\1", "\0") NAME TYPE RECORD;
	uint8_t buf[DNS_UPSTREAM_QUERY];

	memcpy(buf, text, sizeof(text));
	assert_int_equal(dns_upstream_finish(&asked, &(struct dns_upstream_asker){0xabcd, 512}, buf,
					     sizeof(text) - 1),
			 sizeof(want) - 1);
	assert_memory_equal(buf, want, sizeof(want) - 1);
}

static void test_what_does_not_fit_is_cut_behind_the_question(void **state)
{
	static const char text[] = ID "\x81\x80" COUNTS("\1", "\1", "\0") NAME TYPE RECORD;
	static const char want[] = "\xab\xcd\x83\x80" COUNTS("\1", "\0", "\1") NAME TYPE OPT;
	uint8_t buf[DNS_UPSTREAM_QUERY];

	memcpy(buf, text, sizeof(text));
	assert_int_equal(dns_upstream_finish(&asked, &(struct dns_upstream_asker){0xabcd, 40}, buf,
					     sizeof(text) - 1),
			 sizeof(want) - 1);
	assert_memory_equal(buf, want, sizeof(want) - 1);
}

static void test_when_nobody_answered(void **state)
{
	static const char want[] = "\xab\xcd\x81\x82" COUNTS("\1", "\0", "\1") NAME TYPE OPT;
	uint8_t buf[DNS_UPSTREAM_QUERY];

	assert_int_equal(dns_upstream_fail(&asked, 0xabcd, buf), sizeof(want) - 1);
	assert_memory_equal(buf, want, sizeof(want) - 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_an_answer_is_known_by_all_that_was_asked),
		cmocka_unit_test(test_what_is_no_query_is_not_asked),
		cmocka_unit_test(test_the_asker_gets_its_own_id_and_spelling),
		cmocka_unit_test(test_what_does_not_fit_is_cut_behind_the_question),
		cmocka_unit_test(test_when_nobody_answered),
	};

	return cmocka_run_group_tests(tests, setup, NULL);
}
