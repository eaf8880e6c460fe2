/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * See registrations.h. Before: sinewd's control socket. After: register/. Nothing is taken out of a
 * registry because sinewd is away, or has not told everything yet.
 */
#include "agent/registrations.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "agent/registrations_state.h"
#include "base/json.h"
#include "base/log.h"
#include "model/address.h"
#include "model/codec.h"
#include "model/limits.h"

#define URL "http://sinewd/v1/registrations"
#define POLL_MS 1000u
#define TIMEOUT_MS 5000u
#define LEAVE_MS 3000u
#define DOUBT_MS 10000u

/* --- what is to be where ---------------------------------------------------------------------- */

static int world_registry(void *arg, const char *name)
{
	const struct registrations *s = arg;

	return registrar_find(s->registrar, name);
}

static int world_labels(void *arg, const char *container, const struct label *labels, size_t n)
{
	const struct registrations *s = arg;

	return labels_match(s->labels, container, labels, n);
}

static const struct pod *world_pod(void *arg, const char *uid)
{
	const struct registrations *s = arg;

	return s->pods.find(s->pods.arg, uid);
}

/*
 * Whether what is not matched is to be taken out. Just started, we find what we had registered, and
 * must not take it out because somebody else has yet to tell us whose sockets those are.
 */
static bool is_whole(struct registrations *s, bool doubt)
{
	if (!listeners_is_whole(s->listeners))
		return false;
	s->settled = s->settled || !doubt || uv_now(s->loop) - s->started_ms >= DOUBT_MS;
	return s->settled;
}

static void rematch(void *arg)
{
	struct registrations *s = arg;
	const struct match_world world = {.node = s->node,
					  .address = s->has_address ? &s->address : NULL,
					  .arg = s,
					  .registry = world_registry,
					  .has_labels = world_labels,
					  .pod = world_pod};
	struct match m;
	int r;

	if (!s->known || s->left)
		return;
	r = match_make(s->list, s->n, listeners_table(s->listeners), &world, &m);
	if (r >= 0) {
		match_done(&s->match);
		s->match = m;
		r = registrar_want(s->registrar, &s->match, is_whole(s, m.doubt));
	}
	if (r < 0)
		(void)log_err_r(r, "registrations: not all are registered");
}

/* --- what the registrar does ------------------------------------------------------------------ */

static void on_changed(void *arg, const struct registrar_item *item, bool gone)
{
	const char *registry = item->registry;

	if (gone)
		log_info("%s: %s is no longer there", registry, item->id);
	else if (item->state == RECORD_REGISTERED)
		log_info("%s: %s at %s is registered, for %s", registry, item->service,
			 item->wanted->hostport, item->wanted->owner);
	else if (item->state == RECORD_FAILING)
		log_warn("%s: %s at %s: %s; trying again", registry, item->service,
			 item->wanted->hostport, item->text);
	else if (item->state == RECORD_FOUND)
		log_info("%s: %s was there before us; it stays until it is known who listens",
			 registry, item->id);
}

static void on_failing(void *arg, const char *registry, const char *text)
{
	if (text)
		log_warn("%s: cannot be written: %s; trying again, its leases run on", registry,
			 text);
	else
		log_notice("%s: can be written", registry);
}

static void finish_leaving(struct registrations *s)
{
	void (*left)(void *arg) = s->left;

	(void)uv_timer_stop(&s->late);
	s->left = NULL;
	if (left)
		left(s->left_arg);
}

static void on_left(void *arg)
{
	finish_leaving(arg);
}

static void on_late(uv_timer_t *timer)
{
	log_warn(
		"registrations: not all could be taken out in time; the rest ends with its leases");
	finish_leaving(timer->data);
}

/* --- what sinewd has -------------------------------------------------------------------------- */

static void drop_list(struct registrations *s)
{
	for (size_t i = 0; i < s->n; i++)
		registration_unref(s->list[i]);
	free(s->list);
	s->list = NULL;
	s->n = 0;
}

static int compare(const void *x, const void *y)
{
	const struct registration *const *a = x, *const *b = y;
	int r = strcmp((*a)->namespace, (*b)->namespace);

	return r ? r : strcmp((*a)->name, (*b)->name);
}

static bool has_by_pod(const struct registrations *s)
{
	for (size_t i = 0; i < s->n; i++)
		if (s->list[i]->by == REGISTRATION_BY_POD)
			return true;
	return false;
}

static int take_objects(struct registrations *s, const struct object *objects, size_t n)
{
	struct registration **list = calloc(n ? n : 1, sizeof(struct registration *));

	if (!list)
		return -ENOMEM;
	drop_list(s);
	s->list = list;
	for (size_t i = 0; i < n; i++)
		if (objects[i].kind == OBJECT_REGISTRATION)
			s->list[s->n++] = registration_ref(objects[i].registration);
	qsort(s->list, s->n, sizeof(struct registration *), compare);
	s->known = true;
	s->pods.want(s->pods.arg, has_by_pod(s));
	return 0;
}

/* -EBADMSG and -EINVAL with a sentence. */
static int take_answer(struct registrations *s, const struct fetch_result *result,
		       char error[static JSON_ERROR])
{
	struct object *objects = NULL;
	struct problems problems = {};
	yyjson_doc *doc;
	size_t n = 0;
	int r = json_parse(result->body, result->length, LIMIT_DEPTH, &doc, error);

	if (r < 0)
		return r;
	r = codec_decode_items(yyjson_obj_get(yyjson_doc_get_root(doc), "items"), "sinewd",
			       &problems, &objects, &n);
	if (r == -EINVAL)
		(void)snprintf(error, JSON_ERROR, "%.60s: %.90s",
			       problems.n ? problems.items[0].pointer : "",
			       problems.n ? problems.items[0].message : "no list of objects");
	if (r >= 0)
		r = take_objects(s, objects, n);
	(void)object_free_list(objects, n);
	problems_done(&problems);
	yyjson_doc_free(doc);
	return r;
}

static void complain(struct registrations *s, const char *text)
{
	if (strcmp(s->error, text) != 0)
		log_warn("registrations: %s; those that are known stay", text);
	(void)snprintf(s->error, sizeof(s->error), "%s", text);
}

static void on_answer(struct registrations *s, const struct fetch_result *result)
{
	const char *etag = fetch_header(result->fetch, "ETag");
	char error[JSON_ERROR] = "no memory for them", text[200];
	int r = take_answer(s, result, error);

	if (r < 0) {
		(void)snprintf(text, sizeof(text), "sinewd's list: %s", error);
		complain(s, text);
		return;
	}
	(void)snprintf(s->etag, sizeof(s->etag), "%s", etag ? etag : "");
	s->error[0] = '\0';
	rematch(s);
}

static void on_poll(uv_timer_t *timer);

static void on_done(void *arg, const struct fetch_result *result)
{
	struct registrations *s = arg;
	char text[200];

	s->fetch = NULL;
	if (!result->error && result->status == 200) {
		on_answer(s, result);
	} else if (!result->error && result->status == 304) {
		s->error[0] = '\0';
		if (!s->settled)
			rematch(s);
	} else {
		(void)snprintf(text, sizeof(text),
			       result->error ? "sinewd: %.150s" : "sinewd: status %.0s%u",
			       result->error_text, result->status);
		complain(s, text);
	}
	(void)uv_timer_start(&s->poll, on_poll, POLL_MS, 0);
}

static void ask(struct registrations *s)
{
	char match[100];
	const char *headers[] = {"Accept: application/json", NULL, NULL};
	const struct fetch_request request = {.url = URL,
					      .unix_socket = s->config->control_socket,
					      .headers = headers,
					      .timeout_ms = TIMEOUT_MS,
					      .on_done = on_done,
					      .arg = s};

	if (*s->etag) {
		(void)snprintf(match, sizeof(match), "If-None-Match: %s", s->etag);
		headers[1] = match;
	}
	if (fetch_begin(s->fetcher, &request, &s->fetch) < 0)
		(void)uv_timer_start(&s->poll, on_poll, POLL_MS, 0);
}

static void on_poll(uv_timer_t *timer)
{
	ask(timer->data);
}

/* --- life ------------------------------------------------------------------------------------- */

static int set_node(struct registrations *s)
{
	const struct agent_config *c = s->config;

	if (c->node_name && *c->node_name)
		(void)snprintf(s->node, sizeof(s->node), "%s", c->node_name);
	else if (gethostname(s->node, sizeof(s->node) - 1) < 0)
		return -errno;
	s->has_address = c->node_address && *c->node_address &&
			 address_parse(c->node_address, &s->address) >= 0;
	return 0;
}

static int open_parts(struct registrations *s)
{
	const struct registrar_host host = {s, on_changed, on_failing, rematch, on_left};
	const struct listeners_host listeners_host = {s, rematch};
	const struct labels_host labels_host = {s, rematch};
	int r = set_node(s);

	if (r >= 0)
		r = labels_new(s->loop, s->fetcher, NULL, &labels_host, &s->labels);
	if (r >= 0)
		r = registrar_new(s->loop, s->fetcher, s->node, &host, &s->registrar);
	if (r >= 0)
		r = listeners_new(s->loop, s->fetcher, s->config->control_socket, &listeners_host,
				  &s->listeners);
	return r;
}

int registrations_new(uv_loop_t *loop, struct fetcher *fetcher, const struct agent_config *config,
		      const struct registrations_pods *pods, struct registrations **ret)
{
	struct registrations *s = calloc(1, sizeof(*s));
	int r;

	if (!s)
		return -ENOMEM;
	s->loop = loop;
	s->fetcher = fetcher;
	s->config = config;
	s->pods = *pods;
	s->started_ms = uv_now(loop);
	(void)uv_timer_init(loop, &s->poll); /* cannot fail */
	(void)uv_timer_init(loop, &s->late);
	s->poll.data = s->late.data = s;
	r = open_parts(s);
	if (r < 0) {
		registrations_close(s);
		return r;
	}
	ask(s);
	*ret = s;
	return 0;
}

void registrations_on_pods(struct registrations *s)
{
	rematch(s);
}

int registrations_set(struct registrations *s, unsigned int registry,
		      struct registry_config *config)
{
	return registrar_set(s->registrar, registry, config);
}

void registrations_settle(struct registrations *s, struct registry_config *engine, bool doubt)
{
	int r = labels_set_engine(s->labels, engine);

	if (r < 0)
		(void)log_err_r(r, "labels of containers are asked of the former engine");
	if (doubt) {
		s->settled = false;
		s->started_ms = uv_now(s->loop);
	}
	rematch(s);
}

void registrations_leave(struct registrations *s, void (*left)(void *arg), void *arg)
{
	s->left = left;
	s->left_arg = arg;
	(void)uv_timer_start(&s->late, on_late, LEAVE_MS, 0);
	registrar_leave(s->registrar);
}

static void on_late_closed(uv_handle_t *handle)
{
	free(handle->data);
}

static void on_poll_closed(uv_handle_t *handle)
{
	struct registrations *s = handle->data;

	uv_close((uv_handle_t *)&s->late, on_late_closed);
}

void registrations_close(struct registrations *s)
{
	if (!s)
		return;
	s->fetch = fetch_cancel(s->fetch);
	listeners_close(s->listeners);
	labels_close(s->labels);
	registrar_close(s->registrar);
	match_done(&s->match);
	drop_list(s);
	uv_close((uv_handle_t *)&s->poll, on_poll_closed);
}
