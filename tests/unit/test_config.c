/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * daemon/config: what the settings' texts mean, and what is said of those that mean nothing.
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
#include <sys/stat.h>

#include "base/cleanup.h"
#include "daemon/setting.h"
#include "folder.h"

static void load(struct settings *s)
{
	*s = (struct settings){};
	for (int i = 0; i < _SETTING_MAX; i++) {
		(void)unsetenv(setting_table[i].env);
		assert_int_equal(setting_set(s, (enum setting_key)i, setting_table[i].initial, "d"),
				 0);
	}
}

static void test_defaults_are_good(void **state)
{
	char text[ADDRESS_TEXT];
	struct settings s;
	struct config c;

	load(&s);
	assert_int_equal(config_parse(&s, &c), 0);
	assert_string_equal(c.control_socket, "/run/sinew/control.sock");
	assert_string_equal(c.status_socket, "/run/sinew/status.sock");
	assert_string_equal(c.bpffs, "/sys/fs/bpf/sinew");
	assert_string_equal(c.state, "/var/lib/sinew");
	assert_null(c.cgroup);
	assert_int_equal(c.n_allow, 5);
	assert_string_equal(prefix_format(&c.allow[4], text), "fc00::/7");
	assert_string_equal(prefix_format(&c.pool4, text), "127.128.0.0/9");
	assert_string_equal(prefix_format(&c.pool6, text), "fd73:696e:6577::/64");
	assert_int_equal(c.bypass_mark, 0);
	assert_int_equal(c.n_bypass_cgroups, 0);
	assert_true(c.kernel_sockets);
	assert_int_equal(c.flows, 131072);
	assert_int_equal(c.series, 20000);
	assert_true(c.node[0]); /* the host's */
	assert_string_equal(c.zone, "");
	assert_false(c.backend_label || c.run_time);
	assert_int_equal(c.log_level, LOG_INFO);
	assert_int_equal(c.log_format, LOG_FORMAT_AUTO);
	assert_false(c.failover_off || c.n_failover || c.failover_attach);
	config_done(&c);
	setting_done(&s);
}

static void test_values(void **state)
{
	struct settings s;
	struct config c;

	load(&s);
	(void)setting_set(&s, SETTING_ALLOW, "10.0.0.0/8, 192.168.1.1 ,,", "x");
	(void)setting_set(&s, SETTING_BYPASS_MARK, "0x10", "x");
	(void)setting_set(&s, SETTING_FLOWS, "1024", "x");
	(void)setting_set(&s, SETTING_NODE_NAME, "n1.rack-7.example", "x");
	(void)setting_set(&s, SETTING_NODE_ZONE, "eu-1a", "x");
	(void)setting_set(&s, SETTING_LOG_LEVEL, "debug", "x");
	(void)setting_set(&s, SETTING_LOG_FORMAT, "json", "x");
	(void)setting_set(&s, SETTING_KERNEL_SOCKETS, "false", "x");
	(void)setting_set(&s, SETTING_CGROUP, "/sys/fs/cgroup/x", "x");
	(void)setting_set(&s, SETTING_BYPASS_CGROUPS, "/sys/fs/cgroup/a, /b", "x");
	assert_int_equal(config_parse(&s, &c), 0);
	assert_int_equal(c.n_allow, 2);
	assert_int_equal(c.allow[1].bits, 128);
	assert_int_equal(c.n_bypass_cgroups, 2);
	assert_string_equal(c.bypass_cgroups[0], "/sys/fs/cgroup/a");
	assert_string_equal(c.bypass_cgroups[1], "/b");
	assert_int_equal(c.bypass_mark, 16);
	assert_int_equal(c.flows, 1024);
	assert_string_equal(c.node, "n1.rack-7.example");
	assert_string_equal(c.zone, "eu-1a");
	assert_int_equal(c.log_level, LOG_DEBUG);
	assert_int_equal(c.log_format, LOG_FORMAT_JSON);
	assert_false(c.kernel_sockets);
	assert_string_equal(c.cgroup, "/sys/fs/cgroup/x");
	config_done(&c);
	setting_done(&s);
}

/* Each refusal names where the value came from, the setting, the value and what was expected. */
static void test_bad_values(void **state)
{
	static const struct {
		enum setting_key key;
		const char *text, *says;
	} rows[] = {
		{SETTING_CONTROL_SOCKET, "run/a", "an absolute path"},
		{SETTING_CONTROL_SOCKET, "", "an absolute path"},
		{SETTING_STATUS_SOCKET, "a", "an absolute path"},
		{SETTING_BPFFS, "bpf", "an absolute path"},
		{SETTING_STATE, "~/x", "an absolute path"},
		{SETTING_CGROUP, "x", "an absolute path"},
		{SETTING_ALLOW, "10.0.0.0/8,10/8", "prefixes"},
		{SETTING_POOL4, "127.128.0.0/31", "at most 30 bits"},
		{SETTING_POOL4, "fd00::/64", "an IPv4 prefix"},
		{SETTING_POOL4, "", "an IPv4 prefix"},
		{SETTING_POOL6, "fd00::/65", "at most 64 bits"},
		{SETTING_POOL6, "10.0.0.0/8", "an IPv6 prefix"},
		{SETTING_BYPASS_MARK, "4294967296", "a number in range"},
		{SETTING_BYPASS_MARK, "-1", "a number in range"},
		{SETTING_BYPASS_MARK, " -1", "a number in range"},
		{SETTING_BYPASS_MARK, "1x", "a number in range"},
		{SETTING_BYPASS_MARK, "", "a number in range"},
		{SETTING_BYPASS_CGROUPS, "/a,b", "cgroups"},
		{SETTING_KERNEL_SOCKETS, "yes", "true or false"},
		{SETTING_FLOWS, "1000", "a power of two from 1024 to 16777216"},
		{SETTING_FLOWS, "512", "a power of two from 1024 to 16777216"},
		{SETTING_FLOWS, "33554432", "a number in range"},
		{SETTING_NODE_NAME, "Node", "lower-case letters"},
		{SETTING_NODE_NAME, "a..b", "single dots between"},
		{SETTING_NODE_NAME, "a.-b", "single dots between"},
		{SETTING_NODE_NAME, "a-.b", "single dots between"},
		{SETTING_NODE_NAME, "a.", "single dots between"},
		{SETTING_NODE_ZONE, "a.b", "lower-case letters"},
		{SETTING_NODE_ZONE, "-a", "inner"},
		{SETTING_NODE_ZONE, "a_b", "lower-case letters"},
		{SETTING_SERIES, "99999999999", "a number in range"},
		{SETTING_BACKEND_LABEL, "1", "true or false"},
		{SETTING_RUN_TIME, "TRUE", "true or false"},
		{SETTING_LOG_LEVEL, "verbose", "error, warning, notice, info or debug"},
		{SETTING_LOG_FORMAT, "ecs", "auto, text or json"},
		{SETTING_FAILOVER_INTERFACES, "", "names of network interfaces"},
		{SETTING_FAILOVER_INTERFACES, "eth0,auto", "names of network interfaces"},
		{SETTING_FAILOVER_INTERFACES, "off,eth0", "names of network interfaces"},
		{SETTING_FAILOVER_INTERFACES, "a/b", "names of network interfaces"},
		{SETTING_FAILOVER_INTERFACES, "sixteen_letters_", "names of network interfaces"},
		{SETTING_FAILOVER_ATTACH, "xdp", "tcx or clsact"},
	};

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct settings s;
		struct config c = {.n_allow = 77};
		char start[128];
		const char *said;
		int r;

		load(&s);
		(void)setting_set(&s, rows[i].key, rows[i].text, "/etc/x.yaml:7:3");
		folder_listen();
		r = config_parse(&s, &c);
		said = folder_heard();
		(void)snprintf(start, sizeof(start), "/etc/x.yaml:7:3: %s is \"%s\"",
			       setting_table[rows[i].key].key, rows[i].text);
		if (r != -EINVAL || c.n_allow != 77 || !strstr(said, start) ||
		    !strstr(said, rows[i].says))
			fail_msg("%s \"%s\": %d, %s", setting_table[rows[i].key].key, rows[i].text,
				 r, said);
		setting_done(&s);
	}
}

static void test_where_connects_may_fail_over(void **state)
{
	struct settings s;
	struct config c;

	load(&s);
	(void)setting_set(&s, SETTING_FAILOVER_INTERFACES, "off", "x");
	assert_int_equal(config_parse(&s, &c), 0);
	assert_true(c.failover_off);
	config_done(&c);
	(void)setting_set(&s, SETTING_FAILOVER_INTERFACES, "lo, veth*", "x");
	(void)setting_set(&s, SETTING_FAILOVER_ATTACH, "clsact", "x");
	assert_int_equal(config_parse(&s, &c), 0);
	assert_false(c.failover_off);
	assert_int_equal(c.n_failover, 2);
	assert_string_equal(c.failover[0], "lo");
	assert_string_equal(c.failover[1], "veth*");
	assert_int_equal(c.failover_attach, 2);
	config_done(&c);
	setting_done(&s);
}

static void test_cgroup2_mount(void **state)
{
	_cleanup_free_ char *path = NULL;
	struct stat st;
	int r = config_find_cgroup2(&path);

	if (r == -ENOENT) {
		assert_null(path);
		return;
	}
	assert_int_equal(r, 0);
	assert_int_equal(stat(folder_path(path, "cgroup.controllers"), &st), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_defaults_are_good),
		cmocka_unit_test(test_values),
		cmocka_unit_test(test_bad_values),
		cmocka_unit_test(test_where_connects_may_fail_over),
		cmocka_unit_test(test_cgroup2_mount),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
