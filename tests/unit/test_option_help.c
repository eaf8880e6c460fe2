/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * base/option_help: every option and command is told, lines are as wide as they may be.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "program.h"

static char *text;

static void print(void (*write)(FILE *f, const struct option_program *p))
{
	size_t size;
	FILE *f;

	free(text);
	f = open_memstream(&text, &size);
	assert_non_null(f);
	write(f, &program);
	assert_int_equal(fclose(f), 0);
}

static void print_command(const struct option_program *p, size_t which)
{
	size_t size;
	FILE *f;

	free(text);
	f = open_memstream(&text, &size);
	assert_non_null(f);
	option_help_command(f, p, &p->commands[which]);
	assert_int_equal(fclose(f), 0);
}

static void has(const char *part)
{
	if (!strstr(text, part))
		fail_msg("\"%s\" is not in\n%s", part, text);
}

static int tear_down(void **state)
{
	free(text);
	text = NULL;
	return 0;
}

static void test_program(void **state)
{
	print(option_help_program);
	has("talk to sinewd");
	has("get");
	has("list what is there");
	has("explain");
	has("say why");
	has("  -v, --verbose");
	has("--timeout DURATION");
	has("Exit codes: 0 ok.");
}

static void test_command(void **state)
{
	print_command(&program, 0);
	has("sinewctl get");
	has("NOUN [NAME...]");
	has("Lists *objects* of a kind.\n\nThe second paragraph.\n");
	has("Also: list ls");
	has("One of: services, policies\n");
	has("  -o, --output FORMAT         how to print: table, json, yaml\n");
	has("      --limit N               at most so many\n");
	has("  -l, --label KEY=VALUE       only with that label\n");
	has("Options of every command");
	has("  -v, --verbose               say more\n");
	has("  sinewctl get services\n  sinewctl get policies -o json\n");
	print_command(&program, 2);
	assert_null(strstr(text, "--output"));
}

static void test_long_text_is_filled(void **state)
{
	struct option_command command = program.commands[0];
	struct option_program one = program;
	char description[1200] = "";

	for (unsigned int i = 0; i < 200; i++)
		(void)snprintf(description + 5 * i, 6, "w%03u ", i);
	command.description = description;
	one.commands = &command;
	one.n_commands = 1;
	print_command(&one, 0);
	for (const char *line = text; *line; line = strchr(line, '\n') + 1)
		assert_in_range(strcspn(line, "\n"), 0, 100);
	for (unsigned int i = 0; i < 200; i++) {
		char word[8];

		(void)snprintf(word, sizeof(word), "w%03u", i);
		has(word);
	}
}

/* scdoc's own signs in a text are escaped, so that they are read as they are written. */
static void test_man(void **state)
{
	print(option_help_man);
	has("# OPTIONS\n");
	has("*-v*, *--verbose*\n\tsay more\n");
	has("*--colour* _WHEN_\n\tit's \\[colour\\]: or not\n");
	has("## get NOUN [NAME...]\n"); /* a heading is taken as it stands */
	has("Lists \\*objects\\* of a kind.");
	has("*-o*, *--output* _FORMAT_\n\thow to print: *table*, *json*, *yaml*\n");
	has("```\nsinewctl get services\n");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_teardown(test_program, tear_down),
		cmocka_unit_test_teardown(test_command, tear_down),
		cmocka_unit_test_teardown(test_long_text_is_filled, tear_down),
		cmocka_unit_test_teardown(test_man, tear_down),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
