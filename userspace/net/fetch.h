/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * HTTP/1.1 requests on the event loop: libcurl's multi handle on libuv. Everything that a server
 * may do is bounded here: bytes (unpacked, too), time, silence. Speaks http and https alone, never
 * follows a redirect (the caller sees the 3xx), asks no proxy, and no header goes to another host.
 * Knows no registry and logs nothing.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <uv.h>

struct fetcher; /* one per loop: connections are kept and shared by its requests */
struct fetch;   /* one request under way */

/* Files are read anew for each connection, so that rotated ones are used. Paths are borrowed for
 * the call. */
struct fetch_tls {
	const char *ca_file;              /* NULL: the system's */
	const char *cert_file, *key_file; /* NULL: no client certificate */
};

struct fetch_result {
	int error; /* 0: there is a status; else -errno: that of connect(2), -ETIMEDOUT, -EMSGSIZE,
		      -ECONNRESET (in a TLS handshake, too), -EPROTO (no HTTP), -EKEYREJECTED (TLS:
		      a certificate, theirs or ours, or what is spoken), -EHOSTUNREACH (no such
		      name) */
	const char *error_text; /* one line for people; "" without an error */
	unsigned int status;
	const char *
		body; /* NUL-terminated; "" for a 2xx that went to on_data; borrowed for the call */
	size_t length;
	uint64_t elapsed_us;       /* from begin to the last byte */
	const struct fetch *fetch; /* for fetch_header() */
};

struct fetch_request {
	const char *method;         /* NULL: "GET" */
	const char *url;            /* http:// or https://, percent-encoded */
	const char *unix_socket;    /* NULL: TCP */
	const char *const *headers; /* "Name: value", ended by NULL; NULL: none. May hold
				       credentials: never logged */
	const char *body;
	size_t length;
	bool is_secret; /* the answer holds a credential: wiped when on_done has returned */
	struct fetch_tls tls;
	uint64_t timeout_ms; /* of the whole exchange; 0: none (long polls, watches) */
	uint64_t silence_ms; /* without a byte: -ETIMEDOUT; 0: none */
	size_t max_body; /* bytes, unpacked; 0: LIMIT of fetch.c (64 MiB). A stream has no total but
			    see on_data */
	/* For streams: gets the unpacked body of a 2xx piece by piece. < 0 ends the exchange with
	 * that error. */
	int (*on_data)(void *arg, const char *data, size_t length);
	/* Called once, on the loop, never from within fetch_begin(); not after fetch_cancel(). */
	void (*on_done)(void *arg, const struct fetch_result *result);
	void *arg;
};

int fetcher_new(uv_loop_t *loop, struct fetcher **ret);
/* Cancels what is under way; memory is given back once the loop has closed its handles. NULL is
 * fine. */
void fetcher_close(struct fetcher *f);

/* Everything in the request is copied. *ret is good until on_done returns. -EINVAL (URL), -ENOMEM.
 */
int fetch_begin(struct fetcher *f, const struct fetch_request *request, struct fetch **ret);
/* Frees it without a call of on_done; safe from within on_data. NULL is fine; returns NULL. */
struct fetch *fetch_cancel(struct fetch *fetch);
/* A header of the (last) response, whatever its case; NULL: not sent. Good within on_data and
 * on_done. */
const char *fetch_header(const struct fetch *fetch, const char *name);
