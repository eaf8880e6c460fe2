/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * events: the daemon's stream of lines, one sentence each, or as it comes with -o json.
 */
#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "ctl/client.h"
#include "ctl/event.h"
#include "ctl/field.h"
#include "ctl/output.h"
#include "ctl/report.h"
#include "ctl/verb.h"

#define LINE_MAX_BYTES (64u << 10)

struct stream {
	struct ctl *ctl;
	char *line; /* LINE_MAX_BYTES */
	size_t length;
	bool too_long; /* the rest of this line is dropped */
	uint64_t shown;
};

/* A line that is no JSON is told and skipped: the stream goes on. */
static void on_line(struct stream *s)
{
	struct ctl *c = s->ctl;
	yyjson_doc *doc;
	yyjson_val *event;

	if (s->length == 0)
		return;
	doc = yyjson_read(s->line, s->length, 0);
	event = yyjson_doc_get_root(doc);
	if (!yyjson_is_obj(event)) {
		report_note(c, "a line that is no event was skipped");
	} else if (strcmp(field_text(event, "/type"), "heartbeat") != 0) {
		s->shown++;
		if (c->o.format == FORMAT_JSON && !c->terminal)
			fprintf(c->out, "%.*s\n", (int)s->length, s->line);
		else if (c->o.format == FORMAT_JSON || c->o.format == FORMAT_YAML)
			(void)output_value(c, event);
		else
			event_print(c, event, true);
		(void)fflush(c->out);
	}
	yyjson_doc_free(doc);
}

static int on_data(void *arg, const char *data, size_t length)
{
	struct stream *s = arg;

	for (size_t i = 0; i < length; i++) {
		if (data[i] == '\n') {
			if (!s->too_long)
				on_line(s);
			s->length = 0;
			s->too_long = false;
			if (s->ctl->o.count > 0 && s->shown >= s->ctl->o.count)
				return -ECANCELED;
		} else if (s->length < LINE_MAX_BYTES) {
			s->line[s->length++] = data[i];
		} else {
			s->too_long = true;
		}
	}
	return ferror(s->ctl->out) ? -ECANCELED : 0;
}

/* "shop/payments", "payments -n shop", or only a namespace. */
static int make_path(struct ctl *c, struct client_path *path)
{
	const char *what = c->n_operands > 0 ? c->operands[0] : NULL;
	const char *slash = what ? strchr(what, '/') : NULL;
	char namespace[64], recent[24];

	client_path_init(path, "/v1/events");
	if (c->o.recent > 0) {
		(void)snprintf(recent, sizeof(recent), "%" PRIu64, c->o.recent);
		client_path_query(path, "recent", recent);
	}
	if (slash && (size_t)(slash - what) >= sizeof(namespace))
		return report_usage(c, "\"%s\" is no name of a service", what);
	if (slash) {
		(void)snprintf(namespace, sizeof(namespace), "%.*s", (int)(slash - what), what);
		client_path_query(path, "namespace", namespace);
	} else {
		client_path_query(path, "namespace", c->o.namespace);
	}
	client_path_query(path, "service", slash ? slash + 1 : what);
	return 0;
}

int verb_events_run(void *ctl)
{
	struct ctl *c = ctl;
	_cleanup_free_ char *line = malloc(LINE_MAX_BYTES);
	struct stream s = {.ctl = c, .line = line};
	struct client_path path;
	int r;

	if (!line)
		return report_error(c, -ENOMEM, "out of memory");
	r = make_path(c, &path);
	if (r < 0)
		return r;
	r = client_stream(c, &path, on_data, &s);
	if (r == -ECANCELED)
		return ferror(c->out) ? -EIO : 0;
	if (r < 0 || c->o.recent > 0)
		return r;
	return report_error(c, -ENOTCONN, "%s: the daemon ended the stream", c->socket);
}
