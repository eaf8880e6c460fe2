/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A small synchronous HTTP/1.1 client over unix sockets, on libcurl: one request at a time, one
 * kept connection, bounded in time and size. It speaks plain http on the socket it was given and
 * nothing else: no proxy, no redirect, no other protocol, no network.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "base/cleanup.h"

struct http;

struct http_request {
	const char *method; /* "GET", "PUT", "PATCH", "DELETE", "POST" */
	const char *path;   /* "/v1/services?namespace=shop": already percent-encoded */
	const char *body;   /* NULL: none */
	size_t length;
	const char *content_type; /* of the body; NULL: application/json */
	const char *accept;       /* NULL: application/json, application/problem+json */
	const char *if_match;     /* entity tag with its quotes; NULL: none */
	uint64_t timeout_ms;      /* of the whole exchange; 0: none, as for streams */
	size_t max_response;      /* bytes of the response's body; 0: 64 MiB */
	/* For streams: gets the body of a 2xx as it arrives instead of it being collected. < 0 ends
	 * the exchange with that error; -ECANCELED says "enough" and is what http_send then
	 * returns. */
	int (*on_data)(void *arg, const char *data, size_t length);
	void *arg;
};

struct http_response {
	unsigned int status;
	char *content_type; /* never NULL after success; "" when the server sent none */
	char *etag;         /* as content_type */
	char *body;         /* NUL-terminated; owned, as the others: http_response_done */
	size_t length;
};

/* A client of the socket at `path` (copied). Connects at the first request. -ENOMEM;
 * -ENAMETOOLONG: longer than a unix socket's name may be. */
int http_open(const char *path, struct http **ret);
struct http *http_close(struct http *h); /* NULL is fine; returns NULL */
DEFINE_CLEANUP(struct http *, http_close);

/*
 * One exchange; 0 whatever the status. Errors: that of connect(2) (-ENOENT, -ECONNREFUSED, -EACCES,
 * -EAGAIN ...), -ETIMEDOUT, -EMSGSIZE (longer than max_response), -ECONNRESET (the server went away
 * in the middle), -EPROTO (no HTTP), -ENOMEM, or what on_data returned.
 */
int http_send(struct http *h, const struct http_request *request, struct http_response *ret);
void http_response_done(struct http_response *r);
