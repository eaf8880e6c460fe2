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

#define LIST_MS 30000
#define LIST_SILENCE_MS 10000
#define WATCH_S 240 /* and up to WATCH_MORE_S by chance */
#define WATCH_MORE_S 60
#define WATCH_LEAST_S 1
#define CHECK_MS 10000
#define LATE_MS 15000        /* how much longer than asked for a watch may take to end */
#define STREAMS_MOST 2       /* that break before they are whole; then pages are asked for */
#define SOON_US 500000       /* a watch that ends within it is a failure */
#define DENIED_MS 300000     /* we may be allowed later */
#define DENIED_PODS_MS 15000 /* somebody waits for them */

static void on_timer(uv_timer_t *timer);
static int on_data(void *arg, const char *data, size_t length);
static void on_done(void *arg, const struct fetch_result *result);

static uint64_t now_ms(const struct kubernetes_watch *w)
{
	return uv_now(w->k->r->loop);
}

static const char *resource(const struct kubernetes_watch *w)
{
	static const char *const names[] = {"services", "endpointslices", "nodes", "configmaps",
					    "pods"};

	return names[w->kind];
}

static const char *verb(const struct kubernetes_watch *w)
{
	return w->step == KUBERNETES_LIST ? "list" : w->step == KUBERNETES_CHECK ? "get" : "watch";
}

/* Without these all but a little is known. */
static bool is_dispensable(const struct kubernetes_watch *w)
{
	return w->kind == KUBERNETES_NODE || w->kind == KUBERNETES_CONFIGMAP ||
	       w->kind == KUBERNETES_POD;
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

/*
 * A watch ends of itself, and is taken up again: that is how we know that the server is there, for
 * bookmarks come too seldom. That of EndpointSlices ends often enough for a registry never to be
 * stale while all is well; the others need not.
 */
static unsigned int watch_seconds(const struct kubernetes_watch *w)
{
	uint64_t half = w->k->r->config->stale_ms / 2000,
		 most = WATCH_S + (uv_hrtime() >> 10) % WATCH_MORE_S;

	if (w->kind != KUBERNETES_SLICE || half > most)
		return (unsigned int)most;
	return half < WATCH_LEAST_S ? WATCH_LEAST_S : (unsigned int)half;
}

static void append_path(struct text_buffer *b, const struct kubernetes_watch *w)
{
	const char *only = w->step == KUBERNETES_CHECK ? w->newest.namespace
						       : w->k->r->config->remote_namespace;

	if (w->kind == KUBERNETES_SLICE)
		text_append_format(b, "/apis/discovery.k8s.io/%s/", w->k->slices);
	else
		text_append(b, "/api/v1/");
	if (w->kind != KUBERNETES_NODE && only && *only) {
		text_append(b, "namespaces/");
		append_escaped(b, only);
		text_append(b, "/");
	}
	text_append(b, resource(w));
}

static char *make_url(const struct kubernetes_watch *w, unsigned int seconds)
{
	struct text_buffer b = {};

	append_path(&b, w);
	if (w->step == KUBERNETES_CHECK) {
		text_append(&b, "/");
		append_escaped(&b, w->newest.name);
		return text_take(&b);
	}
	if (w->step == KUBERNETES_LIST)
		text_append_format(&b, "?limit=%u%s", w->page, *w->next ? "&continue=" : "");
	else
		text_append_format(
			&b, "?watch=1&allowWatchBookmarks=true&timeoutSeconds=%u%s", seconds,
			w->step == KUBERNETES_WATCH
				? "&resourceVersion="
				: "&sendInitialEvents=true&resourceVersionMatch=NotOlderThan");
	append_escaped(&b, w->step == KUBERNETES_LIST    ? w->next
			   : w->step == KUBERNETES_WATCH ? w->version
							 : "");
	if (w->kind == KUBERNETES_CONFIGMAP) {
		text_append(&b, "&labelSelector=");
		append_escaped(&b, KUBERNETES_POLICY);
	} else if (w->kind == KUBERNETES_POD) {
		text_append(&b, "&fieldSelector=spec.nodeName%3D");
		append_escaped(&b, w->k->node);
	}
	return text_take(&b);
}

static void retry(struct kubernetes_watch *w, uint64_t at_least_ms)
{
	(void)uv_timer_start(&w->timer, on_timer, registry_backoff_of(&w->wait_ms, at_least_ms), 0);
}

/* A list is to be made from its beginning. */
static void forget_version(struct kubernetes_watch *w)
{
	w->step = KUBERNETES_LIST;
	*w->version = *w->next = '\0';
}

/* As a list is begun. */
static enum kubernetes_step first_step(const struct kubernetes_watch *w)
{
	return w->k->streams && w->streams < STREAMS_MOST ? KUBERNETES_STREAM : KUBERNETES_LIST;
}

static bool is_stream(const struct kubernetes_watch *w)
{
	return w->step == KUBERNETES_STREAM || w->step == KUBERNETES_WATCH;
}

static int begin(struct kubernetes_watch *w)
{
	unsigned int seconds = watch_seconds(w);
	_cleanup_free_ char *url = make_url(w, seconds);
	bool stream = is_stream(w);
	/* However slowly it comes, it ends. */
	struct fetch_request request = {
		.url = url,
		.timeout_ms = stream                        ? seconds * 1000 + LATE_MS
			      : w->step == KUBERNETES_CHECK ? CHECK_MS
							    : LIST_MS,
		.silence_ms = stream ? 0 : LIST_SILENCE_MS,
		.on_data = stream ? on_data : NULL,
		.on_done = on_done,
		.arg = w,
	};

	return url ? kubernetes_ask(w->k, &request, &w->fetch) : -ENOMEM;
}

/*
 * A server that comes back may have lost what it had, or have an old state again, and by now be
 * beyond our version: then it would go on from there as if nothing were amiss. So after a failure
 * the newest object that we know is looked at before its watch is taken up; without one the list
 * is made anew.
 */
static void choose_step(struct kubernetes_watch *w)
{
	if (w->failing && w->step == KUBERNETES_WATCH && w->newest.identity.version)
		w->step = KUBERNETES_CHECK;
	else if (w->failing && w->step == KUBERNETES_WATCH)
		forget_version(w);
	if ((w->step == KUBERNETES_LIST || w->step == KUBERNETES_STREAM) && !*w->next) {
		w->step = first_step(w);
		w->newest = (struct kubernetes_mark){};
		kubernetes_on_begin(w);
	}
}

void kubernetes_watch_begin(struct kubernetes_watch *w)
{
	int r;

	choose_step(w);
	text_done(&w->line);
	w->is_gone = w->is_bad = w->waits = false;
	w->refusal = (struct kubernetes_refusal){};
	w->heard_ms = now_ms(w);
	r = begin(w);
	if (r == -EAGAIN) {
		w->waits = true;
	} else if (r < 0) {
		w->failing = true;
		retry(w, 1000);
	}
}

static void on_timer(uv_timer_t *timer)
{
	struct kubernetes_watch *w = timer->data;

	w->waits = true;
	kubernetes_go(w->k);
}

void kubernetes_watch_stop(struct kubernetes_watch *w)
{
	w->fetch = fetch_cancel(w->fetch);
	(void)uv_timer_stop(&w->timer);
	text_done(&w->line);
}

void kubernetes_watch_doubt(struct kubernetes_watch *w)
{
	if (!w->fetch || w->step != KUBERNETES_WATCH || w->failing)
		return;
	kubernetes_watch_stop(w);
	w->failing = true;
	kubernetes_watch_begin(w);
}

void kubernetes_watch_forget(struct kubernetes_watch *w)
{
	if (!w->listed || w->denied)
		return;
	kubernetes_watch_stop(w);
	forget_version(w);
	kubernetes_watch_begin(w);
}

/* --- objects --------------------------------------------------------------------------------- */

static void note_newest(struct kubernetes_watch *w, const struct kubernetes_object *o)
{
	struct kubernetes_mark *m = &w->newest;

	if (o->version <= m->identity.version)
		return;
	m->identity = (struct kubernetes_identity){o->uid, o->version};
	(void)snprintf(m->namespace, sizeof(m->namespace), "%s", kubernetes_text(o, o->namespace));
	(void)snprintf(m->name, sizeof(m->name), "%s", kubernetes_text(o, o->name));
}

static void note_deleted(struct kubernetes_watch *w, const struct kubernetes_object *o)
{
	if (o->uid == w->newest.identity.uid)
		w->newest = (struct kubernetes_mark){};
}

/* Nodes and policies are there for whichever services are. */
static bool is_wanted(const struct kubernetes_watch *w, const struct kubernetes_object *o)
{
	if (o->kind == KUBERNETES_NODE || o->kind == KUBERNETES_CONFIGMAP)
		return true;
	return registry_is_selected(
		w->k->r, kubernetes_text(o, o->kind == KUBERNETES_SLICE ? o->service : o->name));
}

/* Takes o. Services that are not selected are as good as gone. */
static int put(struct kubernetes_watch *w, struct kubernetes_object *o)
{
	int r;

	note_newest(w, o);
	if (o->kind == KUBERNETES_POD) {
		kubernetes_pods_put(w->k, o);
		return 0;
	}
	if (is_wanted(w, o)) {
		r = kubernetes_join_put(w->k->join, o, now_ms(w));
		return r == -E2BIG ? 0 : r;
	}
	kubernetes_join_delete(w->k->join, o, now_ms(w));
	kubernetes_object_free(o);
	return 0;
}

/* --- streams --------------------------------------------------------------------------------- */

/* All that was there is there: what is said from now on is news. */
static void end_list(struct kubernetes_watch *w)
{
	kubernetes_on_whole(w);
	w->listed = w->relisted = true;
	w->denied = false;
	w->step = KUBERNETES_WATCH;
	w->streams = 0;
	kubernetes_on_listed(w->k);
}

static int on_bookmark(struct kubernetes_watch *w, const struct kubernetes_event *e)
{
	if (w->step != KUBERNETES_STREAM)
		return 0;
	if (e->is_whole) {
		end_list(w);
		return 0;
	}
	/* A server that does not know what was asked for. */
	w->k->streams = false;
	w->is_gone = true;
	return -ECANCELED;
}

static int on_event(struct kubernetes_watch *w, struct kubernetes_event *e)
{
	int r = 0;

	if (e->type == KUBERNETES_ERROR) {
		w->refusal = e->refusal;
		w->is_gone = e->refusal.code == 410 || e->refusal.is_unknown;
		return -ECANCELED;
	}
	memcpy(w->version, e->version, sizeof(w->version));
	if (e->type == KUBERNETES_BOOKMARK)
		return on_bookmark(w, e);
	if (e->type == KUBERNETES_DELETED && e->object) {
		note_deleted(w, e->object);
		kubernetes_on_deleted(w->k, e->object);
	} else if (e->object) {
		r = put(w, e->object);
	} else {
		registry_say_skipped(w->k->r, "%s", e->refusal.text);
	}
	return r;
}

static int on_line(void *arg, const char *line, size_t length)
{
	struct kubernetes_watch *w = arg;
	struct kubernetes_event e = {};
	int r = kubernetes_decode_event(line, length, w->kind, &e);

	if (r >= 0)
		r = on_event(w, &e);
	if (r >= 0)
		kubernetes_on_contact(w, 0);
	return r;
}

static int on_data(void *arg, const char *data, size_t length)
{
	struct kubernetes_watch *w = arg;
	const struct text_lines lines = {KUBERNETES_LINE, on_line, w};
	int r = text_take_lines(&w->line, &lines, data, length);

	w->is_bad = r < 0 && r != -ECANCELED;
	kubernetes_on_change(w->k);
	return r;
}

/* --- answers --------------------------------------------------------------------------------- */

static void say_failure(struct kubernetes_watch *w, const struct fetch_result *result,
			enum registry_error error)
{
	const struct kubernetes_failure failure = {verb(w), resource(w), error, result};

	if (w->kind == KUBERNETES_POD)
		kubernetes_pods_failed(w->k, &failure);
	retry(w, kubernetes_say_failure(w->k, &failure));
}

static void do_without(struct kubernetes_watch *w, const struct fetch_result *result,
		       enum registry_error error)
{
	const struct kubernetes_failure failure = {verb(w), resource(w), error, result};
	bool is_pod = w->kind == KUBERNETES_POD, first = !w->denied;

	w->denied = true;
	w->failing = false;
	(void)uv_timer_start(&w->timer, on_timer, is_pod ? DENIED_PODS_MS : DENIED_MS, 0);
	if (is_pod)
		kubernetes_pods_failed(w->k, &failure);
	if (is_pod || !first)
		return;
	registry_say_skipped(
		w->k->r, "%u on %s %s: %s", result->status, failure.verb, failure.resource,
		w->kind == KUBERNETES_NODE ? "endpoints have only the zones of their slices"
					   : "policies of ConfigMaps are not read");
	kubernetes_on_listed(w->k);
}

/* Servers differ in how they refuse what they do not know. */
static bool is_stream_refused(const struct kubernetes_watch *w, const struct fetch_result *result)
{
	return w->step == KUBERNETES_STREAM && !result->error &&
	       (result->status == 400 || result->status == 405 || result->status == 422);
}

/* The version that was asked for is too old for the server, or none that it has reached. */
static bool is_version_refused(const struct fetch_result *result)
{
	struct kubernetes_refusal why;

	if (result->error)
		return false;
	kubernetes_decode_refusal(result->body, result->length, &why);
	return result->status == 410 || why.is_unknown;
}

static void on_failure(struct kubernetes_watch *w, const struct fetch_result *result,
		       enum registry_error error)
{
	bool was = w->failing;

	if (is_stream_refused(w, result)) {
		w->k->streams = false;
		forget_version(w);
		kubernetes_watch_begin(w);
		return;
	}
	w->failing = true;
	w->streams += w->step == KUBERNETES_STREAM;
	if (result->error == -EMSGSIZE && w->page > 1)
		w->page /= 2;
	if (result->error == -EMSGSIZE)
		forget_version(w);
	if (is_version_refused(result)) {
		forget_version(w);
		retry(w, 0);
		return;
	}
	if (is_dispensable(w) && (error == REGISTRY_FORBIDDEN || error == REGISTRY_MISSING)) {
		forget_version(w);
		do_without(w, result, error);
		return;
	}
	if (error == REGISTRY_UNAUTHORIZED)
		kubernetes_distrust(w->k, result->elapsed_us);
	/* Another version of their API may be there. */
	if (error == REGISTRY_MISSING && w->kind == KUBERNETES_SLICE)
		w->k->discovered = false;
	say_failure(w, result, error);
	if (result->error && !was)
		kubernetes_on_lost(w);
}

static void on_page(struct kubernetes_watch *w, const struct fetch_result *result)
{
	uint64_t waited = w->wait_ms;
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
		w->failing = true;
		registry_say_error(w->k->r, REGISTRY_GARBAGE, "", "list %s: %s", resource(w),
				   r == -ENOMEM ? "out of memory" : "the answer is no whole list");
		forget_version(w);
		retry(w, 0);
		return;
	}
	/* Its watch may be refused at once: only what that says ends the growth of waits. */
	kubernetes_on_contact(w, result->elapsed_us);
	w->wait_ms = waited;
	if (!*w->next)
		end_list(w);
	kubernetes_watch_begin(w);
}

/* It is the server that we know, and has all that we have seen; or it is another one. */
static void on_check(struct kubernetes_watch *w, const struct fetch_result *result)
{
	const struct kubernetes_identity *known = &w->newest.identity;
	struct kubernetes_identity now = {};
	uint64_t waited = w->wait_ms;
	int r = kubernetes_decode_identity(result->body, result->length, w->kind, &now);

	/* The watch may end at once again: only what it says ends the growth of waits. */
	kubernetes_on_contact(w, result->elapsed_us);
	w->wait_ms = waited;
	if (r < 0 || now.uid != known->uid || now.version < known->version) {
		kubernetes_on_other_history(w->k);
		return;
	}
	w->step = KUBERNETES_WATCH;
	kubernetes_watch_begin(w);
}

static void say_refusal(struct kubernetes_watch *w)
{
	unsigned int code = w->refusal.code;

	registry_say_error(w->k->r,
			   code == 429 || code == 503 ? REGISTRY_OVERLOADED : REGISTRY_FAILED, "",
			   "%u in watch %s: %s", code, resource(w), w->refusal.text);
}

/* A stream that ended of itself, or by what it said. */
static void on_stream_end(struct kubernetes_watch *w, const struct fetch_result *result)
{
	bool whole = w->step == KUBERNETES_WATCH;

	w->streams += !whole;
	if (w->is_gone) {
		forget_version(w);
		retry(w, w->refusal.retry_after_s * 1000ull);
		return;
	}
	if (w->is_bad)
		registry_say_error(w->k->r, REGISTRY_GARBAGE, "",
				   "watch %s: an event cannot be understood, or is too long",
				   resource(w));
	else if (w->refusal.code)
		say_refusal(w);
	if (w->is_bad || !whole)
		forget_version(w);
	if (w->is_bad || w->refusal.code || !whole || result->elapsed_us < SOON_US) {
		w->failing = true;
		retry(w, w->refusal.retry_after_s * 1000ull);
		return;
	}
	kubernetes_on_contact(w, 0);
	kubernetes_watch_begin(w);
}

static void on_done(void *arg, const struct fetch_result *result)
{
	struct kubernetes_watch *w = arg;
	enum registry_error error = registry_error_of(result);

	w->fetch = NULL;
	if (is_stream(w) && (w->is_gone || w->is_bad || w->refusal.code || error == REGISTRY_OK))
		on_stream_end(w, result);
	else if (w->step == KUBERNETES_CHECK &&
		 (error == REGISTRY_FORBIDDEN || error == REGISTRY_MISSING))
		kubernetes_on_other_history(w->k);
	else if (error != REGISTRY_OK)
		on_failure(w, result, error);
	else if (w->step == KUBERNETES_CHECK)
		on_check(w, result);
	else
		on_page(w, result);
}
