/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * List and watch of one kind of objects of a Kubernetes API server. What was listed stays until a
 * whole new list says otherwise: a connection that is lost is taken up from the last version, and
 * an answer that is wrong takes nothing away.
 */
#include "registry/kubernetes_watch.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#define PAGE 500
#define LIST_MS 30000
#define WATCH_S 290
#define SILENCE_MS 120000 /* bookmarks come each minute */
#define WAIT_FIRST_MS 100
#define WAIT_MOST_MS 30000
#define DENIED_MS 300000 /* we may be allowed later */

static void on_timer(uv_timer_t *timer);
static void on_done(void *arg, const struct fetch_result *result);

static uint64_t now_ms(const struct kubernetes_watch *w)
{
	return uv_now(w->k->r->loop);
}

static const char *resource(const struct kubernetes_watch *w)
{
	static const char *const names[] = {"services", "endpointslices", "nodes"};

	return names[w->kind];
}

/* --- requests -------------------------------------------------------------------------------- */

static void append_escaped(struct text_buffer *b, const char *text)
{
	for (; *text; text++) {
		if (strchr("-._~", *text) || (*text >= '0' && *text <= '9') ||
		    ((*text | 32) >= 'a' && (*text | 32) <= 'z'))
			text_append_bytes(b, text, 1);
		else
			text_append_format(b, "%%%02X", (unsigned char)*text);
	}
}

static char *make_url(const struct kubernetes_watch *w)
{
	const char *only = w->k->r->config->remote_namespace;
	struct text_buffer b = {};

	text_append(&b, w->k->access.server);
	text_append(&b, w->kind != KUBERNETES_SLICE ? "/api/v1/"
			: w->beta                   ? "/apis/discovery.k8s.io/v1beta1/"
						    : "/apis/discovery.k8s.io/v1/");
	if (w->kind != KUBERNETES_NODE && only && *only) {
		text_append(&b, "namespaces/");
		append_escaped(&b, only);
		text_append(&b, "/");
	}
	text_append(&b, resource(w));
	if (w->watching) {
		text_append_format(&b, "?watch=1&allowWatchBookmarks=true&timeoutSeconds=%d",
				   WATCH_S);
		text_append(&b, "&resourceVersion=");
		append_escaped(&b, w->version);
	} else {
		text_append_format(&b, "?limit=%d", PAGE);
		text_append(&b, *w->next ? "&continue=" : "");
		append_escaped(&b, w->next);
	}
	return text_take(&b);
}

/* "Authorization: Bearer ..."; *ret NULL: no token is known, a certificate must do. */
static int make_authorization(const struct kubernetes_watch *w, char **ret)
{
	const struct kubernetes_access *a = &w->k->access;
	char *token = NULL;
	int r = 0;

	*ret = NULL;
	if (a->token_file)
		r = registry_read_secret(a->token_file, &token);
	if (r < 0)
		return r;
	if (!token && !a->token)
		return 0;
	r = asprintf(ret, "Authorization: Bearer %s", token ? token : a->token);
	registry_forget(token);
	if (r < 0)
		*ret = NULL;
	return r < 0 ? -ENOMEM : 0;
}

static void retry(struct kubernetes_watch *w, uint64_t at_least_ms)
{
	uint64_t wait = registry_backoff(w->k->r, at_least_ms);

	w->wait_ms = w->wait_ms ? w->wait_ms * 2 : WAIT_FIRST_MS;
	if (w->wait_ms > WAIT_MOST_MS)
		w->wait_ms = WAIT_MOST_MS;
	/* Others may get answers, which resets the registry's own wait. */
	if (wait < w->wait_ms / 2)
		wait = w->wait_ms / 2;
	(void)uv_timer_start(&w->timer, on_timer, wait, 0);
}

static int on_data(void *arg, const char *data, size_t length);

static int begin(struct kubernetes_watch *w, const char *url, const char *authorization)
{
	const struct kubernetes_access *a = &w->k->access;
	const char *const headers[] = {"Accept: application/json", authorization, NULL};
	struct fetch_request request = {
		.url = url,
		.headers = headers,
		.tls = {.ca_file = a->ca, .cert_file = a->cert, .key_file = a->key},
		.timeout_ms = w->watching ? 0 : LIST_MS,
		.silence_ms = w->watching ? SILENCE_MS : 0,
		.on_data = w->watching ? on_data : NULL,
		.on_done = on_done,
		.arg = w,
	};

	return fetch_begin(w->k->r->fetcher, &request, &w->fetch);
}

void kubernetes_watch_begin(struct kubernetes_watch *w)
{
	_cleanup_free_ char *url = make_url(w);
	struct registry *r = w->k->r;
	char *authorization;
	int k = make_authorization(w, &authorization);

	if (k < 0 && k != -ENOMEM)
		registry_say_error(r, REGISTRY_UNAUTHORIZED,
				   "the agent's user must be able to read the token's file",
				   "%s: %s", w->k->access.token_file, strerror(-k));
	text_done(&w->line);
	w->is_gone = w->is_bad = false;
	w->refusal = (struct kubernetes_refusal){};
	if (!w->watching && !*w->next)
		kubernetes_join_begin(w->k->join, w->kind);
	if (k >= 0)
		k = url ? begin(w, url, authorization) : -ENOMEM;
	if (k == -EINVAL)
		registry_say_error(r, REGISTRY_GARBAGE, "the server begins with https://",
				   "%s is no address of a server", w->k->access.server);
	registry_forget(authorization);
	if (k < 0)
		retry(w, 1000);
}

static void on_timer(uv_timer_t *timer)
{
	kubernetes_watch_begin(timer->data);
}

void kubernetes_watch_stop(struct kubernetes_watch *w)
{
	w->fetch = fetch_cancel(w->fetch);
	text_done(&w->line);
}

/* --- objects --------------------------------------------------------------------------------- */

/* Takes o. Services that are not selected are as good as gone. */
static int put(struct kubernetes_watch *w, struct kubernetes_object *o)
{
	const char *of = kubernetes_text(o, o->kind == KUBERNETES_SLICE ? o->service : o->name);
	int r;

	if (o->kind == KUBERNETES_NODE || registry_is_selected(w->k->r, of)) {
		r = kubernetes_join_put(w->k->join, o, now_ms(w));
		return r == -E2BIG ? 0 : r;
	}
	kubernetes_join_delete(w->k->join, o, now_ms(w));
	kubernetes_object_free(o);
	return 0;
}

static int on_event(struct kubernetes_watch *w, struct kubernetes_event *e)
{
	int r = 0;

	if (e->type == KUBERNETES_ERROR) {
		w->refusal = e->refusal;
		w->is_gone = e->refusal.code == 410;
		return -ECANCELED;
	}
	if (e->type == KUBERNETES_DELETED && e->object) {
		kubernetes_join_delete(w->k->join, e->object, now_ms(w));
		kubernetes_object_free(e->object);
	} else if (e->object) {
		r = put(w, e->object);
	} else if (e->type != KUBERNETES_BOOKMARK) {
		registry_say_skipped(w->k->r, "%s", e->refusal.text);
	}
	memcpy(w->version, e->version, sizeof(w->version));
	return r;
}

static int on_line(struct kubernetes_watch *w, const char *line, size_t length)
{
	struct kubernetes_event e = {};
	int r;

	if (length == 0)
		return 0;
	r = kubernetes_decode_event(line, length, w->kind, &e);
	if (r >= 0)
		r = on_event(w, &e);
	w->is_bad = r < 0 && r != -ECANCELED;
	return r;
}

/* The rest of a line that began in earlier data. */
static int end_line(struct kubernetes_watch *w, const char *data, size_t length)
{
	int r;

	text_append_bytes(&w->line, data, length);
	if (w->line.no_memory || !w->line.data)
		return -ENOMEM;
	r = on_line(w, w->line.data, w->line.n);
	text_done(&w->line);
	return r;
}

static int on_data(void *arg, const char *data, size_t length)
{
	struct kubernetes_watch *w = arg;
	const char *end;
	int r = 0;

	registry_say_contact(w->k->r, 0);
	w->wait_ms = 0;
	while (r >= 0 && length && (end = memchr(data, '\n', length))) {
		size_t n = (size_t)(end - data);

		r = w->line.n ? end_line(w, data, n) : on_line(w, data, n);
		length -= n + 1;
		data = end + 1;
	}
	if (r >= 0 && length + w->line.n > KUBERNETES_LINE) {
		w->is_bad = true;
		r = -EMSGSIZE;
	}
	if (r >= 0 && length)
		text_append_bytes(&w->line, data, length);
	kubernetes_on_change(w->k);
	return r;
}

/* --- answers --------------------------------------------------------------------------------- */

/* A list is to be made from its beginning. */
static void forget_version(struct kubernetes_watch *w)
{
	w->watching = false;
	*w->version = *w->next = '\0';
}

static uint64_t retry_after(const struct fetch_result *result, const struct kubernetes_refusal *why)
{
	const char *header = result->error ? NULL : fetch_header(result->fetch, "Retry-After");
	unsigned long s = header ? strtoul(header, NULL, 10) : 0;

	if (s < why->retry_after_s)
		s = why->retry_after_s;
	return (s > 60 ? 60 : s) * 1000;
}

/* Nodes are not worth an error: all but zones is known without them. */
static void do_without(struct kubernetes_watch *w, unsigned int status)
{
	bool first = !w->denied;

	w->denied = true;
	(void)uv_timer_start(&w->timer, on_timer, DENIED_MS, 0);
	if (!first)
		return;
	registry_say_skipped(
		w->k->r, "%u on list nodes: endpoints have only the zones of their slices", status);
	kubernetes_on_listed(w->k);
}

static void say_failure(struct kubernetes_watch *w, const struct fetch_result *result,
			enum registry_error error, const struct kubernetes_refusal *why)
{
	const char *verb = w->watching ? "watch" : "list";
	char hint[200] = "";

	if (error == REGISTRY_FORBIDDEN)
		(void)snprintf(
			hint, sizeof(hint),
			"kubectl create clusterrole sinew --verb=get,list,watch --resource=services,endpointslices,nodes, and bind it to the agent's user");
	else if (error == REGISTRY_UNAUTHORIZED)
		(void)snprintf(hint, sizeof(hint),
			       "the server does not know the token or certificate: renew it");
	else if (error == REGISTRY_TLS)
		(void)snprintf(hint, sizeof(hint), "check certificate-authority, or tls.caFile");
	if (result->error)
		registry_say_error(w->k->r, error, hint, "%s %s: %s", verb, resource(w),
				   result->error_text);
	else
		registry_say_error(w->k->r, error, hint, "%u on %s %s: %s", result->status, verb,
				   resource(w), why->text);
}

static void on_failure(struct kubernetes_watch *w, const struct fetch_result *result,
		       enum registry_error error)
{
	struct kubernetes_refusal why;
	bool is_slice = w->kind == KUBERNETES_SLICE;

	kubernetes_decode_refusal(result->body, result->length, &why);
	if (result->status == 410) {
		forget_version(w);
		retry(w, 0);
		return;
	}
	if (w->kind == KUBERNETES_NODE &&
	    (error == REGISTRY_FORBIDDEN || error == REGISTRY_MISSING)) {
		forget_version(w);
		do_without(w, result->status);
		return;
	}
	if (error == REGISTRY_UNAUTHORIZED)
		kubernetes_on_unauthorized(w->k);
	say_failure(w, result, error, &why);
	if (error == REGISTRY_MISSING && is_slice) {
		w->beta = !w->beta;
		forget_version(w);
	}
	retry(w, retry_after(result, &why));
}

static void on_page(struct kubernetes_watch *w, const struct fetch_result *result)
{
	struct kubernetes_list list;
	int r = kubernetes_decode_list(result->body, result->length, w->kind, &list);

	if (r >= 0) {
		for (size_t i = 0; i < list.n_items && r >= 0; i++)
			r = put(w, TAKE_PTR(list.items[i]));
		memcpy(w->version, list.version, sizeof(w->version));
		memcpy(w->next, list.next, sizeof(w->next));
		if (list.skipped)
			registry_say_skipped(w->k->r, "%s", list.skipped_text);
		kubernetes_list_done(&list);
	}
	if (r < 0) {
		registry_say_error(w->k->r, REGISTRY_GARBAGE, "", "list %s: %s", resource(w),
				   r == -ENOMEM ? "out of memory" : "the answer is no whole list");
		forget_version(w);
		retry(w, 0);
		return;
	}
	registry_say_contact(w->k->r, result->elapsed_us);
	w->wait_ms = 0;
	if (!*w->next) {
		kubernetes_join_end(w->k->join, w->kind, now_ms(w));
		w->watching = w->listed = true;
		w->denied = false;
		kubernetes_on_listed(w->k);
	}
	kubernetes_watch_begin(w);
}

/* A watch that ended of itself, or by what it said. */
static void on_watch_end(struct kubernetes_watch *w, const struct fetch_result *result)
{
	if (w->is_gone) {
		forget_version(w);
		retry(w, 0);
	} else if (w->is_bad) {
		registry_say_error(w->k->r, REGISTRY_GARBAGE, "",
				   "watch %s: an event cannot be understood, or is too long",
				   resource(w));
		forget_version(w);
		retry(w, 0);
	} else if (w->refusal.code) {
		registry_say_error(
			w->k->r,
			w->refusal.code == 429 || w->refusal.code == 503 ? REGISTRY_OVERLOADED
									 : REGISTRY_FAILED,
			"", "%u in watch %s: %s", w->refusal.code, resource(w), w->refusal.text);
		retry(w, w->refusal.retry_after_s * 1000ull);
	} else if (result->elapsed_us < 1000000) {
		retry(w, 0); /* servers do not end them so soon: no storm */
	} else {
		registry_say_contact(w->k->r, 0);
		kubernetes_watch_begin(w);
	}
}

static void on_done(void *arg, const struct fetch_result *result)
{
	struct kubernetes_watch *w = arg;
	enum registry_error error = registry_error_of(result);

	w->fetch = NULL;
	if (w->watching && (w->is_gone || w->is_bad || w->refusal.code || error == REGISTRY_OK))
		on_watch_end(w, result);
	else if (error != REGISTRY_OK)
		on_failure(w, result, error);
	else
		on_page(w, result);
}
