/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A small HTTP server on the loop, for two doors: a loopback TCP port that anybody on this host may
 * read, and a unix socket whose file says who may. It knows no path: whoever opens it answers, at
 * once or later. Requests with a body are refused. Connections, memory and time are bounded.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <uv.h>

struct serve;
struct serve_request;

struct serve_ops {
	void *arg;
	/* Must lead to one serve_reply(), now or later, also after serve_close() was called. */
	void (*on_request)(void *arg, struct serve_request *q);
};

struct serve_config {
	const char *tcp;    /* "127.0.0.1:9464", "[::1]:0": loopback only; "" or NULL: none */
	const char *socket; /* path, mode 0660; NULL: none */
	const char *group;  /* of the socket, when there is such a group and it may be given */
};

/* -EINVAL: no loopback address; -EADDRINUSE: somebody answers there; -ENOTSOCK: another file is
 * there; -errno. */
int serve_open(uv_loop_t *loop, const struct serve_config *config, const struct serve_ops *ops,
	       struct serve **ret);
/* Every request must have been answered. Memory is given back once the loop has closed its
 * handles; NULL is fine. */
void serve_close(struct serve *s);
/* The TCP port, for tests that asked for any; 0: none. */
unsigned int serve_port(const struct serve *s);

const char *serve_method(const struct serve_request *q);
const char *serve_path(const struct serve_request *q); /* without the query, decoded */
/* Whether the query has this key; ret may be NULL; "" without a value. */
bool serve_query(const struct serve_request *q, const char *key, const char **ret);
/* Whether it came over the unix socket. */
bool serve_is_local(const struct serve_request *q);
/* `body` (of malloc; NULL: out of memory, then a 500) becomes the server's. */
void serve_reply(struct serve_request *q, unsigned int status, const char *type, char *body,
		 size_t length);
