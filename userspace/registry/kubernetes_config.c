/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Credentials for a Kubernetes API server. It must never put a secret into a text for people, and
 * never go on without verifying the server.
 */
#include "registry/kubernetes_config.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <yyjson.h>

#include "base/base64.h"
#include "base/file.h"
#include "base/text.h"
#include "manifest/yaml.h"

#define POD "/var/run/secrets/kubernetes.io/serviceaccount/"
#define KUBECONFIG_MAX (1u << 20)
#define TEXT 200

DEFINE_CLEANUP(yyjson_doc *, yyjson_doc_free);
DEFINE_CLEANUP(yyjson_mut_doc *, yyjson_mut_doc_free);

struct reader {
	struct kubernetes_access *a;
	const char *folder;
	char *text; /* TEXT bytes */
};

__attribute__((format(printf, 3, 4))) static int fail(struct reader *r, int error,
						      const char *format, ...)
{
	va_list args;

	va_start(args, format);
	(void)vsnprintf(r->text, TEXT, format, args);
	va_end(args);
	return error;
}

void kubernetes_config_done(struct kubernetes_access *a)
{
	registry_forget(a->token);
	free(a->server);
	free(a->token_file);
	free(a->ca);
	free(a->cert);
	free(a->key);
	kubernetes_plugin_free(a->plugin);
	for (size_t i = 0; i < ARRAY_SIZE(a->files); i++)
		closep(&a->files[i]);
	for (size_t i = 0; i < ARRAY_SIZE(a->older); i++)
		closep(&a->older[i]);
	*a = KUBERNETES_ACCESS_NONE;
}

/* --- a kubeconfig ---------------------------------------------------------------------------- */

/* A file that is only in memory, and the path that leads to it. */
static int keep_in_memory(const char *data, size_t length, int *ret_fd, char **ret)
{
	_cleanup_close_ int fd = memfd_create("kubeconfig", MFD_CLOEXEC);

	if (fd < 0)
		return -errno;
	while (length) {
		ssize_t n = write(fd, data, length);

		if (n <= 0)
			return -EIO;
		data += n;
		length -= (size_t)n;
	}
	if (asprintf(ret, "/proc/self/fd/%d", fd) < 0) {
		*ret = NULL;
		return -ENOMEM;
	}
	*ret_fd = TAKE_FD(fd);
	return 0;
}

static int keep_data(struct reader *r, yyjson_val *value, int *ret_fd, char **ret)
{
	_cleanup_free_ char *text = strdup(yyjson_get_str(value));
	size_t length = 0, n = 0;
	char *data;
	int k;

	if (!text)
		return -ENOMEM;
	/* People fold it into lines. */
	for (const char *p = text; *p; p++) {
		if (!strchr(" \t\r\n", *p))
			text[length++] = *p;
	}
	k = base64_decode(text, length, &data, &n);
	explicit_bzero(text, length);
	if (k == -EBADMSG)
		return fail(r, k, "the kubeconfig's data are no base64");
	if (k < 0)
		return k;
	k = keep_in_memory(data, n, ret_fd, ret);
	explicit_bzero(data, n);
	free(data);
	return k < 0 ? fail(r, k, "a memory file: %s", strerror(-k)) : 0;
}

static int keep_path(struct reader *r, yyjson_val *value, char **ret)
{
	const char *path = yyjson_get_str(value);

	*ret = NULL;
	if (!path || !*path)
		return 0;
	if (*path == '/' || !r->folder || !*r->folder) {
		*ret = strdup(path);
	} else if (asprintf(ret, "%s/%s", r->folder, path) < 0) {
		*ret = NULL;
	}
	return *ret ? 0 : -ENOMEM;
}

/* `name` or `name`-data; data win. */
static int keep_file(struct reader *r, yyjson_val *from, const char *name, char **ret, int *ret_fd)
{
	char data[64];
	yyjson_val *value;

	(void)snprintf(data, sizeof(data), "%s-data", name);
	value = yyjson_obj_get(from, data);
	if (yyjson_is_str(value) && yyjson_get_len(value))
		return keep_data(r, value, ret_fd, ret);
	return keep_path(r, yyjson_obj_get(from, name), ret);
}

/* What is in the list `lists` under that name; NULL: nothing. */
static yyjson_val *find_named(yyjson_val *root, const char *list, const char *part,
			      const char *name)
{
	yyjson_val *one;
	size_t i, max;

	if (!name)
		return NULL;
	if (yyjson_is_arr(yyjson_obj_get(root, list)))
		yyjson_arr_foreach (yyjson_obj_get(root, list), i, max, one) {
			if (yyjson_equals_str(yyjson_obj_get(one, "name"), name))
				return yyjson_obj_get(one, part);
		}
	return NULL;
}

static int refuse(struct reader *r, yyjson_val *from, const char *const *keys, const char *whose)
{
	for (; *keys; keys++) {
		yyjson_val *value = yyjson_obj_get(from, *keys);

		if (value && !yyjson_is_null(value) && !yyjson_is_false(value) &&
		    !yyjson_equals_str(value, ""))
			return fail(r, -ENOTSUP,
				    "the kubeconfig's %s has '%s', which is not supported", whose,
				    *keys);
	}
	return 0;
}

static int read_cluster(struct reader *r, yyjson_val *cluster)
{
	static const char *const refused[] = {"insecure-skip-tls-verify", "tls-server-name",
					      "proxy-url", NULL};
	const char *server = yyjson_get_str(yyjson_obj_get(cluster, "server"));
	size_t n = server ? strlen(server) : 0;
	int k = refuse(r, cluster, refused, "cluster");

	if (k < 0)
		return k;
	while (n && server[n - 1] == '/')
		n--;
	if (!n)
		return fail(r, -EBADMSG, "the kubeconfig names no server in its current context");
	r->a->server = strndup(server, n);
	if (!r->a->server)
		return -ENOMEM;
	return keep_file(r, cluster, "certificate-authority", &r->a->ca, &r->a->files[0]);
}

static int read_user(struct reader *r, yyjson_val *user, yyjson_val *cluster)
{
	static const char *const refused[] = {"auth-provider", "username", "as", NULL};
	yyjson_val *exec = yyjson_obj_get(user, "exec"), *token = yyjson_obj_get(user, "token");
	struct kubernetes_access *a = r->a;
	int k = refuse(r, user, refused, "user");

	if (k >= 0 && yyjson_is_obj(exec))
		return kubernetes_plugin_read(exec, cluster, r->folder, &a->plugin, r->text);
	if (k >= 0)
		k = keep_file(r, user, "client-certificate", &a->cert, &a->files[1]);
	if (k >= 0)
		k = keep_file(r, user, "client-key", &a->key, &a->files[2]);
	if (k >= 0)
		k = keep_path(r, yyjson_obj_get(user, "tokenFile"), &a->token_file);
	if (k < 0 || a->token_file || !yyjson_is_str(token) || !yyjson_get_len(token))
		return k;
	for (const char *p = yyjson_get_str(token); *p; p++) {
		if ((unsigned char)*p <= ' ' || *p == 0x7f)
			return fail(r, -EBADMSG,
				    "the kubeconfig's token has a byte that no token has");
	}
	a->token = strdup(yyjson_get_str(token));
	return a->token ? 0 : -ENOMEM;
}

static int read_root(struct reader *r, yyjson_val *root)
{
	const char *name = yyjson_get_str(yyjson_obj_get(root, "current-context"));
	yyjson_val *context = find_named(root, "contexts", "context", name), *cluster;
	int k;

	if (!context)
		return fail(r, -EBADMSG, "the kubeconfig has no current context");
	cluster = find_named(root, "clusters", "cluster",
			     yyjson_get_str(yyjson_obj_get(context, "cluster")));
	k = read_cluster(r, cluster);
	if (k < 0)
		return k;
	return read_user(
		r,
		find_named(root, "users", "user", yyjson_get_str(yyjson_obj_get(context, "user"))),
		cluster);
}

/* The first document of a YAML text; NULL: it has none, or an error. */
static yyjson_doc *read_yaml(const char *text, size_t length)
{
	_cleanup_(yyjson_mut_doc_freep) yyjson_mut_doc *doc = yyjson_mut_doc_new(NULL);
	struct error_list errors = {};
	const struct yaml_node *node = NULL;
	struct yaml *y = NULL;
	yyjson_doc *ret = NULL;

	if (doc && yaml_open(text, length, doc, &errors, &y) >= 0 && yaml_next(y, &node) > 0 &&
	    !errors.n && node->value) {
		yyjson_mut_doc_set_root(doc, node->value);
		ret = yyjson_mut_doc_imut_copy(doc, NULL);
	}
	yaml_close(y);
	error_list_done(&errors);
	return ret;
}

int kubernetes_config_parse(const char *text, size_t length, const char *folder,
			    struct kubernetes_access *ret, char ret_text[static TEXT])
{
	_cleanup_(yyjson_doc_freep) yyjson_doc *doc = read_yaml(text, length);
	struct kubernetes_access a = KUBERNETES_ACCESS_NONE;
	struct reader r = {.a = &a, .folder = folder, .text = ret_text};
	int k;

	*ret_text = '\0';
	if (!doc)
		return fail(&r, -EBADMSG, "the kubeconfig is no YAML");
	k = read_root(&r, yyjson_doc_get_root(doc));
	if (k < 0) {
		kubernetes_config_done(&a);
		return k;
	}
	*ret = a;
	return 0;
}

/* What is in `from` instead of what was there. */
static void replace(char **at, char **from, int *fd, int *from_fd, int *older)
{
	free(*at);
	*at = TAKE_PTR(*from);
	closep(older);
	*older = *fd;
	*fd = TAKE_FD(*from_fd);
}

int kubernetes_config_take(struct kubernetes_access *a, const struct kubernetes_credential *c)
{
	_cleanup_free_ char *cert = NULL, *key = NULL;
	_cleanup_close_ int cert_fd = -1, key_fd = -1;
	char *token = c->token ? strdup(c->token) : NULL;
	int r = c->token && !token ? -ENOMEM : 0;

	if (r >= 0 && c->cert)
		r = keep_in_memory(c->cert, strlen(c->cert), &cert_fd, &cert);
	if (r >= 0 && c->key)
		r = keep_in_memory(c->key, strlen(c->key), &key_fd, &key);
	if (r < 0) {
		registry_forget(token);
		return r;
	}
	registry_forget(a->token);
	a->token = token;
	replace(&a->cert, &cert, &a->files[1], &cert_fd, &a->older[0]);
	replace(&a->key, &key, &a->files[2], &key_fd, &a->older[1]);
	return 0;
}

static int read_kubeconfig(const char *path, struct kubernetes_access *ret,
			   char ret_text[static TEXT])
{
	const char *slash = strrchr(path, '/');
	_cleanup_free_ char *folder = strndup(path, slash ? (size_t)(slash - path) : 0);
	size_t n = 0;
	char *data = NULL;
	int r;

	if (!folder)
		return -ENOMEM;
	r = file_read(path, KUBECONFIG_MAX, &data, &n, NULL);
	if (r < 0) {
		(void)snprintf(ret_text, TEXT, "%s: %s", path, strerror(-r));
		return r;
	}
	r = kubernetes_config_parse(data, n, folder, ret, ret_text);
	explicit_bzero(data, n);
	free(data);
	return r;
}

/* --- in a pod -------------------------------------------------------------------------------- */

static int read_pod(struct kubernetes_access *ret, char ret_text[static TEXT])
{
	const char *host = getenv("KUBERNETES_SERVICE_HOST"),
		   *port = getenv("KUBERNETES_SERVICE_PORT");
	bool v6 = host && strchr(host, ':');

	if (!host || !port) {
		(void)snprintf(
			ret_text, TEXT,
			"not in a pod (no KUBERNETES_SERVICE_HOST), and neither a kubeconfig nor an address is given");
		return -EINVAL;
	}
	if (asprintf(&ret->server, "https://%s%s%s:%s", v6 ? "[" : "", host, v6 ? "]" : "", port) <
	    0)
		ret->server = NULL;
	ret->ca = strdup(POD "ca.crt");
	ret->token_file = strdup(POD "token");
	return ret->server && ret->ca && ret->token_file ? 0 : -ENOMEM;
}

/* Puts a copy of `value`, if there is one, in the place of what was found. */
static int override(char **at, const char *value)
{
	char *copy;

	if (!value || !*value)
		return 0;
	copy = strdup(value);
	if (!copy)
		return -ENOMEM;
	free(*at);
	*at = copy;
	return 0;
}

static int override_all(struct kubernetes_access *a, const struct registry_config *c)
{
	size_t n;

	if (override(&a->server, c->address) < 0 || override(&a->ca, c->tls.ca_file) < 0 ||
	    override(&a->cert, c->tls.cert_file) < 0 || override(&a->key, c->tls.key_file) < 0 ||
	    override(&a->token_file, c->token_file) < 0)
		return -ENOMEM;
	if (c->token_file && *c->token_file)
		a->token = registry_forget(a->token);
	if ((c->token_file && *c->token_file) || (c->tls.cert_file && *c->tls.cert_file))
		a->plugin = kubernetes_plugin_free(a->plugin);
	n = strlen(a->server);
	while (n && a->server[n - 1] == '/')
		a->server[--n] = '\0';
	return 0;
}

int kubernetes_config_read(const struct registry_config *config, struct kubernetes_access *ret,
			   char ret_text[static TEXT])
{
	struct kubernetes_access a = KUBERNETES_ACCESS_NONE;
	int r = 0;

	*ret_text = '\0';
	if (config->path && *config->path)
		r = read_kubeconfig(config->path, &a, ret_text);
	else if (!config->address || !*config->address)
		r = read_pod(&a, ret_text);
	if (r >= 0)
		r = override_all(&a, config);
	if (r < 0) {
		if (!*ret_text)
			(void)snprintf(ret_text, TEXT, "%s", strerror(-r));
		kubernetes_config_done(&a);
		return r;
	}
	*ret = a;
	return 0;
}
