/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * See labels.h. Before: registrations.c, which meets a container. After: the engine's API. It must
 * never guess: a container that the engine does not know has no labels that we know.
 */
#include "agent/labels.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "model/limits.h"
#include "registry/registry_config.h"

#define CONTAINERS_MAX 1024
#define TIMEOUT_MS 3000u
#define RETRY_MS 2000u
#define ANSWER_MAX (4u << 20)
#define ID_MAX 128
#define DEFAULT_ADDRESS "unix:///var/run/docker.sock"

struct container {
	char id[ID_MAX + 1];
	bool known;
	struct label *labels;
	size_t n;
	uint64_t ask_ms; /* loop time: not before, while it is not known */
	uint64_t used_ms;
};

struct labels {
	uv_loop_t *loop;
	struct fetcher *fetcher;
	struct registry_config *engine;
	struct labels_host host;
	char *base, *unix_socket;
	char version[16]; /* of the API; "": not known yet */
	struct container *containers;
	size_t n;
	char asked[ID_MAX + 1]; /* "": the version */
	struct fetch *fetch;
	uv_timer_t timer;
};

/* --- what an engine says ---------------------------------------------------------------------- */

/* An array of `n`, and room for the texts behind it. */
static size_t measure(yyjson_val *all)
{
	size_t bytes = (yyjson_obj_size(all) + 1) * sizeof(struct label), i, max;
	yyjson_val *key, *value;

	if (!yyjson_is_obj(all)) /* yyjson looks behind the object before it counts */
		return bytes;
	yyjson_obj_foreach (all, i, max, key, value)
		bytes += yyjson_get_len(key) + yyjson_get_len(value) + 2;
	return bytes;
}

static char *put(char **at, yyjson_val *text)
{
	char *to = memcpy(*at, yyjson_get_str(text), yyjson_get_len(text) + 1);

	*at += yyjson_get_len(text) + 1;
	return to;
}

static int read_labels(yyjson_val *all, struct label **ret, size_t *ret_n)
{
	struct label *labels = malloc(measure(all));
	char *at = (char *)(labels + yyjson_obj_size(all));
	yyjson_val *key, *value;
	size_t n = 0, i, max;

	if (!labels)
		return -ENOMEM;
	*ret = labels;
	*ret_n = 0;
	if (!yyjson_is_obj(all))
		return 0;
	yyjson_obj_foreach (all, i, max, key, value) {
		if (!yyjson_is_str(value))
			continue;
		labels[n].key = put(&at, key);
		labels[n++].value = put(&at, value);
	}
	*ret_n = n;
	return 0;
}

int labels_decode(const char *text, size_t length, struct label **ret, size_t *ret_n)
{
	char error[JSON_ERROR];
	yyjson_val *root, *all;
	yyjson_doc *doc;
	int r = json_parse(text, length, LIMIT_DEPTH, &doc, error);

	if (r < 0)
		return r;
	root = yyjson_doc_get_root(doc);
	all = yyjson_obj_get(yyjson_obj_get(root, "Config"), "Labels");
	r = yyjson_is_obj(root) && (!all || yyjson_is_null(all) || yyjson_is_obj(all))
		    ? read_labels(all, ret, ret_n)
		    : -EBADMSG;
	yyjson_doc_free(doc);
	return r;
}

/* --- containers ------------------------------------------------------------------------------- */

static struct container *find(struct labels *l, const char *id)
{
	for (size_t i = 0; i < l->n; i++)
		if (!strcmp(l->containers[i].id, id))
			return &l->containers[i];
	return NULL;
}

/* In the place of the one that was used longest ago, when there are too many. */
static struct container *add(struct labels *l, const char *id)
{
	struct container *c = &l->containers[0];

	if (l->n < CONTAINERS_MAX) {
		c = &l->containers[l->n++];
	} else {
		for (size_t i = 1; i < l->n; i++)
			if (l->containers[i].used_ms < c->used_ms)
				c = &l->containers[i];
		free(c->labels);
	}
	*c = (struct container){};
	(void)snprintf(c->id, sizeof(c->id), "%s", id);
	return c;
}

static bool has(const struct container *c, const struct label *wanted)
{
	const char *value = label_find(c->labels, c->n, wanted->key);

	return value && !strcmp(value, wanted->value);
}

/* --- asking ----------------------------------------------------------------------------------- */

static void ask(struct labels *l);

static void on_timer(uv_timer_t *timer)
{
	ask(timer->data);
}

static void put_off(struct labels *l, struct container *c)
{
	c->ask_ms = uv_now(l->loop) + RETRY_MS;
}

/* The engine is not there, or is none: all wait. */
static void wait(struct labels *l)
{
	(void)uv_timer_start(&l->timer, on_timer, RETRY_MS, 0);
}

static void on_version(struct labels *l, const struct fetch_result *result)
{
	const char *version = result->error ? NULL : fetch_header(result->fetch, "Api-Version");
	size_t n = version ? strspn(version, "0123456789.") : 0;

	if (!n || version[n] || n >= sizeof(l->version)) {
		wait(l);
		return;
	}
	(void)snprintf(l->version, sizeof(l->version), "%s", version);
	ask(l);
}

static void on_container(struct labels *l, struct container *c, const struct fetch_result *result)
{
	int r = result->error || result->status != 200
			? -ENODATA
			: labels_decode(result->body, result->length, &c->labels, &c->n);

	if (r < 0)
		put_off(l, c);
	if (r < 0 && (result->error || result->status != 404)) {
		*l->version = '\0'; /* another engine may be there next time */
		wait(l);
		return;
	}
	c->known = r >= 0;
	ask(l);
	if (c->known)
		l->host.changed(l->host.arg);
}

static void on_done(void *arg, const struct fetch_result *result)
{
	struct labels *l = arg;
	struct container *c;

	l->fetch = NULL;
	if (!*l->asked) {
		on_version(l, result);
		return;
	}
	c = find(l, l->asked);
	if (c)
		on_container(l, c, result);
	else
		ask(l);
}

/* Who is to be asked for first: not the same one again before all others. NULL: all are known. */
static struct container *next(struct labels *l)
{
	struct container *first = NULL;

	for (size_t i = 0; i < l->n; i++) {
		struct container *c = &l->containers[i];

		if (!c->known && (!first || c->ask_ms < first->ask_ms))
			first = c;
	}
	return first;
}

/* One question at a time, or the time until there is one. */
static void ask(struct labels *l)
{
	struct container *c = l->fetch ? NULL : next(l);
	struct fetch_request request = {.unix_socket = l->unix_socket,
					.tls = l->engine->tls,
					.timeout_ms = TIMEOUT_MS,
					.max_body = ANSWER_MAX,
					.on_done = on_done,
					.arg = l};
	char *url;
	int r;

	if (!c)
		return;
	if (c->ask_ms > uv_now(l->loop)) {
		(void)uv_timer_start(&l->timer, on_timer, c->ask_ms - uv_now(l->loop), 0);
		return;
	}
	if (*l->version)
		r = asprintf(&url, "%s/v%s/containers/%s/json", l->base, l->version, c->id);
	else
		r = asprintf(&url, "%s/_ping", l->base);
	if (r < 0) {
		wait(l);
		return;
	}
	(void)snprintf(l->asked, sizeof(l->asked), "%s", *l->version ? c->id : "");
	request.url = url;
	r = fetch_begin(l->fetcher, &request, &l->fetch);
	free(url);
	if (r < 0) {
		put_off(l, c);
		wait(l);
	}
}

static bool is_id(const char *text)
{
	size_t n = strlen(text);

	for (const char *p = text; *p; p++)
		if (!isalnum((unsigned char)*p) && !strchr("-_.", *p))
			return false;
	return n && n <= ID_MAX && isalnum((unsigned char)*text);
}

int labels_match(struct labels *l, const char *container, const struct label *wanted, size_t n)
{
	struct container *c;

	if (!l->engine || !is_id(container))
		return -EAGAIN;
	c = find(l, container);
	if (!c) {
		c = add(l, container);
		(void)uv_timer_start(&l->timer, on_timer, 0, 0);
	}
	c->used_ms = uv_now(l->loop);
	if (!c->known)
		return -EAGAIN;
	for (size_t i = 0; i < n; i++)
		if (!has(c, &wanted[i]))
			return 0;
	return 1;
}

/* --- life ------------------------------------------------------------------------------------- */

static int read_address(const struct registry_config *engine, char **ret_base, char **ret_socket)
{
	static const char unix_scheme[] = "unix://", tcp_scheme[] = "tcp://";
	const char *address = engine && engine->address ? engine->address : DEFAULT_ADDRESS;
	bool tls = engine && (engine->tls.ca_file || engine->tls.cert_file);
	int r;

	if (!strncmp(address, unix_scheme, strlen(unix_scheme))) {
		*ret_socket = strdup(address + strlen(unix_scheme));
		*ret_base = strdup("http://docker");
		return *ret_socket && *ret_base ? 0 : -ENOMEM;
	}
	r = strncmp(address, tcp_scheme, strlen(tcp_scheme))
		    ? asprintf(ret_base, "%s", address)
		    : asprintf(ret_base, "%s%s", tls ? "https://" : "http://",
			       address + strlen(tcp_scheme));
	if (r < 0)
		*ret_base = NULL;
	return r < 0 ? -ENOMEM : 0;
}

int labels_set_engine(struct labels *l, struct registry_config *engine)
{
	char *base = NULL, *unix_socket = NULL;
	int r;

	if (engine == l->engine)
		return 0;
	r = read_address(engine, &base, &unix_socket);
	if (r >= 0 && engine && !l->containers) {
		l->containers = calloc(CONTAINERS_MAX, sizeof(*l->containers));
		r = l->containers ? 0 : -ENOMEM;
	}
	if (r < 0) {
		free(base);
		free(unix_socket);
		return r;
	}
	l->fetch = fetch_cancel(l->fetch);
	(void)uv_timer_stop(&l->timer);
	free(l->base);
	free(l->unix_socket);
	registry_config_unref(l->engine);
	l->base = base;
	l->unix_socket = unix_socket;
	l->engine = engine ? registry_config_ref(engine) : NULL;
	l->version[0] = '\0';
	for (size_t i = 0; i < l->n; i++)
		l->containers[i].ask_ms = 0;
	if (engine)
		(void)uv_timer_start(&l->timer, on_timer, 0, 0);
	return 0;
}

static void done(struct labels *l)
{
	for (size_t i = 0; i < l->n; i++)
		free(l->containers[i].labels);
	free(l->containers);
	free(l->base);
	free(l->unix_socket);
	registry_config_unref(l->engine);
	free(l);
}

static void on_closed(uv_handle_t *handle)
{
	done(handle->data);
}

int labels_new(uv_loop_t *loop, struct fetcher *fetcher, struct registry_config *engine,
	       const struct labels_host *host, struct labels **ret)
{
	struct labels *l = calloc(1, sizeof(*l));
	int r;

	if (!l)
		return -ENOMEM;
	*l = (struct labels){.loop = loop, .fetcher = fetcher, .host = *host};
	(void)uv_timer_init(loop, &l->timer); /* cannot fail */
	l->timer.data = l;
	r = engine ? labels_set_engine(l, engine) : 0;
	if (r < 0) {
		uv_close((uv_handle_t *)&l->timer, on_closed);
		return r;
	}
	*ret = l;
	return 0;
}

void labels_close(struct labels *l)
{
	if (!l)
		return;
	l->fetch = fetch_cancel(l->fetch);
	uv_close((uv_handle_t *)&l->timer, on_closed);
}
