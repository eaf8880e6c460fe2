/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * See subscriber.h. Before: event.c and listener.c have a line. After: the HTTP library asks for
 * bytes, and the connection is suspended while there are none. Never queues more than
 * LIMIT_SUBSCRIBER_QUEUE for one reader; who reads slower than that is cut and counted.
 */
#include "control/subscriber.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "control/answer.h"
#include "control/view.h"
#include "model/limits.h"

void subscriber_free(void *arg)
{
	struct subscriber *s = arg;

	*s->link = s->next;
	if (s->next)
		s->next->link = s->link;
	s->control->n_subscribers--;
	bytes_done(&s->queue);
	free(s->namespace);
	free(s->service);
	free(s);
}

static void subscriber_wake(struct subscriber *s)
{
	if (!s->suspended)
		return;
	s->suspended = false;
	MHD_resume_connection(s->connection);
	control_wake(s->control, s->door);
}

static ssize_t subscriber_read(void *arg, uint64_t position, char *buf, size_t max)
{
	struct subscriber *s = arg;
	size_t n = s->queue.length - s->sent;

	if (n == 0 && s->ended)
		return MHD_CONTENT_READER_END_OF_STREAM;
	if (n == 0) {
		s->suspended = true;
		MHD_suspend_connection(s->connection);
		return 0;
	}
	if (n > max)
		n = max;
	memcpy(buf, s->queue.data + s->sent, n);
	s->sent += n;
	s->first -= n < s->first ? n : s->first;
	if (s->sent == s->queue.length) {
		bytes_clear(&s->queue);
		s->sent = 0;
	}
	return (ssize_t)n;
}

static void subscriber_cut(struct subscriber *s)
{
	s->control->counters.slow_readers++;
	s->ended = true;
	bytes_clear(&s->queue);
	s->sent = 0;
	client_cut(s->client);
	subscriber_wake(s);
}

void subscriber_send(struct subscriber *s, const char *line, size_t length)
{
	size_t waiting = s->queue.length - s->sent;

	if (s->ended)
		return;
	if (waiting - s->first + length > LIMIT_SUBSCRIBER_QUEUE) {
		subscriber_cut(s);
		return;
	}
	/* Not each time while a long beginning is being sent. */
	if (s->sent && s->sent >= waiting) {
		memmove(s->queue.data, s->queue.data + s->sent, waiting);
		s->queue.length = waiting;
		s->sent = 0;
	}
	bytes_append(&s->queue, line, length);
	if (s->queue.failed) {
		subscriber_cut(s);
		return;
	}
	s->last_ms = uv_now(s->control->loop);
	subscriber_wake(s);
}

static int filter_copy(struct subscriber *s, const struct query *query)
{
	const char *namespace = query_get(query, "namespace"),
		   *service = query_get(query, "service");

	s->namespace = namespace ? strdup(namespace) : NULL;
	s->service = service ? strdup(service) : NULL;
	if ((namespace && !s->namespace) || (service && !s->service)) {
		free(s->namespace);
		free(s->service);
		return -ENOMEM;
	}
	return 0;
}

int subscriber_new(struct request *q, enum subscriber_of of, struct subscriber **ret)
{
	struct control *c = q->control;
	struct subscriber *s;
	int r;

	if (c->n_subscribers >= LIMIT_SUBSCRIBERS)
		return answer_problem(q, 503, "%d event streams are open already",
				      LIMIT_SUBSCRIBERS);
	s = calloc(1, sizeof(*s));
	if (!s)
		return -ENOMEM;
	r = filter_copy(s, &q->query);
	if (r < 0) {
		free(s);
		return r;
	}
	s->of = of;
	s->control = c;
	s->door = q->door;
	s->client = q->client;
	s->connection = q->connection;
	s->last_ms = uv_now(c->loop);
	s->next = c->subscribers;
	s->link = &c->subscribers;
	if (s->next)
		s->next->link = &s->next;
	c->subscribers = s;
	c->n_subscribers++;
	*ret = s;
	return 0;
}

int subscriber_begin(struct subscriber *s, const char *text, size_t length)
{
	bytes_append(&s->queue, text, length);
	s->first += length;
	return s->queue.failed ? -ENOMEM : 0;
}

int subscriber_answer(struct request *q, struct subscriber *s)
{
	(void)MHD_set_connection_option(q->connection, MHD_CONNECTION_OPTION_TIMEOUT, 0u);
	return answer_callback(q, 200, TYPE_NDJSON,
			       (struct callback){subscriber_read, subscriber_free, s});
}

void subscriber_heartbeat(struct control *c, uint64_t now_ms)
{
	char line[2][96], time[TIME_TEXT];
	struct subscriber *next;
	int n[2];

	(void)view_format_time(view_now_ms(), time);
	n[SUBSCRIBER_EVENTS] = snprintf(line[SUBSCRIBER_EVENTS], sizeof(line[0]),
					"{\"time\":\"%s\",\"type\":\"heartbeat\"}\n", time);
	n[SUBSCRIBER_LISTENERS] = snprintf(line[SUBSCRIBER_LISTENERS], sizeof(line[0]),
					   "{\"type\":\"HEARTBEAT\",\"time\":\"%s\"}\n", time);
	for (struct subscriber *s = c->subscribers; s; s = next) {
		next = s->next;
		if (now_ms - s->last_ms >= c->heartbeat_ms)
			subscriber_send(s, line[s->of], (size_t)n[s->of]);
	}
}

void subscriber_end(struct control *c)
{
	for (struct subscriber *s = c->subscribers; s; s = s->next) {
		s->ended = true;
		subscriber_wake(s);
	}
}
