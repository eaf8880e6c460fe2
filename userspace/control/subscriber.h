/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Streams of lines that do not end by themselves: one JSON object per line to each subscriber, who
 * keeps up or is cut. Private to control/.
 */
#pragma once

#include "control/server.h"

enum subscriber_of { SUBSCRIBER_EVENTS, SUBSCRIBER_LISTENERS };

struct subscriber {
	enum subscriber_of of;
	struct control *control;
	struct door *door;
	struct client *client;
	struct MHD_Connection *connection;
	struct subscriber *next, **link;
	struct bytes queue;
	size_t sent;
	size_t first; /* bytes of what there was when it came, not sent yet: they do not count */
	bool suspended, ended;
	bool connects; /* of events: about single connects, too */
	uint64_t last_ms;
	char *namespace, *service; /* NULL: all */
};

/* Answers with a problem when there are too many: look at q->answered. */
int subscriber_new(struct request *q, enum subscriber_of of, struct subscriber **ret);
/* What it is to be sent before anything else, of any size. -ENOMEM: give it to subscriber_free. */
int subscriber_begin(struct subscriber *s, const char *text, size_t length);
/* Begins the stream; takes s, on failure too. */
int subscriber_answer(struct request *q, struct subscriber *s);
void subscriber_free(void *s);
/* Queues a line, or cuts a reader who is behind by more than LIMIT_SUBSCRIBER_QUEUE. It may be gone
 * afterwards: find the next one before. */
void subscriber_send(struct subscriber *s, const char *line, size_t length);
/* Writes a heartbeat to streams that were quiet for heartbeat_ms, which also finds dead clients. */
void subscriber_heartbeat(struct control *c, uint64_t now_ms);
/* All streams end after what is queued. */
void subscriber_end(struct control *c);
