/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * See event.h. Before: the daemon publishes. After: subscriber.c queues the line for each reader.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "control/answer.h"
#include "control/event.h"
#include "control/handler.h"
#include "control/sentence.h"
#include "control/subscriber.h"
#include "control/view.h"
#include "model/limits.h"

static bool is_about(const struct event_record *r, const char *namespace, const char *service)
{
	return (!namespace || strcmp(r->namespace, namespace) == 0) &&
	       (!service || strcmp(r->service, service) == 0);
}

static int recent_answer(struct request *q, bool connects);

/* ?connects; -EINVAL: answered. */
static int connects_read(struct request *q, bool *ret)
{
	struct problems problems = {};
	int r = 0;

	*ret = true;
	if (query_get(&q->query, "connects"))
		r = query_bool(&q->query, "connects", &problems, ret);
	if (r < 0)
		(void)answer_problem(q, 400, "%s", problems.n ? problems.items[0].message : "?");
	problems_done(&problems);
	return r;
}

int event_get(struct request *q)
{
	struct subscriber *s;
	bool connects;
	int r;

	if (connects_read(q, &connects) < 0)
		return 0;
	if (query_get(&q->query, "recent"))
		return recent_answer(q, connects);
	r = subscriber_new(q, SUBSCRIBER_EVENTS, &s);
	if (r < 0 || q->answered)
		return r;
	s->connects = connects;
	return subscriber_answer(q, s);
}

/* --- what is told -------------------------------------------------------------------------------
 */

static const struct service *event_owner(const struct control *c, const struct sn_event *e)
{
	size_t endpoint, port;
	const struct service *s = NULL;

	/* Who was asked: a fallback's backend has another owner. */
	if (e->service)
		s = c->ops.service_owner(c->ops.arg, e->service, &port);
	if (!s && e->backend)
		s = c->ops.backend_owner(c->ops.arg, e->backend, e->incarnation, &endpoint, &port);
	return s;
}

static void connect_fill(yyjson_mut_doc *doc, yyjson_mut_val *o, const struct sn_event *e)
{
	(void)yyjson_mut_obj_add_str(doc, o, "protocol", view_proto(e->proto));
	view_add_address_port(doc, o, "destination", &e->orig, ntohs(e->orig_port_be));
	if (e->latency_ns)
		view_add_seconds(doc, o, "latencySeconds", e->latency_ns);
	(void)yyjson_mut_obj_add_uint(doc, o, "workload", e->workload);
	(void)yyjson_mut_obj_add_uint(doc, o, "cookie", e->cookie);
}

/* Of what happened to a backend or a service. */
static void story_fill(yyjson_mut_doc *doc, yyjson_mut_val *o, const struct sn_event *e)
{
	(void)yyjson_mut_obj_add_str(doc, o, "protocol", view_proto(e->proto));
	if (e->type == SN_EVENT_PANIC)
		(void)yyjson_mut_obj_add_str(doc, o, "phase",
					     e->usable < e->total ? "begin" : "end");
	if (e->type == SN_EVENT_EJECTED || e->type == SN_EVENT_SHADOW) {
		(void)yyjson_mut_obj_add_str(doc, o, "trip", condition_trip(e->trip));
		(void)yyjson_mut_obj_add_uint(doc, o, "times", e->times);
	}
	if (e->duration_ns)
		view_add_seconds(doc, o, "durationSeconds", e->duration_ns);
	(void)yyjson_mut_obj_add_uint(doc, o, "usable", e->usable);
	(void)yyjson_mut_obj_add_uint(doc, o, "total", e->total);
}

static void event_fill(yyjson_mut_doc *doc, yyjson_mut_val *o, const struct event_record *r)
{
	const struct sn_event *e = &r->kernel;

	(void)yyjson_mut_obj_add_str(doc, o, "type", sentence_type(e->type));
	(void)yyjson_mut_obj_add_str(doc, o, "reason", view_reason(e->reason));
	if (sentence_is_connect(e->type))
		connect_fill(doc, o, e);
	else
		story_fill(doc, o, e);
	if (e->backend)
		view_add_address_port(doc, o, "backend", &e->peer, ntohs(e->peer_port_be));
	if (*r->object)
		view_add_text(doc, o, "next", r->object);
	view_add_text(doc, o, "message", r->message);
	if (*r->service) {
		view_add_text(doc, o, "namespace", r->namespace);
		view_add_text(doc, o, "service", r->service);
	}
}

static void note_fill(yyjson_mut_doc *doc, yyjson_mut_val *o, const struct event_record *r)
{
	view_add_text(doc, o, "type", r->type);
	view_add_text(doc, o, "object", r->object);
	view_add_text(doc, o, "message", r->message);
}

/* One line with its end; NULL: no memory. */
static char *record_write(const struct event_record *r, size_t *ret_length)
{
	yyjson_mut_doc *doc = yyjson_mut_doc_new(NULL);
	yyjson_mut_val *o;
	char *text;

	if (!doc)
		return NULL;
	o = yyjson_mut_obj(doc);
	yyjson_mut_doc_set_root(doc, o);
	view_add_time(doc, o, "time", r->ms);
	(*r->type ? note_fill : event_fill)(doc, o, r);
	text = yyjson_mut_write(doc, YYJSON_WRITE_NOFLAG, ret_length);
	yyjson_mut_doc_free(doc);
	if (text)
		text[(*ret_length)++] = '\n'; /* where the terminating NUL was */
	return text;
}

static bool is_connect(const struct event_record *r)
{
	return !*r->type && sentence_is_connect(r->kernel.type);
}

static struct event_ring *ring_of(struct control *c, const struct event_record *r)
{
	return &c->recent[is_connect(r) ? 0 : 1];
}

static void record_keep(struct control *c, const struct event_record *r)
{
	struct event_ring *ring = ring_of(c, r);
	struct event_record *kept;

	if (!ring->items)
		ring->items = calloc(LIMIT_RECENT, sizeof(*ring->items));
	if (!ring->items)
		return;
	kept = &ring->items[ring->n++ % LIMIT_RECENT];
	*kept = *r;
	kept->number = ++c->n_told;
}

static void record_publish(struct control *c, const struct event_record *r)
{
	_cleanup_free_ char *text = NULL;
	struct subscriber *next;
	size_t length;

	record_keep(c, r);
	text = c->subscribers ? record_write(r, &length) : NULL;
	if (!text)
		return;
	for (struct subscriber *s = c->subscribers; s; s = next) {
		next = s->next;
		if (s->of == SUBSCRIBER_EVENTS && is_about(r, s->namespace, s->service) &&
		    (s->connects || !is_connect(r)))
			subscriber_send(s, text, length);
	}
}

/* Where a connect went on to; it was chosen a moment ago. */
static void next_find(const struct control *c, const struct sn_event *e, char *buf, size_t size)
{
	char text[ADDRESS_TEXT];
	size_t endpoint, port;
	const struct service *s =
		e->next ? c->ops.backend_owner(c->ops.arg, e->next, 0, &endpoint, &port) : NULL;
	uint16_t target = s ? service_target(s, endpoint, port) : 0;

	if (s)
		(void)snprintf(buf, size, "%s",
			       address_format_port(&s->endpoints[endpoint].addr,
						   target ? target : ntohs(e->peer_port_be), text));
}

void control_publish_event(struct control *c, const struct sn_event *e)
{
	const struct service *s = event_owner(c, e);
	struct event_record r = {.ms = condition_wall_ms(e->time_ns, condition_now_ns()),
				 .kernel = *e};

	_Static_assert(sizeof(r.message) >= SENTENCE_TEXT, "room");
	if (s) {
		(void)snprintf(r.namespace, sizeof(r.namespace), "%s", s->namespace);
		(void)snprintf(r.service, sizeof(r.service), "%s", s->name);
	}
	if (e->type == SN_EVENT_FAILED_OVER)
		next_find(c, e, r.object, sizeof(r.object));
	sentence_format(e, s ? view_rules(c, s) : policy_default_rules(), r.object, r.message);
	record_publish(c, &r);
}

static void text_copy(char *to, size_t size, const char *text)
{
	(void)snprintf(to, size, "%s", text ? text : "");
	answer_repair_text(to);
}

/* Notes about services and their backends name the service as object: "shop/payments". */
void control_publish_note(struct control *c, const char *type, const char *object, const char *text)
{
	struct event_record r = {.ms = view_now_ms()};
	bool named = strncmp(type, "service.", 8) == 0 || strncmp(type, "backend.", 8) == 0;
	const char *slash = named ? strchr(object, '/') : NULL;

	text_copy(r.type, sizeof(r.type), type);
	text_copy(r.object, sizeof(r.object), object);
	text_copy(r.message, sizeof(r.message), text);
	if (slash && (size_t)(slash - object) < sizeof(r.namespace)) {
		(void)snprintf(r.namespace, sizeof(r.namespace), "%.*s", (int)(slash - object),
			       object);
		text_copy(r.service, sizeof(r.service), slash + 1);
	}
	record_publish(c, &r);
}

/* --- what was told lately ------------------------------------------------------------------------
 */

/* What was asked for of one ring, from the newest to the oldest. */
struct walk {
	const struct event_ring *ring;
	size_t left; /* not looked at */
	const char *namespace, *service;
};

static const struct event_record *walk_peek(struct walk *w)
{
	size_t first = w->ring->n > LIMIT_RECENT ? w->ring->n - LIMIT_RECENT : 0;

	for (; w->left > first; w->left--) {
		const struct event_record *r = &w->ring->items[(w->left - 1) % LIMIT_RECENT];

		if (is_about(r, w->namespace, w->service))
			return r;
	}
	return NULL;
}

/* The last `want` of both rings, the newest first. Returns how many there are. */
static size_t recent_collect(const struct request *q, bool connects, size_t want,
			     const struct event_record **ret)
{
	const struct control *c = q->control;
	struct walk walks[2];
	size_t n = 0;

	for (size_t i = 0; i < ARRAY_SIZE(walks); i++)
		walks[i] = (struct walk){&c->recent[i], i || connects ? c->recent[i].n : 0,
					 query_get(&q->query, "namespace"),
					 query_get(&q->query, "service")};
	while (n < want) {
		const struct event_record *a = walk_peek(&walks[0]), *b = walk_peek(&walks[1]);

		if (!a && !b)
			break;
		if (a && (!b || a->number > b->number)) {
			ret[n++] = a;
			walks[0].left--;
		} else {
			ret[n++] = b;
			walks[1].left--;
		}
	}
	return n;
}

/* The oldest first. */
static void recent_write(struct request *q, bool connects, size_t want, struct bytes *out)
{
	const struct event_record *found[LIMIT_RECENT];
	size_t n = recent_collect(q, connects, want, found);

	while (n-- > 0) {
		_cleanup_free_ char *text = NULL;
		size_t length;

		text = record_write(found[n], &length);
		if (text)
			bytes_append(out, text, length);
		out->failed = out->failed || !text;
	}
}

static int recent_answer(struct request *q, bool connects)
{
	struct query_range range = {1, LIMIT_RECENT};
	struct problems problems = {};
	struct bytes out = {};
	uint64_t want = 0;
	int r = query_number(&q->query, "recent", range, &problems, &want);

	if (r < 0) {
		r = answer_problem(q, 400, "%s", problems.n ? problems.items[0].message : "?");
		problems_done(&problems);
		return r;
	}
	recent_write(q, connects, (size_t)want, &out);
	r = out.failed ? -ENOMEM
		       : answer_response(q, 200, TYPE_NDJSON,
					 MHD_create_response_from_buffer(out.length, out.data,
									 MHD_RESPMEM_MUST_COPY));
	bytes_done(&out);
	return r;
}
