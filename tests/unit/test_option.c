/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * base/option: values out of a table, and sentences for what does not fit.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/cleanup.h"
#include "program.h"

#define ARGUMENTS 80

struct parsed {
	struct program_values values;
	char words[ARGUMENTS][32];
	char *argv[ARGUMENTS + 1];
	int argc, first;
	struct option_error error;
	int r;
};

/* Words separated by spaces, behind the program's name; with the options of "get". */
static void parse(struct parsed *p, const char *line, bool stop)
{
	const struct option_group groups[] = {program.options, program.commands[0].options};
	const struct option_parser parser = {groups, 2, stop, &p->values};

	*p = (struct parsed){.first = -1};
	p->values.limit = 7;
	p->argv[p->argc++] = (char *)"sinewctl";
	for (const char *at = line; *at; at += strspn(at, " ")) {
		size_t n = strcspn(at, " ");

		(void)snprintf(p->words[p->argc], sizeof(p->words[0]), "%.*s", (int)n, at);
		p->argv[p->argc] = p->words[p->argc];
		p->argc++;
		at += n;
	}
	p->r = option_parse(&parser, p->argc, p->argv, &p->first, &p->error);
}

static void test_every_type(void **state)
{
	struct parsed p;

	parse(&p,
	      "-v services -o json --limit=500 -l a=b --label c=d --timeout 1s x --colour never",
	      false);
	assert_int_equal(p.r, 0);
	assert_true(p.values.verbose);
	assert_false(p.values.all);
	assert_int_equal(p.values.output, 1);
	assert_int_equal(p.values.limit, 500);
	assert_int_equal(p.values.timeout, 1000);
	assert_int_equal(p.values.labels.n, 2);
	assert_string_equal(p.values.labels.items[1], "c=d");
	assert_string_equal(p.values.colour, "never");
	assert_int_equal(p.argc - p.first, 2);
	assert_string_equal(p.argv[p.first], "services");
	assert_string_equal(p.argv[p.first + 1], "x");
	parse(&p, "", false);
	assert_int_equal(p.r, 0);
	assert_int_equal(p.first, 1);
	assert_int_equal(p.values.limit, 7);
}

static void test_forms(void **state)
{
	struct parsed p;

	parse(&p, "-vAojson", false);
	assert_int_equal(p.r, 0);
	assert_true(p.values.verbose && p.values.all);
	assert_int_equal(p.values.output, 1);
	parse(&p, "--verb --out yaml", false); /* the beginning is enough when it is one's alone */
	assert_int_equal(p.r, 0);
	assert_true(p.values.verbose);
	assert_int_equal(p.values.output, 2);
	parse(&p, "-v -- -A --what", false);
	assert_int_equal(p.r, 0);
	assert_false(p.values.all);
	assert_string_equal(p.argv[p.first], "-A");
	parse(&p, "-v get -o nonsense", true); /* stops at the verb */
	assert_int_equal(p.r, 0);
	assert_string_equal(p.argv[p.first], "get");
}

static void test_errors(void **state)
{
	static const char *const rows[][2] = {
		{"--outptu json", "unknown option --outptu; did you mean --output?"},
		{"--outptu=json", "unknown option --outptu; did you mean --output?"},
		{"--zzzzzz", "unknown option --zzzzzz"},
		{"-z", "unknown option -z"},
		{"-vz", "unknown option -z"},
		{"--l x", "option --l could mean more than one thing"},
		{"--verbose=1", "option --verbose takes no value"},
		{"--output", "option --output needs a value: FORMAT"},
		{"-o", "option --output needs a value: FORMAT"},
		{"-o jsn",
		 "--output: unknown value \"jsn\"; did you mean \"json\"? (table, json, yaml)"},
		{"-o what", "--output: unknown value \"what\"; it is one of table, json, yaml"},
		{"--limit 0", "--limit: 0 is out of range (1 to 500)"},
		{"--limit 501", "--limit: 501 is out of range (1 to 500)"},
		{"--limit 5x", "--limit: \"5x\" is not a whole number"},
		{"--limit -5", "--limit: \"-5\" is not a whole number"},
		{"--limit 99999999999999999999", "is not a whole number"},
		{"--limit=", "is not a whole number"},
		{"--timeout 5", "--timeout: \"5\" is not a duration such as 250ms, 30s or 5m"},
		{"--timeout 99ms", "--timeout: 99ms is out of range (100 to 60000 ms)"},
		{"--timeout 2m", "out of range"},
	};

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct parsed p;

		parse(&p, rows[i][0], false);
		if (p.r != -EINVAL || !strstr(p.error.text, rows[i][1]))
			fail_msg("%s: %d, %s", rows[i][0], p.r, p.error.text);
	}
}

/* getopt keeps half-read words between calls; a new parse must not see them. */
static void test_parses_afresh(void **state)
{
	struct parsed p;

	parse(&p, "-vzA", false);
	assert_int_equal(p.r, -EINVAL);
	parse(&p, "x", false);
	assert_int_equal(p.r, 0);
	assert_false(p.values.all);
}

static void test_list_is_bounded(void **state)
{
	char line[OPTION_LIST_MAX * 4 + 8] = "";
	struct parsed p;

	for (int i = 0; i < OPTION_LIST_MAX; i++)
		(void)snprintf(line + strlen(line), sizeof(line) - strlen(line), "-lx ");
	parse(&p, line, false);
	assert_int_equal(p.r, 0);
	assert_int_equal(p.values.labels.n, OPTION_LIST_MAX);
	(void)snprintf(line + strlen(line), sizeof(line) - strlen(line), "-lx");
	parse(&p, line, false);
	assert_int_equal(p.r, -EINVAL);
	assert_non_null(strstr(p.error.text, "more than 64 times"));
}

static void test_duration(void **state)
{
	uint64_t ms = 7;

	assert_int_equal(option_parse_duration("1d", &ms), 0);
	assert_int_equal(ms, 86400000);
	assert_int_equal(option_parse_duration("0", &ms), 0);
	assert_int_equal(ms, 0);
	ms = 7;
	assert_int_equal(option_parse_duration("1", &ms), -EINVAL);
	assert_int_equal(option_parse_duration("s", &ms), -EINVAL);
	assert_int_equal(option_parse_duration("-1s", &ms), -EINVAL);
	assert_int_equal(option_parse_duration("1x", &ms), -EINVAL);
	assert_int_equal(option_parse_duration("9999999999999999999d", &ms), -ERANGE);
	assert_int_equal(option_parse_duration("99999999999999999999s", &ms), -ERANGE);
	assert_int_equal(ms, 7);
}

static void test_commands(void **state)
{
	struct option_error error;

	assert_ptr_equal(option_find_command(&program, "get"), &program.commands[0]);
	assert_ptr_equal(option_find_command(&program, "list"), &program.commands[0]);
	assert_ptr_equal(option_find_command(&program, "ls"), &program.commands[0]);
	assert_null(option_find_command(&program, "l"));
	assert_null(option_find_command(&program, "list ls"));
	assert_null(option_find_command(&program, ""));
	assert_string_equal(option_suggest_command(&program, "aplly"), "apply");
	assert_null(option_suggest_command(&program, "weather"));
	assert_int_equal(option_check_operands(&program.commands[0], 0, &error), -EINVAL);
	assert_string_equal(error.text, "get needs NOUN [NAME...]");
	assert_int_equal(option_check_operands(&program.commands[0], 99, &error), 0);
	assert_int_equal(option_check_operands(&program.commands[1], 1, &error), -EINVAL);
	assert_string_equal(error.text, "apply takes no operands");
	assert_int_equal(option_check_operands(&program.commands[2], 2, &error), -EINVAL);
	assert_string_equal(error.text, "too many operands: explain takes ADDRESS");
	assert_int_equal(option_check_operands(&program.commands[2], 1, &error), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_every_type),      cmocka_unit_test(test_forms),
		cmocka_unit_test(test_errors),          cmocka_unit_test(test_parses_afresh),
		cmocka_unit_test(test_list_is_bounded), cmocka_unit_test(test_duration),
		cmocka_unit_test(test_commands),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
