/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Answers: JSON, streams, and RFC 9457 problems. Each answers its request exactly once and gives
 * 0, or -errno when nothing can be sent and the client is to be cut. Private to control/.
 */
#pragma once

#include "control/server.h"
#include "control/stream.h"

#define TYPE_JSON "application/json"
#define TYPE_PROBLEM "application/problem+json"
#define TYPE_NDJSON "application/x-ndjson"

__attribute__((format(printf, 3, 4))) int answer_problem(struct request *q, unsigned int status,
							 const char *format, ...);
/* The status that fits `error` (-errno of a decoder, the store or the kernel), with the problems.
 */
int answer_error(struct request *q, int error, const struct problems *problems);
/* As answer_error, of what a decoder of control/body.h found wrong with a body. Ends the problems.
 */
int answer_bad_body(struct request *q, int error, struct problems *problems);
/* The document is borrowed. */
int answer_json(struct request *q, unsigned int status, const yyjson_mut_doc *doc);
/* Takes the content of `text`, on failure too. */
int answer_bytes(struct request *q, unsigned int status, const char *type, struct bytes *text);
/* A body of unknown length: `read` gives bytes, 0 "later", or one of the library's two ends. Takes
 * `arg`, on failure too; a HEAD needs none of it. */
struct callback {
	MHD_ContentReaderCallback read;
	void (*free)(void *arg);
	void *arg;
};
int answer_callback(struct request *q, unsigned int status, const char *type, struct callback c);
/* Takes the stream, on failure too. */
int answer_stream(struct request *q, unsigned int status, const char *type, struct stream *s);
/* `data` must outlive the control. */
int answer_static(struct request *q, const char *type, const void *data, size_t length);
int answer_empty(struct request *q, unsigned int status);
/* Takes the response (NULL: there was no memory for it). */
int answer_response(struct request *q, unsigned int status, const char *type,
		    struct MHD_Response *response);
/* Sends what was prepared while the request was suspended. */
int answer_ready(struct request *q);
/* Replaces what is not UTF-8, in place: a message may quote half a character of what was sent. */
void answer_repair_text(char *text);
