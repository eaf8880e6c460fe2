/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * See listeners.h. Before: sinewd. After: registrations.c. A stream that breaks takes nothing away;
 * must never take half a list for a whole one.
 */
#include "agent/listeners.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/text.h"

#define URL "http://sinewd/v1/listeners?watch=true"
#define SILENCE_MS 45000u /* heartbeats come each 15 s */
#define WAIT_MIN_MS 20u   /* sinewd is on this host */
#define WAIT_MAX_MS 1000u
#define LINE_MAX_BYTES (64u << 10)

struct listeners {
	uv_loop_t *loop;
	struct fetcher *fetcher;
	char *socket;
	struct listeners_host host;
	struct listeners_status status;
	struct listener_table table; /* what is known */
	struct listener_table next;  /* of a stream that has not told everything yet */
	bool synced;                 /* the stream has; table alone counts */
	bool whole, changed;
	struct text_buffer line; /* the beginning of one */
	struct fetch *fetch;
	uv_timer_t timer;
	uint64_t wait_ms;
};

static void open_stream(struct listeners *l);

static void on_timer(uv_timer_t *timer)
{
	open_stream(timer->data);
}

static void fail(struct listeners *l, const char *text)
{
	if (strcmp(l->status.error, text) != 0)
		log_warn("listeners: %s; what is registered stays, trying again", text);
	(void)snprintf(l->status.error, sizeof(l->status.error), "%s", text);
	l->status.failures++;
	l->status.connected = l->synced = false;
	listener_table_done(&l->next);
	text_done(&l->line);
	l->wait_ms = l->wait_ms ? 2 * l->wait_ms : WAIT_MIN_MS;
	if (l->wait_ms > WAIT_MAX_MS)
		l->wait_ms = WAIT_MAX_MS;
	(void)uv_timer_start(&l->timer, on_timer, l->wait_ms, 0);
}

/* --- events ----------------------------------------------------------------------------------- */

/* Takes `one`. */
static int add(struct listeners *l, struct listener *one)
{
	struct listener other;
	int r;

	if (!l->synced) {
		r = listener_copy(one, &other);
		if (r >= 0)
			r = listener_table_add(&l->next, &other);
		if (r < 0) {
			listener_done(one);
			return r;
		}
	}
	l->changed = true;
	return listener_table_add(&l->table, one);
}

static void take_all(struct listeners *l)
{
	listener_table_done(&l->table);
	l->table = l->next;
	l->next = (struct listener_table){};
	l->synced = l->whole = l->changed = true;
	l->status.connected = true;
	l->wait_ms = 0;
	if (*l->status.error)
		log_notice("listeners: sinewd tells them again");
	l->status.error[0] = '\0';
}

static int on_event(struct listeners *l, enum listener_event event, struct listener *one)
{
	int r = 0;

	if (event == LISTENER_ADDED) {
		r = add(l, one);
	} else if (event == LISTENER_DELETED) {
		l->changed |= listener_table_remove(&l->table, one);
		if (!l->synced)
			(void)listener_table_remove(&l->next, one);
		listener_done(one);
	} else if (event == LISTENER_SYNCED && !l->synced) {
		take_all(l);
	}
	return r == -E2BIG ? 0 : r; /* those over the limit are not registered */
}

/* A line that cannot be read ends the stream: the next one begins with everything. */
static int on_line(void *arg, const char *line, size_t length)
{
	struct listeners *l = arg;
	enum listener_event event;
	char error[JSON_ERROR];
	struct listener one;
	int r = listener_decode_event(line, length, &event, &one, error);

	if (r < 0) {
		l->status.skipped++;
		return r;
	}
	return on_event(l, event, &one);
}

static int on_data(void *arg, const char *data, size_t length)
{
	struct listeners *l = arg;
	const struct text_lines lines = {LINE_MAX_BYTES, on_line, l};
	int r = text_take_lines(&l->line, &lines, data, length);

	if (l->changed) {
		l->changed = false;
		l->host.changed(l->host.arg);
	}
	return r;
}

static void on_done(void *arg, const struct fetch_result *result)
{
	struct listeners *l = arg;
	char text[200];

	l->fetch = NULL;
	if (result->error)
		(void)snprintf(text, sizeof(text), "sinewd: %.80s: %.100s", l->socket,
			       result->error == -EACCES
				       ? "permission denied: the agent must be in group sinew"
				       : result->error_text);
	else if (result->status == 404)
		(void)snprintf(text, sizeof(text),
			       "sinewd: it does not tell who listens: an older one?");
	else if (result->status != 200)
		(void)snprintf(text, sizeof(text), "sinewd: status %u", result->status);
	else
		(void)snprintf(text, sizeof(text), "sinewd: it ended the stream");
	fail(l, text);
}

static void open_stream(struct listeners *l)
{
	static const char *const headers[] = {"Accept: application/x-ndjson", NULL};
	const struct fetch_request request = {.url = URL,
					      .unix_socket = l->socket,
					      .headers = headers,
					      .silence_ms = SILENCE_MS,
					      .on_data = on_data,
					      .on_done = on_done,
					      .arg = l};
	int r;

	l->status.streams++;
	r = fetch_begin(l->fetcher, &request, &l->fetch);
	if (r < 0)
		fail(l, strerror(-r));
}

/* --- life ------------------------------------------------------------------------------------- */

int listeners_new(uv_loop_t *loop, struct fetcher *fetcher, const char *socket,
		  const struct listeners_host *host, struct listeners **ret)
{
	struct listeners *l = calloc(1, sizeof(*l));

	if (!l)
		return -ENOMEM;
	l->loop = loop;
	l->fetcher = fetcher;
	l->host = *host;
	l->socket = strdup(socket);
	if (!l->socket) {
		free(l);
		return -ENOMEM;
	}
	(void)uv_timer_init(loop, &l->timer); /* cannot fail */
	l->timer.data = l;
	open_stream(l);
	*ret = l;
	return 0;
}

const struct listener_table *listeners_table(const struct listeners *l)
{
	return &l->table;
}

bool listeners_is_whole(const struct listeners *l)
{
	return l->whole;
}

const struct listeners_status *listeners_status(const struct listeners *l)
{
	return &l->status;
}

static void on_closed(uv_handle_t *handle)
{
	struct listeners *l = handle->data;

	listener_table_done(&l->table);
	listener_table_done(&l->next);
	text_done(&l->line);
	free(l->socket);
	free(l);
}

void listeners_close(struct listeners *l)
{
	if (!l)
		return;
	l->fetch = fetch_cancel(l->fetch);
	uv_close((uv_handle_t *)&l->timer, on_closed);
}
