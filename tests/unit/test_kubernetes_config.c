/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * registry/kubernetes_config and kubernetes_plugin: what a kubeconfig gives, what is refused of it,
 * which of several places wins, what a plugin is run with, and that no text for people holds a
 * secret.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "registry/kubernetes_config.h"
#include "unit/folder.h"

#define KUBECONFIG(cluster, user)                                                                  \
	"apiVersion: v1\nkind: Config\ncurrent-context: here\n"                                    \
	"contexts: [{name: other, context: {cluster: x, user: x}},\n"                              \
	"  {name: here, context: {cluster: c, user: u}}]\n"                                        \
	"clusters: [{name: c, cluster: {server: 'https://10.0.0.1:6443/'" cluster "}}]\n"          \
	"users: [{name: x, user: {token: wrong}}, {name: u, user: {" user "}}]\n"

static int parse(const char *text, struct kubernetes_access *a, char why[static 200])
{
	*a = KUBERNETES_ACCESS_NONE;
	return kubernetes_config_parse(text, strlen(text), "/etc/kube", a, why);
}

static void must_parse(const char *text, struct kubernetes_access *a)
{
	char why[200];

	if (parse(text, a, why) < 0)
		fail_msg("%s: %s", text, why);
}

/* The caller frees. */
static char *content(const char *path)
{
	_cleanup_close_ int fd = open(path, O_RDONLY | O_CLOEXEC);
	char *text = calloc(1, 4096);

	assert_true(fd >= 0);
	assert_non_null(text);
	assert_true(read(fd, text, 4095) >= 0);
	return text;
}

static void test_paths_and_a_token(void **state)
{
	struct kubernetes_access a;

	must_parse(KUBECONFIG(", certificate-authority: ca.crt", "token: abc"), &a);
	assert_string_equal(a.server, "https://10.0.0.1:6443");
	assert_string_equal(a.ca, "/etc/kube/ca.crt");
	assert_string_equal(a.token, "abc");
	assert_null(a.token_file);
	assert_null(a.cert);
	kubernetes_config_done(&a);
	must_parse(KUBECONFIG("", "tokenFile: /run/token, token: abc, client-certificate: a.crt, "
				  "client-key: /b.key"),
		   &a);
	assert_string_equal(a.token_file, "/run/token");
	assert_null(a.token); /* the file wins */
	assert_string_equal(a.cert, "/etc/kube/a.crt");
	assert_string_equal(a.key, "/b.key");
	kubernetes_config_done(&a);
	kubernetes_config_done(&a); /* twice is fine */
}

static void test_data_are_files_in_memory_that_can_be_read_again(void **state)
{
	struct kubernetes_access a;

	must_parse(KUBECONFIG(", certificate-authority: no, certificate-authority-data: 'Q0Eg\n\n  "
			      "dGV4dA=='",
			      "client-certificate-data: Q0VSVA==, client-key-data: S0VZ"),
		   &a);
	for (int i = 0; i < 2; i++) {
		_cleanup_free_ char *ca = content(a.ca), *cert = content(a.cert),
				    *key = content(a.key);

		assert_string_equal(ca, "CA text");
		assert_string_equal(cert, "CERT");
		assert_string_equal(key, "KEY");
	}
	kubernetes_config_done(&a);
}

static void test_what_is_refused_is_named(void **state)
{
	static const struct {
		const char *text;
		int r;
		const char *why;
	} rows[] = {
		{"", -EBADMSG, "no YAML"},
		{"a: [", -EBADMSG, "no YAML"},
		{"{}", -EBADMSG, "no current context"},
		{"[1]", -EBADMSG, "no current context"},
		{"current-context: x", -EBADMSG, "no current context"},
		{"{current-context: x, contexts: [{name: x, context: {cluster: c}}]}", -EBADMSG,
		 "names no server"},
		{KUBECONFIG(", insecure-skip-tls-verify: true", ""), -ENOTSUP,
		 "'insecure-skip-tls-verify'"},
		{KUBECONFIG(", proxy-url: 'http://x'", ""), -ENOTSUP, "'proxy-url'"},
		{KUBECONFIG("", "username: u, password: hidden"), -ENOTSUP, "'username'"},
		{KUBECONFIG("", "auth-provider: {name: gcp}"), -ENOTSUP, "'auth-provider'"},
		{KUBECONFIG("", "as: root"), -ENOTSUP, "'as'"},
		{KUBECONFIG("", "token: 'hidden\\n  x'"), -EBADMSG, "no token has"},
		{KUBECONFIG("", "client-key-data: '!hidden'"), -EBADMSG, "no base64"},
		{KUBECONFIG("", "exec: {command: x}"), -ENOTSUP, "client.authentication.k8s.io/v1"},
		{KUBECONFIG("", "exec: {apiVersion: client.authentication.k8s.io/v1}"), -EBADMSG,
		 "no command"},
		{KUBECONFIG("", "exec: {apiVersion: client.authentication.k8s.io/v1, command: x, "
				"interactiveMode: Always}"),
		 -ENOTSUP, "terminal"},
		{KUBECONFIG("", "exec: {apiVersion: client.authentication.k8s.io/v1, command: x, "
				"args: [1]}"),
		 -EBADMSG, "argument"},
		{KUBECONFIG("", "exec: {apiVersion: client.authentication.k8s.io/v1, command: x, "
				"env: [{name: 'A=B', value: hidden}]}"),
		 -EBADMSG, "variable"},
	};

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct kubernetes_access a;
		char why[200];
		int r = parse(rows[i].text, &a, why);

		if (r != rows[i].r || !strstr(why, rows[i].why) || strstr(why, "hidden"))
			fail_msg("%s: %d %s", rows[i].text, r, why);
	}
}

static void test_false_and_empty_are_as_good_as_absent(void **state)
{
	struct kubernetes_access a;

	must_parse(KUBECONFIG(", insecure-skip-tls-verify: false, proxy-url: ''",
			      "username: '', exec: null, token: t"),
		   &a);
	assert_string_equal(a.token, "t");
	assert_null(a.plugin);
	kubernetes_config_done(&a);
}

/* --- the places ------------------------------------------------------------------------------ */

static void test_agent_yaml_wins_over_a_kubeconfig(void **state)
{
	_cleanup_free_ char *folder = strdup(folder_make()), *want = NULL;
	_cleanup_free_ char *path = strdup(folder_path(folder, "config"));
	struct registry_config config = {.path = path};
	struct kubernetes_access a;
	char why[200];

	folder_write(
		folder, "config",
		KUBECONFIG(
			"",
			"exec: {apiVersion: client.authentication.k8s.io/v1, command: ./plugin}"));
	assert_int_equal(kubernetes_config_read(&config, &a, why), 0);
	assert_non_null(a.plugin);
	assert_true(asprintf(&want, "%s/./plugin", folder) > 0);
	assert_string_equal(a.plugin->args[0], want);
	kubernetes_config_done(&a);
	config.address = (char *)"http://[::1]:1//";
	config.token_file = (char *)"/t";
	config.tls.ca_file = "/ca";
	assert_int_equal(kubernetes_config_read(&config, &a, why), 0);
	assert_null(a.plugin);
	assert_string_equal(a.server, "http://[::1]:1");
	assert_string_equal(a.token_file, "/t");
	assert_string_equal(a.ca, "/ca");
	kubernetes_config_done(&a);
	folder_remove(folder);
	assert_int_equal(kubernetes_config_read(&config, &a, why), -ENOENT);
	assert_non_null(strstr(why, path));
}

static void test_a_pod_finds_its_server_by_its_environment(void **state)
{
	struct registry_config config = {};
	struct kubernetes_access a;
	char why[200];

	(void)unsetenv("KUBERNETES_SERVICE_HOST");
	assert_int_equal(kubernetes_config_read(&config, &a, why), -EINVAL);
	assert_non_null(strstr(why, "KUBERNETES_SERVICE_HOST"));
	(void)setenv("KUBERNETES_SERVICE_HOST", "fd00::1", 1);
	(void)setenv("KUBERNETES_SERVICE_PORT", "443", 1);
	assert_int_equal(kubernetes_config_read(&config, &a, why), 0);
	assert_string_equal(a.server, "https://[fd00::1]:443");
	assert_string_equal(a.token_file, "/var/run/secrets/kubernetes.io/serviceaccount/token");
	assert_non_null(a.ca);
	kubernetes_config_done(&a);
	(void)setenv("KUBERNETES_SERVICE_HOST", "10.0.0.1", 1);
	assert_int_equal(kubernetes_config_read(&config, &a, why), 0);
	assert_string_equal(a.server, "https://10.0.0.1:443");
	kubernetes_config_done(&a);
	(void)unsetenv("KUBERNETES_SERVICE_HOST");
}

/* --- plugins --------------------------------------------------------------------------------- */

#define EXEC(more)                                                                                 \
	KUBECONFIG(                                                                                \
		", certificate-authority-data: Q0E=, extensions: [{name: "                         \
		"client.authentication.k8s.io/exec, extension: {audience: me}}]",                  \
		"exec: {apiVersion: client.authentication.k8s.io/v1, command: get-token, args: "   \
		"[a, 'b c'], env: [{name: PROFILE, value: prod}], installHint: \"apt install x"    \
		"\\nor so\"" more "}")

static void test_what_a_plugin_is_run_with(void **state)
{
	struct kubernetes_access a;

	must_parse(EXEC(""), &a);
	assert_string_equal(a.plugin->args[0], "get-token");
	assert_string_equal(a.plugin->args[1], "a");
	assert_string_equal(a.plugin->args[2], "b c");
	assert_null(a.plugin->args[3]);
	assert_string_equal(
		a.plugin->env[0],
		"KUBERNETES_EXEC_INFO={\"kind\":\"ExecCredential\",\"apiVersion\":"
		"\"client.authentication.k8s.io/v1\",\"spec\":{\"interactive\":false}}");
	assert_string_equal(a.plugin->env[1], "PROFILE=prod");
	assert_null(a.plugin->env[2]);
	assert_string_equal(a.plugin->hint, "apt install x");
	kubernetes_config_done(&a);
	must_parse(EXEC(", provideClusterInfo: true"), &a);
	assert_non_null(strstr(a.plugin->env[0],
			       "\"cluster\":{\"server\":\"https://10.0.0.1:6443/\","
			       "\"certificate-authority-data\":\"Q0E=\","
			       "\"config\":{\"audience\":\"me\"}}"));
	kubernetes_config_done(&a);
}

#define SAID(status)                                                                               \
	"{\"kind\":\"ExecCredential\",\"apiVersion\":\"client.authentication.k8s.io/v1\","         \
	"\"status\":{" status "}}"

static void test_what_a_plugin_says(void **state)
{
	static const struct {
		const char *text;
		int r;
		uint64_t expires_ms;
	} rows[] = {
		{SAID("\"token\":\"t\""), 0, 0},
		{SAID("\"token\":\"t\",\"expirationTimestamp\":\"1970-01-02T00:00:00Z\""), 0,
		 86400000},
		{SAID("\"token\":\"t\",\"expirationTimestamp\":\"1970-01-02T01:00:00.9+01:00\""), 0,
		 86400000},
		{SAID("\"token\":\"t\",\"expirationTimestamp\":\"1970-01-01T23:30:00-00:30\""), 0,
		 86400000},
		{SAID("\"token\":\"t\",\"expirationTimestamp\":\"tomorrow\""), -EBADMSG, 0},
		{SAID("\"clientCertificateData\":\"C\",\"clientKeyData\":\"K\""), 0, 0},
		{SAID("\"clientCertificateData\":\"C\""), -EBADMSG, 0},
		{SAID("\"token\":\"t\",\"clientKeyData\":\"hidden\""), -EBADMSG, 0},
		{SAID("\"token\":\"hidden\\nX: y\""), -EBADMSG, 0},
		{SAID("\"token\":\"\""), -EBADMSG, 0},
		{SAID("\"token\":7"), -EBADMSG, 0},
		{SAID(""), -EBADMSG, 0},
		{"{\"kind\":\"ExecCredential\",\"apiVersion\":\"client.authentication.k8s.io/"
		 "v1beta1\",\"status\":{\"token\":\"hidden\"}}",
		 -EBADMSG, 0},
		{"hidden", -EBADMSG, 0},
		{"", -EBADMSG, 0},
	};

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct kubernetes_credential c = {};
		char why[200];
		int r = kubernetes_credential_decode(rows[i].text, strlen(rows[i].text),
						     "client.authentication.k8s.io/v1", &c, why);

		if (r != rows[i].r || c.expires_ms != rows[i].expires_ms || strstr(why, "hidden"))
			fail_msg("%s: %d %s", rows[i].text, r, why);
		kubernetes_credential_done(&c);
	}
}

static void test_new_credentials_leave_older_paths_to_those_who_connect(void **state)
{
	struct kubernetes_credential c = {.cert = (char *)"C1", .key = (char *)"K1"};
	_cleanup_free_ char *path = NULL, *old = NULL, *now = NULL;
	struct kubernetes_access a;

	must_parse(EXEC(""), &a);
	assert_int_equal(kubernetes_config_take(&a, &c), 0);
	path = strdup(a.cert);
	c = (struct kubernetes_credential){.cert = (char *)"C2", .key = (char *)"K2"};
	assert_int_equal(kubernetes_config_take(&a, &c), 0);
	assert_string_not_equal(path, a.cert);
	old = content(path);
	now = content(a.cert);
	assert_string_equal(old, "C1");
	assert_string_equal(now, "C2");
	c = (struct kubernetes_credential){.token = (char *)"t"};
	assert_int_equal(kubernetes_config_take(&a, &c), 0);
	assert_null(a.cert);
	assert_string_equal(a.token, "t");
	kubernetes_config_done(&a);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_paths_and_a_token),
		cmocka_unit_test(test_data_are_files_in_memory_that_can_be_read_again),
		cmocka_unit_test(test_what_is_refused_is_named),
		cmocka_unit_test(test_false_and_empty_are_as_good_as_absent),
		cmocka_unit_test(test_agent_yaml_wins_over_a_kubeconfig),
		cmocka_unit_test(test_a_pod_finds_its_server_by_its_environment),
		cmocka_unit_test(test_what_a_plugin_is_run_with),
		cmocka_unit_test(test_what_a_plugin_says),
		cmocka_unit_test(test_new_credentials_leave_older_paths_to_those_who_connect),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
