/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * One registry followed by itself, without an agent: what its source says, a JSON line each.
 *   follow TYPE NAME KEY=VALUE...     keys are those of agent.yaml; quiet=1: counts, no objects
 * Ends, with everything given back, when standard input does: a sanitizer sees what was not.
 */
#include <errno.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/text.h"
#include "model/limits.h"
#include "registry/registry.h"

DEFINE_CLEANUP(yyjson_mut_doc *, yyjson_mut_doc_free);

static struct registry_config config = {.stale_ms = 60000};
static struct registry *registry;
static struct fetcher *fetcher;
static uv_loop_t loop;
static uv_pipe_t input;
static bool quiet;
static char in[256];

static const struct {
	const char *name;
	size_t offset;
} keys[] = {
	{"address", offsetof(struct registry_config, address)},
	{"path", offsetof(struct registry_config, path)},
	{"prefix", offsetof(struct registry_config, prefix)},
	{"namespace", offsetof(struct registry_config, namespace)},
	{"datacenter", offsetof(struct registry_config, datacenter)},
	{"remoteNamespace", offsetof(struct registry_config, remote_namespace)},
	{"zone", offsetof(struct registry_config, zone)},
	{"nodeAddress", offsetof(struct registry_config, node_address)},
	{"kubelet", offsetof(struct registry_config, kubelet)},
	{"tokenFile", offsetof(struct registry_config, token_file)},
	{"username", offsetof(struct registry_config, username)},
	{"passwordFile", offsetof(struct registry_config, password_file)},
	{"caFile", offsetof(struct registry_config, tls.ca_file)},
	{"certFile", offsetof(struct registry_config, tls.cert_file)},
	{"keyFile", offsetof(struct registry_config, tls.key_file)},
};

/* --- lines ----------------------------------------------------------------------------------- */

static yyjson_mut_doc *begin(const char *what)
{
	yyjson_mut_doc *doc = yyjson_mut_doc_new(NULL);
	yyjson_mut_val *root = doc ? yyjson_mut_obj(doc) : NULL;
	struct timespec now;

	if (!root)
		abort();
	(void)clock_gettime(CLOCK_MONOTONIC, &now);
	yyjson_mut_doc_set_root(doc, root);
	(void)yyjson_mut_obj_add_str(doc, root, "say", what);
	(void)yyjson_mut_obj_add_real(doc, root, "at",
				      (double)now.tv_sec + (double)now.tv_nsec / 1e9);
	return doc;
}

static void end(yyjson_mut_doc *doc)
{
	char *text = yyjson_mut_write(doc, 0, NULL);

	if (!text)
		abort();
	(void)puts(text);
	(void)fflush(stdout);
	free(text);
	yyjson_mut_doc_free(doc);
}

static void add_object(yyjson_mut_doc *doc, yyjson_mut_val *list, const struct object *o)
{
	yyjson_mut_val *value = o->kind == OBJECT_SERVICE ? codec_encode_service(doc, o->service)
							  : codec_encode_policy(doc, o->policy);

	if (!value || !yyjson_mut_arr_append(list, value))
		abort();
}

static void say_objects(const char *what, const struct object *objects, size_t n)
{
	yyjson_mut_doc *doc = begin(what);
	yyjson_mut_val *root = yyjson_mut_doc_get_root(doc), *list = yyjson_mut_arr(doc);
	size_t endpoints = 0;

	for (size_t i = 0; i < n; i++) {
		if (objects[i].kind == OBJECT_SERVICE)
			endpoints += objects[i].service->n_endpoints;
		if (!quiet)
			add_object(doc, list, &objects[i]);
	}
	(void)yyjson_mut_obj_add_uint(doc, root, "n", n);
	(void)yyjson_mut_obj_add_uint(doc, root, "endpoints", endpoints);
	(void)yyjson_mut_obj_add_val(doc, root, "items", list);
	end(doc);
}

static void on_snapshot(void *arg, struct registry *r, struct object *objects, size_t n)
{
	say_objects("snapshot", objects, n);
	object_free_list(objects, n);
}

static void on_upsert(void *arg, struct registry *r, struct object *object)
{
	say_objects("upsert", object, 1);
	object_done(object);
}

static void on_remove(void *arg, struct registry *r, enum object_kind kind, const char *namespace,
		      const char *name)
{
	yyjson_mut_doc *doc = begin("remove");
	yyjson_mut_val *root = yyjson_mut_doc_get_root(doc);

	(void)yyjson_mut_obj_add_str(doc, root, "kind",
				     kind == OBJECT_SERVICE ? "Service" : "TrafficPolicy");
	(void)yyjson_mut_obj_add_str(doc, root, "namespace", namespace);
	(void)yyjson_mut_obj_add_str(doc, root, "name", name);
	end(doc);
}

static void on_status(void *arg, struct registry *r)
{
	const struct registry_status *s = &r->status;
	yyjson_mut_doc *doc = begin("status");
	yyjson_mut_val *root = yyjson_mut_doc_get_root(doc);

	(void)yyjson_mut_obj_add_str(doc, root, "state", registry_state_name(s->state));
	(void)yyjson_mut_obj_add_str(doc, root, "error", registry_error_name(s->error));
	(void)yyjson_mut_obj_add_str(doc, root, "text", s->text);
	(void)yyjson_mut_obj_add_str(doc, root, "hint", s->hint);
	(void)yyjson_mut_obj_add_uint(doc, root, "skipped", s->skipped);
	(void)yyjson_mut_obj_add_str(doc, root, "skippedText", s->skipped_text);
	end(doc);
}

static void say_refused(const char *text)
{
	yyjson_mut_doc *doc = begin("refused");

	(void)yyjson_mut_obj_add_str(doc, yyjson_mut_doc_get_root(doc), "text", text);
	end(doc);
}

/* --- life ------------------------------------------------------------------------------------ */

static void on_stopped(void *arg, struct registry *r)
{
	fetcher_close(fetcher);
}

static void on_alloc(uv_handle_t *handle, size_t suggested, uv_buf_t *ret)
{
	*ret = uv_buf_init(in, sizeof(in));
}

/* "look" or "look NAMESPACE NAME": as an agent asks. */
static void look(const char *words)
{
	char namespace[LIMIT_NAME + 1], name[LIMIT_NAME + 1];
	bool one = sscanf(words, "look %63s %63s", namespace, name) == 2;
	yyjson_mut_doc *doc = begin("look");

	(void)yyjson_mut_obj_add_int(
		doc, yyjson_mut_doc_get_root(doc), "result",
		registry->kind->look(registry, one ? namespace : NULL, one ? name : NULL));
	end(doc);
}

/* Whatever else is written to it asks for the state as it is now. */
static void on_input(uv_stream_t *stream, ssize_t n, const uv_buf_t *buf)
{
	if (n > 0 && (size_t)n < sizeof(in) && !strncmp(buf->base, "look", strlen("look"))) {
		buf->base[n] = '\0';
		look(buf->base);
		return;
	}
	if (n > 0)
		on_status(NULL, registry);
	if (n >= 0)
		return;
	uv_close((uv_handle_t *)stream, NULL);
	registry_close(registry, on_stopped, NULL);
}

static bool set(char *assignment)
{
	char *equals = strchr(assignment, '=');

	if (!equals)
		return false;
	*equals = '\0';
	for (size_t i = 0; i < ARRAY_SIZE(keys); i++) {
		if (!strcmp(keys[i].name, assignment)) {
			*(char **)((char *)&config + keys[i].offset) = equals + 1;
			return true;
		}
	}
	quiet |= !strcmp(assignment, "quiet");
	config.external |= !strcmp(assignment, "external");
	config.pods |= !strcmp(assignment, "pods");
	if (!strcmp(assignment, "interval"))
		return text_parse_duration(equals + 1, &config.interval_ms) >= 0;
	if (!strcmp(assignment, "staleAfter"))
		return text_parse_duration(equals + 1, &config.stale_ms) >= 0;
	if (!strcmp(assignment, "names")) {
		static char *names[1024];
		char *rest = equals + 1;

		while (config.n_names < ARRAY_SIZE(names) &&
		       (names[config.n_names] = strsep(&rest, ",")))
			config.n_names++;
		config.names = names;
		return true;
	}
	if (!strcmp(assignment, "select")) {
		static char *only[1];

		only[0] = equals + 1;
		config.select = only;
		config.n_select = 1;
		return true;
	}
	return quiet || config.external || config.pods;
}

static const struct registry_host host = {
	.loop = &loop,
	.snapshot = on_snapshot,
	.upsert = on_upsert,
	.remove = on_remove,
	.status = on_status,
};

int main(int argc, char **argv)
{
	char text[200];
	int r;

	if (argc < 3)
		return 2;
	config.type = argv[1];
	config.name = argv[2];
	for (int i = 3; i < argc; i++)
		if (!set(argv[i]))
			return 2;
	(void)signal(SIGPIPE, SIG_IGN);
	if (uv_loop_init(&loop) < 0 || fetcher_new(&loop, &fetcher) < 0)
		return 1;
	r = registry_open(&config, &host, fetcher, &registry, text);
	if (r < 0) {
		say_refused(text);
		fetcher_close(fetcher);
		(void)uv_run(&loop, UV_RUN_DEFAULT);
		return uv_loop_close(&loop) < 0;
	}
	if (uv_pipe_init(&loop, &input, 0) < 0 || uv_pipe_open(&input, 0) < 0 ||
	    uv_read_start((uv_stream_t *)&input, on_alloc, on_input) < 0)
		return 1;
	(void)uv_run(&loop, UV_RUN_DEFAULT);
	return uv_loop_close(&loop) < 0;
}
