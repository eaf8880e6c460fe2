/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Changes: one object, a source's whole snapshot, a delta. Before: route.c, body.c. After: the
 * daemon plans, applies and makes durable. The precondition is checked in the same turn of the
 * loop as the change is applied, so that two writers cannot lose an update. Nothing is applied by
 * half: the store takes a change whole or not at all.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "control/answer.h"
#include "control/body.h"
#include "control/handler.h"
#include "control/name.h"
#include "control/view.h"
#include "control/write.h"
#include "model/codec.h"
#include "model/limits.h"

#define SOURCE_DEFAULT "manifest"

struct write {
	struct stream stream;    /* the answer, once there is one */
	struct request *request; /* NULL: the client has gone */
	struct plan plan;
	char source[LIMIT_SOURCE + 1];
	uint64_t generation;
	bool dry_run, show, created, begun;
	bool applying, applied; /* the callback came before apply returned */
	int result;
	size_t n_created, n_changed, n_deleted;
	size_t next; /* of the plan's changes */
	size_t shown;
};

/* What a handler wants of change_make. */
struct wish {
	struct change change;
	const struct body *body;
	const char
		*current; /* entity tag without quotes of what is to change; NULL: does not exist */
	bool created;     /* answer 201 */
};

/* --- the answer --------------------------------------------------------------------------- */

static void write_free(struct write *w)
{
	plan_done(&w->plan);
	free(w);
}

static void on_stream_free(struct stream *s)
{
	write_free(container_of(s, struct write, stream));
}

static const char *action_of(const struct object *old, const struct object *new)
{
	return !old->kind ? "create" : new->kind ? "update" : "delete";
}

static void change_name(yyjson_mut_doc *doc, yyjson_mut_val *item, const struct object *o)
{
	(void)yyjson_mut_obj_add_str(doc, item, "kind", object_kind_name(o->kind));
	view_add_text(doc, item, "namespace", object_namespace(o));
	view_add_text(doc, item, "name", object_name(o));
}

static yyjson_mut_val *change_view(yyjson_mut_doc *doc, const struct object *old,
				   const struct object *new)
{
	const struct object *any = new->kind ? new : old;
	yyjson_mut_val *item = yyjson_mut_obj(doc);

	(void)yyjson_mut_obj_add_str(doc, item, "action", action_of(old, new));
	change_name(doc, item, any);
	if (old->kind)
		(void)yyjson_mut_obj_add_val(doc, item, "old", view_object(doc, old));
	if (new->kind)
		(void)yyjson_mut_obj_add_val(doc, item, "new", view_object(doc, new));
	return item;
}

static int change_write(struct write *w, size_t i)
{
	_cleanup_free_ char *text = NULL;
	struct object old, new;
	yyjson_mut_doc *doc;
	size_t length;

	(void)plan_at(&w->plan, i, &old, &new);
	if (!old.kind && !new.kind)
		return 0;
	doc = yyjson_mut_doc_new(NULL);
	if (!doc)
		return -ENOMEM;
	yyjson_mut_doc_set_root(doc, change_view(doc, &old, &new));
	text = yyjson_mut_write(doc, YYJSON_WRITE_NOFLAG, &length);
	yyjson_mut_doc_free(doc);
	if (!text)
		return -ENOMEM;
	if (w->shown++)
		bytes_text(&w->stream.out, ",");
	bytes_append(&w->stream.out, text, length);
	return 0;
}

static void head_write(struct write *w)
{
	struct bytes *out = &w->stream.out;

	/* A source's name holds nothing that JSON would escape: see name.h. */
	bytes_format(out,
		     "{\"apiVersion\":\"" API_VERSION
		     "\",\"kind\":\"ChangeResult\",\"source\":\"%s\","
		     "\"generation\":%llu,\"dryRun\":%s,\"created\":%zu,\"changed\":%zu,"
		     "\"deleted\":%zu,\"unchanged\":%zu",
		     w->source, (unsigned long long)w->generation, w->dry_run ? "true" : "false",
		     w->n_created, w->n_changed, w->n_deleted, w->plan.n_unchanged);
	if (w->show)
		bytes_text(out, ",\"changes\":[");
	w->begun = true;
}

static int write_step(struct stream *s)
{
	struct write *w = container_of(s, struct write, stream);

	if (!w->begun)
		head_write(w);
	if (w->show && w->next < plan_size(&w->plan))
		return change_write(w, w->next++);
	bytes_text(&s->out, w->show ? "]}\n" : "}\n");
	return 1;
}

/* Without the list of changes it is one short line, whose length is known. */
static int line_answer(struct write *w, struct request *q)
{
	unsigned int status = w->created ? 201 : 200;
	struct bytes line;

	head_write(w);
	bytes_text(&w->stream.out, "}\n");
	line = w->stream.out;
	write_free(w);
	return answer_bytes(q, status, TYPE_JSON, &line);
}

static int write_answer(struct write *w, struct request *q)
{
	if (!w->show)
		return line_answer(w, q);
	w->stream.step = write_step;
	w->stream.free = on_stream_free;
	return answer_stream(q, w->created ? 201 : 200, TYPE_JSON, &w->stream);
}

/* --- applying ----------------------------------------------------------------------------- */

void write_forget(struct write *w)
{
	w->request = NULL;
}

static int write_finish(struct write *w, struct request *q, int result)
{
	int r;

	if (result >= 0)
		return write_answer(w, q);
	q->etag[0] = 0;
	r = answer_problem(q, result == -ENOSPC ? 507 : 503,
			   "the change is in effect, but could not be written to disk: %s",
			   strerror(-result));
	write_free(w);
	return r;
}

static void on_applied(void *arg, int result)
{
	struct write *w = arg;
	struct request *q = w->request;

	w->applied = true;
	w->result = result;
	if (w->applying)
		return;
	if (!q) {
		write_free(w);
		return;
	}
	q->write = NULL;
	w->request = NULL;
	(void)write_finish(w, q, result);
}

static void plan_count(struct write *w)
{
	for (size_t i = 0; i < plan_size(&w->plan); i++) {
		struct object old, new;

		(void)plan_at(&w->plan, i, &old, &new);
		w->n_created += !old.kind && new.kind;
		w->n_changed += old.kind && new.kind;
		w->n_deleted += old.kind && !new.kind;
	}
}

/* The entity tag after the change: of the one object that was put, else of the source. */
static void etag_fill(struct request *q, struct write *w, const struct wish *wish)
{
	const struct store *store = q->control->ops.store(q->control->ops.arg);
	const struct object *o = wish->body && !wish->change.whole && wish->body->n_objects == 1 &&
						 wish->change.n_upserts == 1 && q->params[1]
					 ? wish->body->objects
					 : NULL;
	uint64_t etag = 0;

	w->generation = store_generation(store, wish->change.source);
	if (o)
		etag = store_etag(store, o->kind, q->params[0], q->params[1]);
	if (w->dry_run)
		return;
	if (etag)
		(void)snprintf(q->etag, sizeof(q->etag), "\"%016llx\"", (unsigned long long)etag);
	else if (!q->params[1] && w->generation)
		(void)snprintf(q->etag, sizeof(q->etag), "\"%llu\"",
			       (unsigned long long)w->generation);
}

static int change_apply(struct request *q, const struct wish *wish, struct write *w)
{
	struct control *c = q->control;
	const struct control_order order = {.caller = &q->caller,
					    .change = &wish->change,
					    .dry_run = w->dry_run,
					    .applied = on_applied,
					    .applied_arg = w};
	struct problems problems = {};
	int r;

	w->applying = true;
	r = c->ops.apply(c->ops.arg, &order, &problems, &w->plan);
	w->applying = false;
	if (r < 0) {
		free(w);
		r = answer_error(q, r, &problems);
		problems_done(&problems);
		return r;
	}
	problems_done(&problems);
	plan_count(w);
	etag_fill(q, w, wish);
	if (w->dry_run || w->applied)
		return write_finish(w, q, w->applied ? w->result : 0);
	w->request = q;
	q->write = w;
	server_suspend(q);
	return 0;
}

/* Whether an If-Match or If-None-Match list names `current` (RFC 9110 §13.1, strong comparison). */
static bool tags_name(const char *header, const char *current)
{
	size_t length = current ? strlen(current) : 0;

	if (!current)
		return false;
	if (strcmp(header, "*") == 0)
		return true;
	for (const char *p = strchr(header, '"'); p; p = strchr(p, '"')) {
		const char *end = strchr(p + 1, '"');

		if (!end)
			return false;
		if ((size_t)(end - p - 1) == length && memcmp(p + 1, current, length) == 0 &&
		    !(p >= header + 2 && p[-1] == '/'))
			return true;
		p = end + 1;
	}
	return false;
}

static bool precondition_holds(struct request *q, const struct wish *wish)
{
	const char *match = MHD_lookup_connection_value(q->connection, MHD_HEADER_KIND, "If-Match");
	const char *none =
		MHD_lookup_connection_value(q->connection, MHD_HEADER_KIND, "If-None-Match");

	if (!match && wish->body && wish->body->version[0] && q->params[1] &&
	    (!wish->current || strcmp(wish->body->version, wish->current) != 0))
		return false;
	return (!match || tags_name(match, wish->current)) &&
	       (!none || !tags_name(none, wish->current));
}

/* ?dryRun, ?verbose and ?ignoreNotFound. */
static int switches_read(struct request *q, struct write *w, struct change *change)
{
	struct problems problems = {};
	bool verbose = false;
	int r = 0;

	(void)query_bool(&q->query, "dryRun", &problems, &w->dry_run);
	(void)query_bool(&q->query, "verbose", &problems, &verbose);
	(void)query_bool(&q->query, "ignoreNotFound", &problems, &change->ignore_missing);
	w->show = verbose || w->dry_run;
	if (problems_any(&problems))
		r = answer_problem(q, 400, "%s", problems.n ? problems.items[0].message : "?");
	problems_done(&problems);
	return r;
}

static int change_make(struct request *q, struct wish *wish)
{
	const struct store *store = q->control->ops.store(q->control->ops.arg);
	struct write *w = calloc(1, sizeof(*w));
	int r;

	if (!w)
		return -ENOMEM;
	r = switches_read(q, w, &wish->change);
	if (r >= 0 && !q->answered && !precondition_holds(q, wish))
		r = answer_problem(q, 412,
				   wish->current ? "it was changed by somebody else; read it again"
						 : "it does not exist");
	if (r < 0 || q->answered) {
		free(w);
		return r;
	}
	w->created = wish->created && !w->dry_run;
	(void)snprintf(w->source, sizeof(w->source), "%s", wish->change.source);
	if (MHD_lookup_connection_value(q->connection, MHD_HEADER_KIND, "If-Match") &&
	    !q->params[1]) {
		wish->change.has_if_match = true;
		wish->change.if_match = store_generation(store, wish->change.source);
	}
	return change_apply(q, wish, w);
}

/* --- handlers ----------------------------------------------------------------------------- */

static int source_refuse(struct request *q, const char *source)
{
	return answer_problem(q, 400,
			      "\"%.60s\" is no name of a source: lower-case letters, digits and "
			      "\"._-\", at most one \"/\", at most %d bytes",
			      source, LIMIT_SOURCE);
}

/* Frees what the body took while it was received: a large change is applied without it. */
static void body_release(struct request *q)
{
	q->control->body_bytes -= q->body.room;
	bytes_done(&q->body);
}

static int name_check(struct request *q, const struct object *o, enum object_kind kind)
{
	const char *namespace, *name;

	if (o->kind != kind)
		return answer_problem(q, 422, "a %s is expected at this path",
				      object_kind_name(kind));
	namespace = object_namespace(o);
	name = object_name(o);
	if (strcmp(namespace, q->params[0]) == 0 && strcmp(name, q->params[1]) == 0)
		return 0;
	return answer_problem(q, 422, "the body names %s/%s, the path %s/%s", namespace, name,
			      q->params[0], q->params[1]);
}

/* The tag of the object at the path as text; NULL: there is none. */
static const char *current_tag(struct request *q, enum object_kind kind, char text[static 24])
{
	const struct store *store = q->control->ops.store(q->control->ops.arg);
	uint64_t etag = store_etag(store, kind, q->params[0], q->params[1]);

	(void)snprintf(text, 24, "%016llx", (unsigned long long)etag);
	return etag ? text : NULL;
}

static const char *source_of(const struct request *q)
{
	const char *source = query_get(&q->query, "source");

	return source ? source : SOURCE_DEFAULT;
}

static int object_put(struct request *q, enum object_kind kind)
{
	const char *source = source_of(q);
	struct problems problems = {};
	struct body body = {};
	struct wish wish = {};
	char tag[24];
	int r;

	if (!codec_is_source(source))
		return source_refuse(q, source);
	r = body_decode_object(q->body.data, q->body.length, source, &problems, &body);
	if (r < 0)
		return answer_bad_body(q, r, &problems);
	body_release(q);
	r = name_check(q, body.objects, kind);
	if (r >= 0 && !q->answered) {
		wish.body = &body;
		wish.current = current_tag(q, kind, tag);
		wish.created = !wish.current;
		wish.change = (struct change){
			.source = source, .upserts = body.objects, .n_upserts = body.n_objects};
		r = change_make(q, &wish);
	}
	body_done(&body);
	return r;
}

static int object_delete(struct request *q, enum object_kind kind)
{
	struct object_name name = {kind, q->params[0], q->params[1]};
	const char *source = source_of(q);
	struct wish wish = {};
	char tag[24];

	if (!codec_is_source(source))
		return source_refuse(q, source);
	wish.current = current_tag(q, kind, tag);
	if (!wish.current)
		return answer_problem(q, 404, "there is no %s %s/%s", object_kind_noun(kind),
				      q->params[0], q->params[1]);
	wish.change = (struct change){.source = source, .deletes = &name, .n_deletes = 1};
	return change_make(q, &wish);
}

int write_service(struct request *q)
{
	return object_put(q, OBJECT_SERVICE);
}

int write_service_delete(struct request *q)
{
	return object_delete(q, OBJECT_SERVICE);
}

int write_policy(struct request *q)
{
	return object_put(q, OBJECT_POLICY);
}

int write_policy_delete(struct request *q)
{
	return object_delete(q, OBJECT_POLICY);
}

int write_registration(struct request *q)
{
	return object_put(q, OBJECT_REGISTRATION);
}

int write_registration_delete(struct request *q)
{
	return object_delete(q, OBJECT_REGISTRATION);
}

static const char *generation_tag(struct request *q, char text[static 24])
{
	uint64_t n = store_generation(q->control->ops.store(q->control->ops.arg), q->params[0]);

	(void)snprintf(text, 24, "%llu", (unsigned long long)n);
	return n ? text : NULL;
}

static int source_put(struct request *q, bool whole)
{
	struct problems problems = {};
	struct body body = {};
	struct wish wish = {.body = &body};
	char tag[24];
	int r;

	if (!codec_is_source(q->params[0]))
		return source_refuse(q, q->params[0]);
	r = (whole ? body_decode_list : body_decode_delta)(q->body.data, q->body.length,
							   q->params[0], &problems, &body);
	if (r < 0)
		return answer_bad_body(q, r, &problems);
	body_release(q);
	wish.current = generation_tag(q, tag);
	wish.change = (struct change){.source = q->params[0],
				      .whole = whole,
				      .upserts = body.objects,
				      .n_upserts = body.n_objects,
				      .deletes = body.deletes,
				      .n_deletes = body.n_deletes};
	r = change_make(q, &wish);
	body_done(&body);
	return r;
}

int write_source(struct request *q)
{
	return source_put(q, true);
}

int write_source_delta(struct request *q)
{
	return source_put(q, false);
}

int write_source_delete(struct request *q)
{
	struct wish wish = {};
	char tag[24];

	if (!codec_is_source(q->params[0]))
		return source_refuse(q, q->params[0]);
	wish.current = generation_tag(q, tag);
	if (!wish.current)
		return answer_problem(q, 404, "there is no source %s", q->params[0]);
	wish.change = (struct change){.source = q->params[0], .whole = true};
	return change_make(q, &wish);
}
