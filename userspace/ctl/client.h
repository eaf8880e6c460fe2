/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The daemon, or the agent, as verbs see it: a question goes out, JSON comes back, and every way in
 * which that can fail has been told to the person when one of these returns < 0.
 */
#pragma once

#include <yyjson.h>

#include "ctl/ctl.h"

/* A path being built: segments and query values are percent-encoded as they are added. */
struct client_path {
	char text[2048];
	size_t length;
	bool query; /* a '?' was written */
	bool too_long;
};
void client_path_init(struct client_path *p, const char *base);
void client_path_segment(struct client_path *p, const char *segment);
/* Nothing is added for a value of NULL. */
void client_path_query(struct client_path *p, const char *key, const char *value);

/* Whom the next questions go to: sinewd, unless this has been called. */
void client_turn(struct ctl *c, enum ctl_peer peer);

/* Asks for JSON. `subject` names what is asked for, in errors; NULL: the answer's own words do. */
int client_get(struct ctl *c, const struct client_path *path, const char *subject,
	       yyjson_doc **ret);

struct client_change {
	const char *method;
	const struct client_path *path;
	const char *body; /* JSON; NULL: none */
	size_t length;
	const char *subject; /* as in client_get */
};
/* Sends a change; *ret is the answer's JSON, NULL when it had none. */
int client_send(struct ctl *c, const struct client_change *change, yyjson_doc **ret);
/* As client_send, but a problem is handed back instead of told: < 0 only when there is no answer.
 * The caller: http_response_done. */
int client_exchange(struct ctl *c, const struct client_change *change, struct http_response *ret);

/* As client_exchange, and no answer is not told either: -errno of the connection. */
int client_try(struct ctl *c, const struct client_path *path, struct http_response *ret);

/* Streams lines to on_data. 0: the server ended it; -ECANCELED (not told): on_data did, or the time
 * of --for is over. */
int client_stream(struct ctl *c, const struct client_path *path,
		  int (*on_data)(void *arg, const char *data, size_t length), void *arg);
