/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * daemon/setting: four layers, each over the one before, and each value knows its own.
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

#include "base/cleanup.h"
#include "daemon/setting.h"
#include "folder.h"

static char folder[256];

static int set_up(void **state)
{
	(void)snprintf(folder, sizeof(folder), "%s", folder_make());
	for (int i = 0; i < _SETTING_MAX; i++)
		(void)unsetenv(setting_table[i].env);
	return 0;
}

static int tear_down(void **state)
{
	folder_remove(folder);
	return 0;
}

static int load(struct settings *s, const char *text, const char **ret_said)
{
	int r;

	folder_write(folder, "sinewd.yaml", text);
	folder_listen();
	r = setting_load(s, folder_path(folder, "sinewd.yaml"), true);
	*ret_said = folder_heard();
	return r;
}

static const char *origin(enum setting_key key, struct settings *s)
{
	const char *slash = strrchr(s->origin[key], '/');

	return slash ? slash + 1 : s->origin[key];
}

static void test_table_is_complete(void **state)
{
	for (int i = 0; i < _SETTING_MAX; i++) {
		char env[64] = "SINEWD_";
		size_t n = strlen(env);

		assert_non_null(setting_table[i].key);
		assert_true(*setting_table[i].help);
		/* control.socket <-> SINEWD_CONTROL_SOCKET */
		for (const char *c = setting_table[i].key; *c; c++) {
			if (*c >= 'A' && *c <= 'Z')
				env[n++] = '_';
			env[n++] = (char)(*c == '.' ? '_' : *c >= 'a' && *c <= 'z' ? *c - 32 : *c);
		}
		env[n] = '\0';
		assert_string_equal(setting_table[i].env, env);
		for (int k = 0; k < i; k++)
			assert_string_not_equal(setting_table[i].key, setting_table[k].key);
	}
}

static void test_defaults(void **state)
{
	struct settings s = {};

	assert_int_equal(setting_load(&s, folder_path(folder, "none.yaml"), false), 0);
	for (int i = 0; i < _SETTING_MAX; i++) {
		assert_string_equal(s.text[i], setting_table[i].initial);
		assert_string_equal(s.origin[i], "default");
	}
	setting_done(&s);
}

static void test_layers(void **state)
{
	struct settings s = {};
	const char *said;

	(void)setenv("SINEWD_STATE_DIR", "/env", 1);
	assert_int_equal(load(&s,
			      "control: {socket: /run/a.sock}\nbpffs.dir: /b\n"
			      "state:\n  dir: /file\nlog:\n  level: debug\n",
			      &said),
			 0);
	assert_string_equal(said, "");
	assert_string_equal(s.text[SETTING_CONTROL_SOCKET], "/run/a.sock");
	assert_string_equal(origin(SETTING_CONTROL_SOCKET, &s), "sinewd.yaml:1:11");
	assert_string_equal(s.text[SETTING_BPFFS], "/b");
	assert_string_equal(origin(SETTING_BPFFS, &s), "sinewd.yaml:2:1");
	assert_string_equal(s.text[SETTING_STATE], "/env");
	assert_string_equal(s.origin[SETTING_STATE], "SINEWD_STATE_DIR");
	assert_string_equal(s.text[SETTING_LOG_LEVEL], "debug");
	assert_string_equal(origin(SETTING_LOG_LEVEL, &s), "sinewd.yaml:6:3");
	assert_int_equal(setting_set(&s, SETTING_STATE, "/flag", "--state"), 0);
	assert_string_equal(s.text[SETTING_STATE], "/flag");
	assert_string_equal(s.origin[SETTING_STATE], "--state");
	assert_string_equal(s.origin[SETTING_FLOWS], "default");
	setting_done(&s);
}

static void test_lists(void **state)
{
	struct settings s = {};
	const char *said;

	assert_int_equal(load(&s, "services:\n  allow: [10.0.0.0/8, 'fc00::/7']\n", &said), 0);
	assert_string_equal(s.text[SETTING_ALLOW], "10.0.0.0/8,fc00::/7");
	assert_int_equal(load(&s, "services.allow: []\n", &said), 0);
	assert_string_equal(s.text[SETTING_ALLOW], "");
	setting_done(&s);
}

static void test_empty_file(void **state)
{
	static const char *const texts[] = {"", "\n", "# nothing yet\n", "---\n",
					    "---\n# no\n...\n"};

	for (size_t i = 0; i < ARRAY_SIZE(texts); i++) {
		struct settings s = {};
		const char *said;

		if (load(&s, texts[i], &said) < 0)
			fail_msg("%s: %s", texts[i], said);
		assert_string_equal(said, "");
		assert_string_equal(s.origin[SETTING_STATE], "default");
		setting_done(&s);
	}
}

static void test_errors_name_the_place(void **state)
{
	static const struct {
		const char *text, *says;
	} rows[] = {
		{"a: 1\n", "sinewd.yaml:1:1: unknown setting \"a\""},
		{"log.level: info\nstate:\n  dri: /x\n",
		 "sinewd.yaml:3:3: unknown setting \"state.dri\"; did you mean \"state.dir\"?"},
		{"state:\n  dir: {a: b}\n",
		 "sinewd.yaml:2:3: state.dir must be one value or a list"},
		{"state.dir: [[a]]\n", "sinewd.yaml:1:1: state.dir must be one value or a list"},
		{"- a\n- b\n", "expected settings as \"key: value\""},
		{"just text\n", "expected settings as \"key: value\""},
		{"state: {dir: /x\nlog: 1\n", "sinewd.yaml:"},
		{"a: b: c\n", "sinewd.yaml:1:"},
	};

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct settings s = {};
		const char *said;

		assert_int_equal(load(&s, rows[i].text, &said), -EINVAL);
		if (!strstr(said, rows[i].says))
			fail_msg("%s: it said %s", rows[i].text, said);
		setting_done(&s);
	}
}

/* All that is wrong is said, not the first only. */
static void test_all_errors_are_told(void **state)
{
	struct settings s = {};
	const char *said;

	assert_int_equal(load(&s, "a: 1\nb: 2\nlog: {level: debug, c: 3}\n", &said), -EINVAL);
	assert_non_null(strstr(said, "\"a\""));
	assert_non_null(strstr(said, "\"b\""));
	assert_non_null(strstr(said, "\"log.c\""));
	setting_done(&s);
}

static void test_long_value_is_refused_whole(void **state)
{
	struct settings s = {};
	const char *said;
	char text[6000];

	memset(text, 'a', sizeof(text));
	memcpy(text, "state.dir: /", 12);
	text[sizeof(text) - 1] = '\0';
	assert_int_equal(load(&s, text, &said), -EINVAL);
	assert_string_equal(s.text[SETTING_STATE], setting_table[SETTING_STATE].initial);
	setting_done(&s);
}

static void test_missing_file(void **state)
{
	struct settings s = {};
	const char *said;
	int r;

	folder_listen();
	r = setting_load(&s, folder_path(folder, "none.yaml"), true);
	said = folder_heard();
	assert_int_equal(r, -ENOENT);
	assert_non_null(strstr(said, "none.yaml"));
	setting_done(&s);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_table_is_complete, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_defaults, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_layers, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_lists, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_empty_file, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_errors_name_the_place, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_all_errors_are_told, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_long_value_is_refused_whole, set_up,
						tear_down),
		cmocka_unit_test_setup_teardown(test_missing_file, set_up, tear_down),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
