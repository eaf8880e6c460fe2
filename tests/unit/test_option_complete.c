/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * base/option_complete: bash answers as it should, and the other shells' scripts hold the table.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "folder.h"
#include "program.h"

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

static char *script_of(const char *shell)
{
	char *text = NULL;
	size_t size;
	FILE *f = open_memstream(&text, &size);

	assert_non_null(f);
	assert_int_equal(option_complete(f, &program, shell), 0);
	assert_int_equal(fclose(f), 0);
	return text;
}

/* Sources the script in a bash, presses TAB behind the words, and gives what was offered. */
static char *press_tab(const char *words)
{
	_cleanup_free_ char *script = script_of("bash");
	char *offered;
	int status;
	pid_t pid;

	folder_write(folder, "completion", script);
	folder_write(folder, "tab",
		     ". \"$1/completion\" || exit 9\n"
		     "read -ra COMP_WORDS <<<\"$2\"\n"
		     "case \"$2\" in *' ') COMP_WORDS+=('') ;; esac\n"
		     "COMP_CWORD=$((${#COMP_WORDS[@]} - 1))\n"
		     "sinewctl() { echo \"live-$2\"; }\n"
		     "_sinewctl\n"
		     "echo \"${COMPREPLY[*]}\" >\"$1/offered\"\n");
	pid = fork();
	assert_true(pid >= 0);
	if (!pid) {
		(void)execlp("bash", "bash", "--norc", folder_path(folder, "tab"), folder, words,
			     (char *)NULL);
		_exit(127);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
	offered = folder_read(folder, "offered");
	assert_non_null(offered);
	return offered;
}

static void test_bash(void **state)
{
	static const char *const rows[][2] = {
		{"sinewctl ", "get apply explain\n"},
		{"sinewctl ex", "explain\n"},
		{"sinewctl get ", "services policies\n"},
		{"sinewctl ls pol", "policies\n"},
		{"sinewctl get -o ", "table json yaml\n"},
		{"sinewctl get --output j", "json\n"},
		{"sinewctl get --li", "--limit\n"},
		{"sinewctl get --verb", "--verbose\n"},
		{"sinewctl apply --li", "\n"},
		{"sinewctl get --colour ", "auto never\n"},
		{"sinewctl get services ", "live-services\n"},
		{"sinewctl get --timeout ", "\n"},
	};

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		_cleanup_free_ char *offered = press_tab(rows[i][0]);

		if (strcmp(offered, rows[i][1]) != 0)
			fail_msg("\"%s\": %s", rows[i][0], offered);
	}
}

static void test_other_shells(void **state)
{
	_cleanup_free_ char *zsh = script_of("zsh"), *fish = script_of("fish");

	assert_non_null(strstr(zsh, "#compdef sinewctl\n"));
	assert_non_null(strstr(zsh, "'get:list what is there'"));
	assert_non_null(strstr(zsh, "get|list|ls)"));
	assert_non_null(strstr(zsh, "'*--output[how to print]:FORMAT:(table json yaml)'"));
	assert_non_null(strstr(zsh, "it'\\''s \\[colour\\]\\: or not"));
	assert_non_null(strstr(fish, "complete -c sinewctl -n __fish_use_subcommand -a get -d "
				     "'list what is there'\n"));
	assert_non_null(strstr(fish, "-l output -s o -x -a 'table json yaml' -d 'how to print'\n"));
	assert_non_null(strstr(fish, "-l file -s f -rF"));
	assert_non_null(strstr(fish, "'it'\\''s [colour]: or not'"));
}

static void test_unknown_shell(void **state)
{
	char *text = NULL;
	size_t size;
	FILE *f = open_memstream(&text, &size);

	assert_non_null(f);
	assert_int_equal(option_complete(f, &program, "tcsh"), -EINVAL);
	assert_int_equal(fclose(f), 0);
	assert_string_equal(text, "");
	free(text);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_bash, set_up, tear_down),
		cmocka_unit_test(test_other_shells),
		cmocka_unit_test(test_unknown_shell),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
