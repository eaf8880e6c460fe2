/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * See kubernetes_plugin.h. It must never put anything that a plugin said into a text for people.
 */
#include "registry/kubernetes_plugin.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "base/base64.h"
#include "base/file.h"
#include "registry/registry.h"

#define TEXT 200
#define WORDS 256 /* arguments, and variables */
#define CA_MAX (1u << 20)
#define GROUP "client.authentication.k8s.io/"

DEFINE_CLEANUP(yyjson_doc *, yyjson_doc_free);
DEFINE_CLEANUP(yyjson_mut_doc *, yyjson_mut_doc_free);

__attribute__((format(printf, 3, 4))) static int fail(char *text, int error, const char *format,
						      ...)
{
	va_list args;

	va_start(args, format);
	(void)vsnprintf(text, TEXT, format, args);
	va_end(args);
	return error;
}

static void free_words(char **words)
{
	for (char **w = words; w && *w; w++)
		registry_forget(*w);
	free((void *)words);
}

struct kubernetes_plugin *kubernetes_plugin_free(struct kubernetes_plugin *p)
{
	if (!p)
		return NULL;
	free_words(p->args);
	free_words(p->env);
	free(p->version);
	free(p->hint);
	free(p);
	return NULL;
}

/* --- what is to be run ----------------------------------------------------------------------- */

static const char *string(yyjson_val *from, const char *key)
{
	yyjson_val *value = yyjson_obj_get(from, key);

	return yyjson_is_str(value) && strlen(yyjson_get_str(value)) == yyjson_get_len(value)
		       ? yyjson_get_str(value)
		       : NULL;
}

/* A command with a slash in it is the kubeconfig's neighbour, one without is found by PATH. */
static char *make_command(const char *command, const char *folder)
{
	char *path = NULL;

	if (*command == '/' || !strchr(command, '/') || !folder || !*folder)
		return strdup(command);
	return asprintf(&path, "%s/%s", folder, command) < 0 ? NULL : path;
}

static int read_args(struct kubernetes_plugin *p, yyjson_val *exec, const char *folder, char *text)
{
	yyjson_val *args = yyjson_obj_get(exec, "args"), *one;
	const char *command = string(exec, "command");
	size_t i, max, n = 0;

	if (!command || !*command)
		return fail(text, -EBADMSG, "the kubeconfig's plugin has no command");
	if (yyjson_arr_size(args) > WORDS)
		return fail(text, -EBADMSG, "the kubeconfig's plugin has too many arguments");
	p->args = calloc(yyjson_arr_size(args) + 2, sizeof(char *));
	if (!p->args)
		return -ENOMEM;
	p->args[n++] = make_command(command, folder);
	if (!p->args[0])
		return -ENOMEM;
	if (yyjson_is_arr(args))
		yyjson_arr_foreach (args, i, max, one) {
			if (!yyjson_is_str(one))
				return fail(text, -EBADMSG,
					    "an argument of the kubeconfig's plugin is no text");
			p->args[n] = strdup(yyjson_get_str(one));
			if (!p->args[n++])
				return -ENOMEM;
		}
	return 0;
}

/* The authority as base64, from the kubeconfig or the file that it names. NULL: there is none, or
 * it cannot be read. */
static char *read_authority(yyjson_val *cluster, const char *folder)
{
	const char *data = string(cluster, "certificate-authority-data"),
		   *path = string(cluster, "certificate-authority");
	_cleanup_free_ char *whole = NULL, *text = NULL;
	size_t n;

	if (data)
		return strdup(data);
	if (!path || !*path)
		return NULL;
	if (*path != '/' && folder && *folder) {
		if (asprintf(&whole, "%s/%s", folder, path) < 0)
			return NULL;
		path = whole;
	}
	return file_read(path, CA_MAX, &text, &n, NULL) < 0 ? NULL : base64_encode(text, n);
}

static yyjson_val *find_extension(yyjson_val *cluster)
{
	yyjson_val *all = yyjson_obj_get(cluster, "extensions"), *one;
	size_t i, max;

	if (yyjson_is_arr(all))
		yyjson_arr_foreach (all, i, max, one) {
			if (yyjson_equals_str(yyjson_obj_get(one, "name"), GROUP "exec"))
				return yyjson_obj_get(one, "extension");
		}
	return NULL;
}

static bool add_cluster(yyjson_mut_doc *doc, yyjson_mut_val *spec, yyjson_val *cluster,
			const char *folder)
{
	yyjson_mut_val *to = yyjson_mut_obj_add_obj(doc, spec, "cluster");
	yyjson_val *extension = find_extension(cluster);
	_cleanup_free_ char *authority = read_authority(cluster, folder);
	const char *server = string(cluster, "server");
	bool good = to && yyjson_mut_obj_add_strcpy(doc, to, "server", server ?: "");

	if (good && authority)
		good = yyjson_mut_obj_add_strcpy(doc, to, "certificate-authority-data", authority);
	if (good && extension)
		good = yyjson_mut_obj_add_val(doc, to, "config",
					      yyjson_val_mut_copy(doc, extension));
	return good;
}

/* The JSON that a plugin finds in its environment; NULL: no memory. */
static char *make_info(const char *version, yyjson_val *cluster, const char *folder)
{
	_cleanup_(yyjson_mut_doc_freep) yyjson_mut_doc *doc = yyjson_mut_doc_new(NULL);
	yyjson_mut_val *root = doc ? yyjson_mut_obj(doc) : NULL, *spec;
	_cleanup_free_ char *json = NULL;
	char *line = NULL;

	if (!root)
		return NULL;
	yyjson_mut_doc_set_root(doc, root);
	(void)yyjson_mut_obj_add_str(doc, root, "kind", "ExecCredential");
	(void)yyjson_mut_obj_add_str(doc, root, "apiVersion", version);
	spec = yyjson_mut_obj_add_obj(doc, root, "spec");
	if (!spec || !yyjson_mut_obj_add_bool(doc, spec, "interactive", false) ||
	    (cluster && !add_cluster(doc, spec, cluster, folder)))
		return NULL;
	json = yyjson_mut_write(doc, 0, NULL);
	return json && asprintf(&line, "KUBERNETES_EXEC_INFO=%s", json) >= 0 ? line : NULL;
}

static int read_env(struct kubernetes_plugin *p, yyjson_val *exec, yyjson_val *cluster,
		    const char *folder, char *text)
{
	yyjson_val *env = yyjson_obj_get(exec, "env"), *one;
	size_t i, max, n = 0;

	if (yyjson_arr_size(env) > WORDS)
		return fail(text, -EBADMSG, "the kubeconfig's plugin has too many variables");
	p->env = calloc(yyjson_arr_size(env) + 2, sizeof(char *));
	if (!p->env)
		return -ENOMEM;
	p->env[n] = make_info(p->version,
			      yyjson_is_true(yyjson_obj_get(exec, "provideClusterInfo")) ? cluster
											 : NULL,
			      folder);
	if (!p->env[n++])
		return -ENOMEM;
	if (yyjson_is_arr(env))
		yyjson_arr_foreach (env, i, max, one) {
			const char *name = string(one, "name"), *value = string(one, "value");

			if (!name || !*name || strchr(name, '=') || !value)
				return fail(
					text, -EBADMSG,
					"a variable of the kubeconfig's plugin has no name, or no value");
			if (asprintf(&p->env[n], "%s=%s", name, value) < 0) {
				p->env[n] = NULL;
				return -ENOMEM;
			}
			n++;
		}
	return 0;
}

static int read_version(struct kubernetes_plugin *p, yyjson_val *exec, char *text)
{
	const char *version = string(exec, "apiVersion"), *hint = string(exec, "installHint");
	size_t n = hint ? strcspn(hint, "\r\n") : 0;

	if (!version || (strcmp(version, GROUP "v1") && strcmp(version, GROUP "v1beta1")))
		return fail(text, -ENOTSUP,
			    "the kubeconfig's plugin speaks '%.60s', which is not " GROUP "v1",
			    version ?: "");
	if (string(exec, "interactiveMode") && !strcmp(string(exec, "interactiveMode"), "Always"))
		return fail(text, -ENOTSUP, "the kubeconfig's plugin needs a person at a terminal");
	p->version = strdup(version);
	if (n)
		p->hint = strndup(hint, n);
	return p->version && (!n || p->hint) ? 0 : -ENOMEM;
}

int kubernetes_plugin_read(yyjson_val *exec, yyjson_val *cluster, const char *folder,
			   struct kubernetes_plugin **ret, char ret_text[static TEXT])
{
	_cleanup_(kubernetes_plugin_freep) struct kubernetes_plugin *p = calloc(1, sizeof(*p));
	int r;

	if (!p)
		return -ENOMEM;
	r = read_version(p, exec, ret_text);
	if (r >= 0)
		r = read_args(p, exec, folder, ret_text);
	if (r >= 0)
		r = read_env(p, exec, cluster, folder, ret_text);
	if (r < 0)
		return r;
	*ret = TAKE_PTR(p);
	return 0;
}

/* --- what it said ---------------------------------------------------------------------------- */

void kubernetes_credential_done(struct kubernetes_credential *c)
{
	registry_forget(c->token);
	registry_forget(c->cert);
	registry_forget(c->key);
	*c = (struct kubernetes_credential){};
}

/* RFC 3339, to the second: "2026-02-03T12:01:07Z", ".341Z", "+01:00". -EBADMSG. */
static int read_time(const char *text, uint64_t *ret_ms)
{
	struct tm tm = {};
	const char *end = strptime(text, "%Y-%m-%dT%H:%M:%S", &tm);
	int hours = 0, minutes = 0;
	time_t t;

	if (!end)
		return -EBADMSG;
	if (*end == '.')
		end += 1 + strspn(end + 1, "0123456789");
	if (strcmp(end, "Z") != 0) {
		char sign = *end;

		if ((sign != '+' && sign != '-') ||
		    sscanf(end + 1, "%2d:%2d", &hours, &minutes) != 2)
			return -EBADMSG;
		hours = sign == '+' ? hours : -hours;
		minutes = sign == '+' ? minutes : -minutes;
	}
	t = timegm(&tm) - hours * 3600 - minutes * 60;
	if (t <= 0)
		return -EBADMSG;
	*ret_ms = (uint64_t)t * 1000;
	return 0;
}

static bool is_token(const char *text)
{
	for (; *text; text++) {
		if ((unsigned char)*text <= ' ' || *text == 0x7f)
			return false;
	}
	return true;
}

static int read_status(yyjson_val *status, struct kubernetes_credential *c, char *text)
{
	const char *token = string(status, "token"),
		   *cert = string(status, "clientCertificateData"),
		   *key = string(status, "clientKeyData"),
		   *expires = string(status, "expirationTimestamp");

	if (!(token && *token) && !(cert && *cert))
		return fail(text, -EBADMSG, "the plugin gave neither a token nor a certificate");
	if (!(cert && *cert) != !(key && *key))
		return fail(text, -EBADMSG,
			    "the plugin gave a certificate or a key without the other");
	if (token && !is_token(token))
		return fail(text, -EBADMSG, "the plugin's token has a byte that no token has");
	if (expires && read_time(expires, &c->expires_ms) < 0)
		return fail(text, -EBADMSG, "the plugin's expirationTimestamp is no time");
	if (token && *token && !(c->token = strdup(token)))
		return -ENOMEM;
	if (cert && *cert && (!(c->cert = strdup(cert)) || !(c->key = strdup(key))))
		return -ENOMEM;
	return 0;
}

int kubernetes_credential_decode(const char *text, size_t length, const char *version,
				 struct kubernetes_credential *ret, char ret_text[static TEXT])
{
	yyjson_read_err error = {};
	_cleanup_(yyjson_doc_freep) yyjson_doc *doc =
		yyjson_read_opts((char *)text, length, 0, NULL, &error);
	yyjson_val *root = yyjson_doc_get_root(doc);
	struct kubernetes_credential c = {};
	int r;

	*ret_text = '\0';
	if (error.code == YYJSON_READ_ERROR_MEMORY_ALLOCATION)
		return -ENOMEM;
	if (!yyjson_equals_str(yyjson_obj_get(root, "kind"), "ExecCredential"))
		return fail(ret_text, -EBADMSG, "the plugin's answer is no ExecCredential");
	if (!yyjson_equals_str(yyjson_obj_get(root, "apiVersion"), version))
		return fail(ret_text, -EBADMSG, "the plugin's answer is not of %.60s", version);
	r = read_status(yyjson_obj_get(root, "status"), &c, ret_text);
	if (r < 0) {
		kubernetes_credential_done(&c);
		return r;
	}
	*ret = c;
	return 0;
}
