/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * See agent.h: what the agent tells over HTTP. GET /metrics (sinewd's, then the agent's), /livez
 * and /readyz by both doors; /v1/... by the unix socket alone. Reads everything, changes
 * nothing but what an operator confirms.
 */
#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "agent/agent.h"
#include "agent/metrics.h"
#include "agent/node_pods.h"
#include "agent/registries.h"
#include "base/text.h"

#define TEXT "text/plain; charset=utf-8"
#define JSON "application/json"
#define SCRAPE_MS 3000u
#define SCRAPE_BYTES (32u << 20)

static void reply_text(struct serve_request *q, unsigned int status, const char *text)
{
	serve_reply(q, status, TEXT, strdup(text), strlen(text));
}

static void reply_problem(struct serve_request *q, unsigned int status, const char *type,
			  const char *detail)
{
	char text[400];

	(void)snprintf(text, sizeof(text),
		       "{\"type\":\"urn:sinew:problem:%s\",\"title\":\"%s\",\"status\":%u,"
		       "\"detail\":\"%s\"}\n",
		       type, type, status, detail);
	serve_reply(q, status, "application/problem+json", strdup(text), strlen(text));
}

/* --- metrics -----------------------------------------------------------------------------------
 */

/* A request that waits for sinewd's part. */
struct scrape {
	struct scrape *next, **link;
	struct agent *agent;
	struct serve_request *request;
	struct fetch *fetch;
};

static void scrape_finish(struct scrape *s, const char *theirs, size_t length)
{
	struct text_buffer b = {};
	size_t n;

	text_append_bytes(&b, theirs, length);
	metrics_append(&b, s->agent, length > 0);
	n = b.n;
	serve_reply(s->request, 200, "text/plain; version=0.0.4; charset=utf-8", text_take(&b), n);
	*s->link = s->next;
	if (s->next)
		s->next->link = s->link;
	free(s);
}

static void on_metrics(void *arg, const struct fetch_result *result)
{
	bool good = result->error == 0 && result->status == 200;
	struct scrape *s = arg;

	if (!good)
		push_look(s->agent->push);
	scrape_finish(s, good ? result->body : "", good ? result->length : 0);
}

static void show_metrics(struct agent *a, struct serve_request *q)
{
	static const char *const headers[] = {"Accept: text/plain", NULL};
	struct scrape *s = calloc(1, sizeof(*s));
	const struct fetch_request request = {.url = "http://sinewd/metrics",
					      .unix_socket = a->config.control_socket,
					      .headers = headers,
					      .timeout_ms = SCRAPE_MS,
					      .max_body = SCRAPE_BYTES,
					      .on_done = on_metrics,
					      .arg = s};
	int r;

	if (!s) {
		serve_reply(q, 500, TEXT, NULL, 0);
		return;
	}
	*s = (struct scrape){.next = a->scrapes, .link = &a->scrapes, .agent = a, .request = q};
	if (s->next)
		s->next->link = &s->next;
	a->scrapes = s;
	r = fetch_begin(a->fetcher, &request, &s->fetch);
	if (r < 0)
		scrape_finish(s, "", 0);
}

void agent_show_stop(struct agent *a)
{
	while (a->scrapes) {
		(void)fetch_cancel(a->scrapes->fetch);
		scrape_finish(a->scrapes, "", 0);
	}
}

/* --- registries --------------------------------------------------------------------------------
 */

static const struct registry_status *status_of(const struct agent_registry *g)
{
	static const struct registry_status none;

	return g->registry ? &g->registry->status : &none;
}

static const char *state_of(const struct agent_registry *g)
{
	return !g->registry ? "failed"
	       : g->stale   ? registry_state_name(REGISTRY_STALE)
			    : registry_state_name(g->registry->status.state);
}

static void add_time(yyjson_mut_doc *doc, yyjson_mut_val *item, const char *key, uint64_t ms)
{
	char buf[TEXT_TIME];

	if (ms)
		(void)yyjson_mut_obj_add_strcpy(doc, item, key, text_format_time(ms, buf));
}

static void add_error(yyjson_mut_doc *doc, yyjson_mut_val *item, const char *reason,
		      const char *text, const char *hint)
{
	yyjson_mut_val *error = yyjson_mut_obj_add_obj(doc, item, "lastError");

	(void)yyjson_mut_obj_add_str(doc, error, "reason", reason);
	(void)yyjson_mut_obj_add_strcpy(doc, error, "text", text);
	if (*hint)
		(void)yyjson_mut_obj_add_strcpy(doc, error, "hint", hint);
}

static void add_registry(yyjson_mut_doc *doc, yyjson_mut_val *items, const struct agent_registry *g)
{
	const struct registry_status *s = status_of(g);
	yyjson_mut_val *item = yyjson_mut_arr_add_obj(doc, items), *errors;
	struct merge_counts counts = {};

	merge_count(g->agent->merge, g->source, &counts);
	(void)yyjson_mut_obj_add_str(doc, item, "name", g->config->name);
	(void)yyjson_mut_obj_add_str(doc, item, "type", g->config->type);
	(void)yyjson_mut_obj_add_str(doc, item, "state", state_of(g));
	(void)yyjson_mut_obj_add_uint(doc, item, "services", counts.services);
	(void)yyjson_mut_obj_add_uint(doc, item, "policies", counts.policies);
	(void)yyjson_mut_obj_add_uint(doc, item, "endpoints", counts.endpoints);
	(void)yyjson_mut_obj_add_uint(doc, item, "suspect", counts.suspect);
	(void)yyjson_mut_obj_add_uint(doc, item, "refused", counts.refused);
	(void)yyjson_mut_obj_add_uint(doc, item, "skipped", s->skipped);
	if (*s->skipped_text)
		(void)yyjson_mut_obj_add_strcpy(doc, item, "lastSkipped", s->skipped_text);
	add_time(doc, item, "lastContact", s->contact_ms);
	add_time(doc, item, "lastChange", s->changed_ms);
	(void)yyjson_mut_obj_add_real(doc, item, "latencySeconds", (double)s->latency_us / 1e6);
	if (!g->registry)
		add_error(doc, item, "config", g->failure,
			  "mend it: it is tried again every few seconds");
	else if (s->error != REGISTRY_OK)
		add_error(doc, item, registry_error_name(s->error), s->text, s->hint);
	node_pods_show_registry(g, doc, item);
	errors = yyjson_mut_obj_add_obj(doc, item, "errors");
	for (int i = REGISTRY_OK + 1; i < _REGISTRY_ERROR_MAX; i++)
		(void)yyjson_mut_obj_add_uint(
			doc, errors, registry_error_name((enum registry_error)i), s->errors[i]);
}

struct listing {
	yyjson_mut_doc *doc;
	yyjson_mut_val *items;
};

static void on_refused(void *arg, enum object_kind kind, const char *name, const char *reason)
{
	struct listing *l = arg;
	yyjson_mut_val *item = yyjson_mut_arr_add_obj(l->doc, l->items);

	(void)yyjson_mut_obj_add_str(l->doc, item, "kind", object_kind_name(kind));
	(void)yyjson_mut_obj_add_str(l->doc, item, "name", name);
	(void)yyjson_mut_obj_add_str(l->doc, item, "reason", reason);
}

static void add_daemon(yyjson_mut_doc *doc, yyjson_mut_val *root, const struct agent *a)
{
	const struct push_status *s = push_status(a->push);
	yyjson_mut_val *daemon = yyjson_mut_obj_add_obj(doc, root, "daemon");
	struct listing l = {doc, yyjson_mut_obj_add_arr(doc, daemon, "refused")};

	(void)yyjson_mut_obj_add_bool(doc, daemon, "synced", s->synced);
	if (*s->error)
		(void)yyjson_mut_obj_add_str(doc, daemon, "lastError", s->error);
	push_visit_refused(a->push, on_refused, &l);
}

static void add_settings(yyjson_mut_doc *doc, yyjson_mut_val *root, const struct agent *a)
{
	const struct agent_reloads *r = &a->reloads;
	yyjson_mut_val *settings = yyjson_mut_obj_add_obj(doc, root, "settings");

	(void)yyjson_mut_obj_add_str(doc, settings, "file", a->file);
	(void)yyjson_mut_obj_add_uint(doc, settings, "reloads", r->taken + r->failed);
	add_time(doc, settings, "lastReload", r->last_ms);
	if (*r->error)
		(void)yyjson_mut_obj_add_str(doc, settings, "lastError", r->error);
	if (*r->fixed)
		(void)yyjson_mut_obj_add_str(doc, settings, "needRestart", r->fixed);
}

static void fill_registries(const struct agent *a, yyjson_mut_doc *doc, yyjson_mut_val *root)
{
	yyjson_mut_val *items;

	(void)yyjson_mut_obj_add_str(doc, root, "apiVersion", CODEC_API_VERSION);
	(void)yyjson_mut_obj_add_str(doc, root, "kind", "RegistryList");
	items = yyjson_mut_obj_add_arr(doc, root, "items");
	for (size_t i = 0; i < a->n_registries; i++)
		add_registry(doc, items, a->registries[i]);
	add_daemon(doc, root, a);
	add_settings(doc, root, a);
}

static void fill_registrations(const struct agent *a, yyjson_mut_doc *doc, yyjson_mut_val *root)
{
	registrations_show(a->registrations, doc, root);
}

static void show_json(struct agent *a, struct serve_request *q,
		      void (*fill)(const struct agent *a, yyjson_mut_doc *doc,
				   yyjson_mut_val *root))
{
	yyjson_mut_doc *doc = yyjson_mut_doc_new(NULL);
	yyjson_mut_val *root = doc ? yyjson_mut_obj(doc) : NULL;
	size_t length = 0;
	char *text = NULL;

	if (root) {
		yyjson_mut_doc_set_root(doc, root);
		fill(a, doc, root);
		text = yyjson_mut_write(doc, YYJSON_WRITE_NEWLINE_AT_END, &length);
	}
	yyjson_mut_doc_free(doc);
	serve_reply(q, 200, JSON, text, length);
}

/* /v1/registries/{name}/confirm */
static void confirm(struct agent *a, struct serve_request *q, const char *rest)
{
	const char *slash = strchr(rest, '/');
	char name[64], text[80];
	int r = -ENOENT;

	if (!slash || strcmp(slash, "/confirm") != 0) {
		reply_problem(q, 404, "not-found", "no such path");
		return;
	}
	if (strcmp(serve_method(q), "POST") != 0) {
		reply_problem(q, 405, "method", "POST is expected");
		return;
	}
	(void)snprintf(name, sizeof(name), "%.*s", (int)(slash - rest), rest);
	r = agent_confirm(a, name);
	if (r < 0) {
		reply_problem(q, 404, "not-found", "no such registry");
		return;
	}
	(void)snprintf(text, sizeof(text), "{\"released\":%d}\n", r);
	serve_reply(q, 200, JSON, strdup(text), strlen(text));
}

/* --- health ------------------------------------------------------------------------------------
 */

static void show_ready(struct agent *a, struct serve_request *q)
{
	const struct push_status *s = push_status(a->push);
	bool ready = agent_is_ready(a);
	struct text_buffer b = {};
	size_t n;

	if (!serve_query(q, "verbose", NULL)) {
		reply_text(q, ready ? 200 : 503, ready ? "ok\n" : "not ready\n");
		return;
	}
	for (size_t i = 0; i < a->n_registries; i++) {
		const struct agent_registry *g = a->registries[i];

		text_append_format(&b, "[%c]%s %s\n", g->heard ? '+' : '-', g->tag, state_of(g));
	}
	text_append_format(&b, "[%c]sinewd %s\n", s->synced ? '+' : '-',
			   *s->error   ? s->error
			   : s->synced ? "ok"
				       : "waiting for registries");
	if (a->names)
		text_append_format(&b, "[%c]dns %zu services\n",
				   names_is_known(a->names) ? '+' : '-', names_count(a->names));
	text_append(&b, ready ? "ok\n" : "not ready\n");
	n = b.n;
	serve_reply(q, ready ? 200 : 503, TEXT, text_take(&b), n);
}

static bool is_read(const struct serve_request *q)
{
	return !strcmp(serve_method(q), "GET") || !strcmp(serve_method(q), "HEAD");
}

void agent_show(void *agent, struct serve_request *q)
{
	static const char under[] = "/v1/registries/";
	const char *path = serve_path(q);
	struct agent *a = agent;

	if (serve_is_local(q) && !strncmp(path, under, strlen(under)))
		confirm(a, q, path + strlen(under));
	else if (!is_read(q))
		reply_problem(q, 405, "method", "GET is expected");
	else if (serve_is_local(q) && !strcmp(path, "/v1/registries"))
		show_json(a, q, fill_registries);
	else if (serve_is_local(q) && !strcmp(path, "/v1/registrations"))
		show_json(a, q, fill_registrations);
	else if (serve_is_local(q) && !strcmp(path, "/v1/pods"))
		show_json(a, q, node_pods_show);
	else if (!strcmp(path, "/metrics"))
		show_metrics(a, q);
	else if (!strcmp(path, "/livez"))
		reply_text(q, 200, "ok\n");
	else if (!strcmp(path, "/readyz"))
		show_ready(a, q);
	else
		reply_problem(q, 404, "not-found", "no such path");
}
