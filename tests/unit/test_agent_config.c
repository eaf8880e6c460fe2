/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * agent/config: five lines are enough; every mistake is told with its place.
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

#include "agent/config.h"
#include "folder.h"
#include "registry/registry_config.h"

static char folder[256];
static char error[AGENT_CONFIG_ERROR]; /* the first one of the last file */

/* In place of the real table, which knows every kind that was built. */
const struct registry_kind *registry_kind_find(const char *type)
{
	static const struct registry_kind kind = {.type = "consul"};

	return strcmp(type, kind.type) == 0 ? &kind : NULL;
}

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

static int load(struct agent_config *c, const char *text, const char **ret_said)
{
	int r;

	folder_write(folder, "agent.yaml", text);
	folder_listen();
	r = agent_config_load(folder_path(folder, "agent.yaml"), true, c, error);
	*ret_said = folder_heard();
	return r;
}

static void test_two_lines_follow_a_registry_with_defaults(void **state)
{
	struct agent_config c;
	const char *said;

	assert_int_equal(load(&c,
			      "registries:\n"
			      "  - {name: dc1, type: consul, address: \"http://127.0.0.1:8500\"}\n",
			      &said),
			 0);
	assert_string_equal(said, "");
	assert_int_equal(c.n_registries, 1);
	assert_string_equal(c.registries[0].name, "dc1");
	assert_string_equal(c.registries[0].type, "consul");
	assert_string_equal(c.registries[0].address, "http://127.0.0.1:8500");
	assert_int_equal(c.registries[0].stale_ms, 60000);
	assert_int_equal(c.registries[0].on_stale, STALE_KEEP);
	assert_null(c.registries[0].token_file);
	assert_string_equal(c.control_socket, "/run/sinew/control.sock");
	assert_string_equal(c.metrics, "127.0.0.1:9464");
	assert_int_equal(c.coalesce_ms, 50);
	assert_string_equal(c.dns_address, "");
	assert_int_equal(c.n_dns_aliases, 0);
	assert_int_equal(c.n_dns_forward, 1);
	assert_string_equal(c.dns_forward[0], "refuse");
	assert_int_equal(agent_config_level(&c), LOG_INFO);
	agent_config_done(&c);
}

static void test_every_key_arrives(void **state)
{
	struct agent_config c;
	const char *said;

	assert_int_equal(load(&c,
			      "control: {socket: /a}\n"
			      "agent.socket: /b\n"
			      "state.dir: /c\n"
			      "metrics: {address: \"\"}\n"
			      "log: {level: debug, format: json}\n"
			      "coalesce: 0\n"
			      "dns: {address: \"127.0.0.153:53\", domain: svc, ttl: 30s}\n"
			      "dns.aliases: [\"*.service.consul\", \"*.x\"]\n"
			      "dns.forward: [10.0.0.2, \"[fd00::1]:5353\"]\n"
			      "registries:\n"
			      "- {name: z, type: consul}\n"
			      "- name: a\n"
			      "  type: consul\n"
			      "  tokenFile: /t\n"
			      "  username: u\n"
			      "  passwordFile: /p\n"
			      "  caFile: /ca\n"
			      "  certFile: /ce\n"
			      "  keyFile: /k\n"
			      "  onStale: drain\n"
			      "  staleAfter: 5m\n"
			      "  interval: 30s\n"
			      "  select: [\"pay*\", shop]\n"
			      "  path: \"\"\n"
			      "  prefix: sinew/\n"
			      "  namespace: n\n"
			      "  datacenter: D_1\n"
			      "  remoteNamespace: r\n"
			      "  zone: z1\n"
			      "  nodeAddress: 10.0.0.9\n"
			      "  names: [a.x, b=_c._tcp.x]\n"
			      "  external: true\n",
			      &said),
			 0);
	assert_string_equal(said, "");
	assert_string_equal(c.control_socket, "/a");
	assert_string_equal(c.agent_socket, "/b");
	assert_string_equal(c.state, "/c");
	assert_string_equal(c.metrics, "");
	assert_int_equal(agent_config_level(&c), LOG_DEBUG);
	assert_int_equal(c.coalesce_ms, 0);
	assert_string_equal(c.dns_address, "127.0.0.153:53");
	assert_string_equal(c.dns_domain, "svc");
	assert_int_equal(c.dns_ttl_ms, 30000);
	assert_int_equal(c.n_dns_aliases, 2);
	assert_string_equal(c.dns_aliases[1], "*.x");
	assert_int_equal(c.n_dns_forward, 2);
	assert_string_equal(c.dns_forward[1], "[fd00::1]:5353");
	assert_int_equal(c.n_registries, 2);
	assert_string_equal(c.registries[1].token_file, "/t");
	assert_string_equal(c.registries[1].tls.key_file, "/k");
	assert_int_equal(c.registries[1].on_stale, STALE_DRAIN);
	assert_int_equal(c.registries[1].stale_ms, 300000);
	assert_int_equal(c.registries[1].interval_ms, 30000);
	assert_int_equal(c.registries[1].n_select, 2);
	assert_string_equal(c.registries[1].select[0], "pay*");
	assert_string_equal(c.registries[1].path, "");
	assert_string_equal(c.registries[1].datacenter, "D_1");
	assert_string_equal(c.registries[1].node_address, "10.0.0.9");
	assert_int_equal(c.registries[1].n_names, 2);
	assert_string_equal(c.registries[1].names[1], "b=_c._tcp.x");
	assert_true(c.registries[1].external);
	agent_config_done(&c);
}

static void test_mistakes_are_told_with_their_place(void **state)
{
	static const struct {
		const char *text, *said;
	} cases[] = {
		{"registris: []\n",
		 "agent.yaml:1:1: unknown key \"registris\"; did you mean \"registries\"?"},
		{"control: {sockt: /x}\n",
		 ":1:11: unknown key \"control.sockt\"; did you mean \"control.socket\"?"},
		{"registries:\n- {name: a, type: consul, tokenfile: /x}\n",
		 ":2:27: unknown key \"tokenfile\"; did you mean \"tokenFile\"?"},
		{"registries:\n- {name: a, type: consul, token: s}\n",
		 ":2:27: unknown key \"token\""},
		{"registries:\n- {name: a, type: zookeeper}\n",
		 ":2:19: \"zookeeper\" is no type of a registry"},
		{"registries:\n- {name: A, type: consul}\n",
		 ":2:10: name is \"A\", expected lower-case"},
		{"registries:\n- {type: consul}\n", ":2:3: a registry needs a name and a type"},
		{"registries:\n- {name: a, type: consul}\n- {name: a, type: consul}\n",
		 ":3:10: there is a registry \"a\" already"},
		{"registries:\n- {name: a, type: consul, onStale: never}\n",
		 ":2:36: onStale is \"never\", expected one of keep drain fail"},
		{"registries:\n- {name: a, type: consul, staleAfter: 60}\n",
		 ":2:39: staleAfter is \"60\", expected a duration"},
		{"registries:\n- {name: a, type: consul, staleAfter: 0}\n",
		 ":2:39: staleAfter must be at least 2s"},
		{"registries:\n- {name: a, type: consul, staleAfter: 1999ms}\n",
		 ":2:39: staleAfter must be at least 2s"},
		{"registries:\n- {name: a, type: consul, certFile: /x}\n",
		 "certFile and keyFile go together"},
		{"registries:\n- {name: a, type: consul, caFile: x}\n",
		 "caFile is \"x\", expected an absolute path"},
		{"registries:\n- {name: a, type: consul, select: pay}\n",
		 "select must be a list of texts"},
		{"registries:\n- {name: a, type: consul, external: no}\n",
		 "external is \"no\", expected true or false"},
		{"registries:\n- {name: a, type: consul, address: {a: b}}\n",
		 "address must be one value"},
		{"registries:\n- {name: a, type: consul, address: \"http://u:secret@h:1/\"}\n",
		 ":2:36: credentials do not belong into an address"},
		{"registries:\n- consul\n", "a registry is written {name: ..., type: ...}"},
		{"registries: consul\n", ":1:13: registries must be a list"},
		{"dns.aliases: x\n", "dns.aliases must be a list of texts"},
		{"dns.forward: [{a: b}]\n", "dns.forward holds up to 1024 texts"},
		{"dns: {forward: {a: b}}\n", "dns.forward must be a list of texts"},
		{"log.level: loud\n",
		 ":1:12: log.level is \"loud\", expected one of error warning"},
		{"coalesce: 5\n", "coalesce is \"5\", expected a duration"},
		{"- a\n", "expected settings as \"key: value\""},
		{"a: [\n", "agent.yaml:"},
		{"coalesce: 1s\n---\ncoalesce: 2s\n", "a second document"},
	};
	struct agent_config c;
	const char *said;

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		assert_int_equal(load(&c, cases[i].text, &said), -EINVAL);
		if (!strstr(said, cases[i].said))
			fail_msg("case %zu said: %s", i, said);
		assert_null(strstr(said, "secret"));
		assert_non_null(strstr(said, error)); /* what is shown is what is logged */
	}
}

/* The same file with one line more, or another. */
static void test_a_registry_is_another_by_each_key_that_its_source_looks_at(void **state)
{
	static const struct {
		const char *key;
		bool another, elsewhere;
	} cases[] = {
		{"zone: z", true, false},
		{"namespace: n", true, false},
		{"tokenFile: /t", true, false},
		{"username: u", true, false},
		{"passwordFile: /p", true, false},
		{"caFile: /c", true, false},
		{"certFile: /c, keyFile: /k", true, false},
		{"select: [a]", true, false},
		{"names: [a]", true, false},
		{"interval: 5s", true, false},
		{"staleAfter: 5s", true, false},
		{"nodeAddress: 10.0.0.1", true, false},
		{"external: true", true, false},
		{"pods: true", true, false},
		{"kubelet: \"https://k\"", true, false},
		{"onStale: fail", false, false},
		{"address: \"http://x\"", true, true},
		{"path: /p", true, true},
		{"prefix: p", true, true},
		{"datacenter: d", true, true},
		{"remoteNamespace: r", true, true},
	};
	struct agent_config a, b, c;
	char text[200];
	const char *said;

	assert_int_equal(load(&a, "registries: [{name: a, type: consul}]\n", &said), 0);
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		(void)snprintf(text, sizeof(text), "registries: [{name: a, type: consul, %s}]\n",
			       cases[i].key);
		assert_int_equal(load(&b, text, &said), 0);
		assert_int_equal(load(&c, text, &said), 0);
		if (registry_config_is_equal(&a.registries[0], &b.registries[0]) ==
			    cases[i].another ||
		    registry_config_is_same_place(&a.registries[0], &b.registries[0]) ==
			    cases[i].elsewhere)
			fail_msg("%s", cases[i].key);
		assert_true(registry_config_is_equal(&c.registries[0], &b.registries[0]));
		assert_true(registry_config_is_same_place(&c.registries[0], &b.registries[0]));
		agent_config_done(&b);
		agent_config_done(&c);
	}
	agent_config_done(&a);
}

static void test_settings_that_need_a_restart_are_told_from_those_that_do_not(void **state)
{
	struct agent_config a, b;
	const char *said;
	char fixed[300];

	assert_int_equal(load(&a, "coalesce: 1s\n", &said), 0);
	assert_int_equal(load(&b,
			      "coalesce: 2s\nlog: {level: debug, format: json}\n"
			      "dns: {address: 127.0.0.1:53, ttl: 1s, forward: [10.0.0.1]}\n"
			      "metrics.address: 127.0.0.1:9\nnode.name: n\n",
			      &said),
			 0);
	agent_config_list_fixed(&a, &b, fixed, sizeof(fixed));
	assert_string_equal(fixed, "metrics.address, dns.address, dns.ttl, dns.forward, node.name");
	agent_config_list_fixed(&b, &b, fixed, sizeof(fixed));
	assert_string_equal(fixed, "");
	agent_config_list_fixed(&a, &b, fixed, 20);
	assert_string_equal(fixed, "metrics.address, dn");
	agent_config_done(&a);
	agent_config_done(&b);
}

static void test_a_config_that_several_hold_ends_with_the_last(void **state)
{
	struct registry_config *c, *other, loose = {};
	struct agent_config a;
	const char *said;

	assert_int_equal(load(&a, "registries: [{name: a, type: consul, names: [x]}]\n", &said), 0);
	c = registry_config_take(&a.registries[0]);
	agent_config_done(&a);
	other = registry_config_ref(c);
	registry_config_unref(c);
	assert_string_equal(other->name, "a");
	registry_config_unref(other); /* a leak, or a second free, is the sanitizer's */
	registry_config_unref(NULL);
	registry_config_unref(registry_config_ref(&loose)); /* not counted: the test's own */
	registry_config_unref(&loose);
}

static void test_more_registries_than_the_limit_are_refused(void **state)
{
	char text[4096] = "registries:\n";
	struct agent_config c;
	const char *said;

	for (int i = 0; i <= 32; i++)
		(void)snprintf(text + strlen(text), sizeof(text) - strlen(text),
			       "- {name: r%d, type: consul}\n", i);
	assert_int_equal(load(&c, text, &said), -EINVAL);
	assert_non_null(strstr(said, ":34:3: more than 32 registries"));
}

static void test_a_missing_file_is_fine_unless_it_was_named(void **state)
{
	struct agent_config c;

	assert_int_equal(agent_config_load(folder_path(folder, "none"), false, &c, error), 0);
	assert_int_equal(c.n_registries, 0);
	agent_config_done(&c);
	folder_listen();
	assert_int_equal(agent_config_load(folder_path(folder, "none"), true, &c, error), -ENOENT);
	assert_non_null(strstr(folder_heard(), "cannot read"));
}

static void test_the_command_line_is_over_the_file(void **state)
{
	struct agent_config c;
	const char *said;

	assert_int_equal(load(&c, "coalesce: 1s\n", &said), 0);
	assert_int_equal(agent_config_set(&c, "coalesce=2s", "--set"), 0);
	assert_int_equal(c.coalesce_ms, 2000);
	folder_listen();
	assert_int_equal(agent_config_set(&c, "dns.forward=10.0.0.2,[::1]:53", "--set"), 0);
	assert_int_equal(c.n_dns_forward, 2);
	assert_string_equal(c.dns_forward[1], "[::1]:53");
	assert_int_equal(agent_config_set(&c, "coalesc=2s", "--set"), -EINVAL);
	assert_non_null(strstr(folder_heard(), "did you mean \"coalesce\"?"));
	folder_listen();
	assert_int_equal(agent_config_set(&c, "state.dir=x", "--set"), -EINVAL);
	assert_non_null(strstr(folder_heard(), "expected an absolute path"));
	agent_config_done(&c);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_two_lines_follow_a_registry_with_defaults),
		cmocka_unit_test(test_every_key_arrives),
		cmocka_unit_test(test_mistakes_are_told_with_their_place),
		cmocka_unit_test(test_a_registry_is_another_by_each_key_that_its_source_looks_at),
		cmocka_unit_test(test_settings_that_need_a_restart_are_told_from_those_that_do_not),
		cmocka_unit_test(test_a_config_that_several_hold_ends_with_the_last),
		cmocka_unit_test(test_more_registries_than_the_limit_are_refused),
		cmocka_unit_test(test_a_missing_file_is_fine_unless_it_was_named),
		cmocka_unit_test(test_the_command_line_is_over_the_file),
	};

	return cmocka_run_group_tests(tests, set_up, tear_down);
}
