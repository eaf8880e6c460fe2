/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Who listens: a list, and a stream that begins with that list and goes on with each change.
 * Before: the daemon knows. After: subscriber.c queues the lines.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "control/answer.h"
#include "control/handler.h"
#include "control/subscriber.h"
#include "control/view.h"

static yyjson_mut_val *listener_view(const struct control *c, yyjson_mut_doc *doc,
				     const struct listener *l)
{
	yyjson_mut_val *o = yyjson_mut_obj(doc);

	(void)yyjson_mut_obj_add_uint(doc, o, "cookie", l->cookie);
	(void)yyjson_mut_obj_add_uint(doc, o, "netns", l->netns);
	view_add_address(doc, o, "address", &l->addr);
	(void)yyjson_mut_obj_add_uint(doc, o, "port", l->port);
	(void)yyjson_mut_obj_add_str(doc, o, "protocol", "tcp");
	(void)yyjson_mut_obj_add_uint(doc, o, "cgroupId", l->cgroup->id);
	view_identity(c, doc, o, l->cgroup);
	view_add_time(doc, o, "since", l->since_ms);
	(void)yyjson_mut_obj_add_str(doc, o, "seen", l->swept ? "sweep" : "listen");
	return o;
}

/* --- the list ----------------------------------------------------------------------------- */

struct items {
	const struct control *control;
	yyjson_mut_doc *doc;
	yyjson_mut_val *list;
};

static void on_item(void *arg, const struct listener *l)
{
	struct items *items = arg;

	(void)yyjson_mut_arr_append(items->list, listener_view(items->control, items->doc, l));
}

static int list_answer(struct request *q)
{
	struct control *c = q->control;
	yyjson_mut_doc *doc = yyjson_mut_doc_new(NULL);
	yyjson_mut_val *root;
	struct items items;
	int r;

	if (!doc)
		return -ENOMEM;
	root = view_root(doc, "ListenerList");
	(void)yyjson_mut_obj_add_obj(doc, root, "metadata");
	items = (struct items){c, doc, yyjson_mut_obj_add_arr(doc, root, "items")};
	(void)c->ops.listeners(c->ops.arg, on_item, &items);
	yyjson_mut_doc_set_root(doc, root);
	r = answer_json(q, 200, doc);
	yyjson_mut_doc_free(doc);
	return r;
}

/* --- the stream --------------------------------------------------------------------------- */

/* One line with its end; NULL: no memory. */
static char *line_write(const struct control *c, const char *type, const struct listener *l,
			size_t *ret_length)
{
	yyjson_mut_doc *doc = yyjson_mut_doc_new(NULL);
	yyjson_mut_val *root;
	char *text;

	if (!doc)
		return NULL;
	root = yyjson_mut_obj(doc);
	(void)yyjson_mut_obj_add_str(doc, root, "type", type);
	(void)yyjson_mut_obj_add_val(doc, root, "listener", listener_view(c, doc, l));
	yyjson_mut_doc_set_root(doc, root);
	text = yyjson_mut_write(doc, YYJSON_WRITE_NOFLAG, ret_length);
	yyjson_mut_doc_free(doc);
	if (text)
		text[(*ret_length)++] = '\n'; /* where the terminating NUL was */
	return text;
}

static const char synced_line[] = "{\"type\":\"SYNCED\"}\n";

/* What a stream begins with. */
struct first {
	const struct control *control;
	struct bytes out;
};

static void on_first(void *arg, const struct listener *l)
{
	struct first *first = arg;
	_cleanup_free_ char *text = NULL;
	size_t length;

	text = line_write(first->control, "ADDED", l, &length);
	if (text)
		bytes_append(&first->out, text, length);
	first->out.failed = first->out.failed || !text;
}

static int stream_answer(struct request *q)
{
	struct control *c = q->control;
	struct first first = {.control = c};
	struct subscriber *s;
	int r;

	r = subscriber_new(q, SUBSCRIBER_LISTENERS, &s);
	if (r < 0 || q->answered)
		return r;
	if (c->ops.listeners(c->ops.arg, on_first, &first))
		bytes_text(&first.out, synced_line);
	r = first.out.failed ? -ENOMEM : subscriber_begin(s, first.out.data, first.out.length);
	bytes_done(&first.out);
	if (r < 0) {
		subscriber_free(s);
		return r;
	}
	return subscriber_answer(q, s);
}

int listener_get(struct request *q)
{
	struct problems problems = {};
	bool watch = false;
	int r;

	r = query_bool(&q->query, "watch", &problems, &watch);
	if (r < 0)
		r = answer_problem(q, 400, "%s", problems.n ? problems.items[0].message : "?");
	problems_done(&problems);
	if (r < 0 || q->answered)
		return r;
	return watch ? stream_answer(q) : list_answer(q);
}

/* --- what is told ------------------------------------------------------------------------- */

static void send_all(struct control *c, const char *line, size_t length)
{
	struct subscriber *next;

	for (struct subscriber *s = c->subscribers; s; s = next) {
		next = s->next;
		if (s->of == SUBSCRIBER_LISTENERS)
			subscriber_send(s, line, length);
	}
}

static bool has_any(const struct control *c)
{
	for (const struct subscriber *s = c->subscribers; s; s = s->next)
		if (s->of == SUBSCRIBER_LISTENERS)
			return true;
	return false;
}

/* A stream without a line that it should have had is worse than none: it is cut. */
void control_publish_listener(struct control *c, bool is_there, const struct listener *l)
{
	_cleanup_free_ char *text = NULL;
	size_t length = 0;

	if (!has_any(c))
		return;
	text = line_write(c, is_there ? "ADDED" : "DELETED", l, &length);
	if (text)
		send_all(c, text, length);
	else
		subscriber_end(c);
}

void control_listeners_synced(struct control *c)
{
	send_all(c, synced_line, sizeof(synced_line) - 1);
}
