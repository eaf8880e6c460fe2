/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Which socket, which words when nobody answers; see client.h. Reads fall back to the status socket
 * when the control socket is the default one and this user may not use it.
 */
#include <errno.h>
#include <string.h>

#include "ctl/client.h"
#include "ctl/report.h"

static void add(struct client_path *p, char c)
{
	if (p->length + 1 >= sizeof(p->text)) {
		p->too_long = true;
		return;
	}
	p->text[p->length++] = c;
	p->text[p->length] = '\0';
}

/* RFC 3986: everything but the unreserved characters is encoded. */
static void add_encoded(struct client_path *p, const char *text)
{
	static const char hex[] = "0123456789ABCDEF";
	static const char plain[] =
		"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~";

	for (; *text; text++) {
		unsigned char c = (unsigned char)*text;

		if (strchr(plain, c)) {
			add(p, *text);
			continue;
		}
		add(p, '%');
		add(p, hex[c >> 4]);
		add(p, hex[c & 15]);
	}
}

void client_path_init(struct client_path *p, const char *base)
{
	*p = (struct client_path){0};
	for (; *base; base++)
		add(p, *base);
}

void client_path_segment(struct client_path *p, const char *segment)
{
	add(p, '/');
	add_encoded(p, segment);
}

void client_path_query(struct client_path *p, const char *key, const char *value)
{
	if (!value)
		return;
	add(p, p->query ? '&' : '?');
	p->query = true;
	add_encoded(p, key);
	add(p, '=');
	add_encoded(p, value);
}

void client_turn(struct ctl *c, enum ctl_peer peer)
{
	if (c->peer == peer)
		return;
	c->http = http_close(c->http);
	c->peer = peer;
}

static const char *program_of(const struct ctl *c)
{
	return c->peer == PEER_AGENT ? "sinew-agent" : "sinewd";
}

static const char *option_of(const struct ctl *c)
{
	return c->peer == PEER_AGENT ? "--agent-socket" : "--socket";
}

static const char *socket_of(const struct ctl *c)
{
	if (c->peer == PEER_AGENT)
		return c->o.agent_socket ?: CTL_AGENT_SOCKET_DEFAULT;
	return c->o.socket ?: CTL_SOCKET_DEFAULT;
}

static int connect_to(struct ctl *c, const char *socket)
{
	c->http = http_close(c->http);
	c->socket = socket;
	return http_open(socket, &c->http);
}

/* Nobody answered: which socket, what the kernel said, what to do about it. */
static int report_unreachable(struct ctl *c, int r)
{
	switch (r) {
	case -ENAMETOOLONG:
		return report_usage(c, "%s %s: longer than a unix socket's name may be",
				    option_of(c), c->socket);
	case -EACCES:
	case -EPERM:
		return report_error(
			c, -EACCES, "%s: permission denied; be root or in group sinew%s", c->socket,
			c->peer == PEER_AGENT ? "" : " (to look only: group sinew-view)");
	case -ETIMEDOUT:
		return report_error(
			c, -ETIMEDOUT,
			"%s: no answer within %llu ms; ask for longer with --timeout, or "
			"see what %s is doing: journalctl -u %s",
			c->socket, (unsigned long long)c->o.timeout_ms, program_of(c),
			program_of(c));
	case -EMSGSIZE:
		return report_error(c, -EIO, "%s: the answer is larger than this program reads",
				    c->socket);
	case -EPROTO:
		return report_error(c, -EIO, "%s: whoever listens there does not speak HTTP",
				    c->socket);
	case -ECONNRESET:
	case -EPIPE:
		return report_error(c, -ENOTCONN,
				    "%s: %s went away in the middle of the answer; what was "
				    "asked may have happened",
				    c->socket, c->peer == PEER_AGENT ? "the agent" : "the daemon");
	case -ENOENT:
	case -ECONNREFUSED:
	case -ENOTSOCK:
		return report_error(c, -ENOTCONN,
				    "%s: %s; is %s running? start it with \"systemctl start "
				    "%s\", or name another socket with %s",
				    c->socket, strerror(-r), program_of(c), program_of(c),
				    option_of(c));
	default:
		return report_error(c, r == -EINVAL ? -EIO : -ENOTCONN, "%s: %s", c->socket,
				    strerror(-r));
	}
}

/* Only the built-in choice of socket may be replaced, and only for reads. */
static bool may_fall_back(const struct ctl *c, const struct http_request *q, int r)
{
	return (r == -EACCES || r == -EPERM) && c->peer == PEER_DAEMON && !c->o.socket &&
	       strcmp(q->method, "GET") == 0 && strcmp(c->socket, CTL_SOCKET_DEFAULT) == 0;
}

static int try_exchange(struct ctl *c, const struct http_request *q, struct http_response *ret)
{
	int r = 0;

	if (!c->http)
		r = connect_to(c, socket_of(c));
	if (r >= 0)
		r = http_send(c->http, q, ret);
	if (!may_fall_back(c, q, r))
		return r;
	r = connect_to(c, CTL_STATUS_SOCKET_DEFAULT);
	return r < 0 ? r : http_send(c->http, q, ret);
}

static int exchange(struct ctl *c, const struct http_request *q, struct http_response *ret)
{
	int r = try_exchange(c, q, ret);

	if (r == -ECANCELED ||
	    (r == -ETIMEDOUT && q->on_data)) /* the end of a stream, as asked for */
		return -ECANCELED;
	if (r < 0)
		return report_unreachable(c, r);
	return 0;
}

static int read_json(struct ctl *c, const struct http_response *response, yyjson_doc **ret)
{
	yyjson_read_err error;
	yyjson_doc *doc;

	if (response->length == 0) {
		*ret = NULL;
		return 0;
	}
	doc = yyjson_read_opts(response->body, response->length, 0, NULL, &error);
	if (!doc)
		return report_error(c, -EIO, "%s: the answer is not JSON (%s at byte %zu)",
				    c->socket, error.msg, error.pos);
	*ret = doc;
	return 0;
}

int client_exchange(struct ctl *c, const struct client_change *change, struct http_response *ret)
{
	struct http_request q = {
		.method = change->method,
		.path = change->path->text,
		.body = change->body,
		.length = change->length,
		.timeout_ms = c->o.timeout_ms,
	};

	if (change->path->too_long)
		return report_usage(c, "the names given are too long for any object");
	return exchange(c, &q, ret);
}

int client_try(struct ctl *c, const struct client_path *path, struct http_response *ret)
{
	const struct http_request q = {
		.method = "GET", .path = path->text, .timeout_ms = c->o.timeout_ms};

	return path->too_long ? -EINVAL : try_exchange(c, &q, ret);
}

int client_send(struct ctl *c, const struct client_change *change, yyjson_doc **ret)
{
	struct http_response response = {0};
	int r;

	r = client_exchange(c, change, &response);
	if (r < 0)
		return r;
	if (response.status < 200 || response.status > 299)
		r = report_response(c, &response, change->subject);
	else
		r = read_json(c, &response, ret);
	http_response_done(&response);
	return r;
}

int client_get(struct ctl *c, const struct client_path *path, const char *subject, yyjson_doc **ret)
{
	struct client_change get = {.method = "GET", .path = path, .subject = subject};
	yyjson_doc *doc = NULL;
	int r;

	r = client_send(c, &get, &doc);
	if (r < 0)
		return r;
	if (!doc)
		return report_error(c, -EIO, "%s: the answer was empty", c->socket);
	*ret = doc;
	return 0;
}

int client_stream(struct ctl *c, const struct client_path *path,
		  int (*on_data)(void *arg, const char *data, size_t length), void *arg)
{
	struct http_response response = {0};
	struct http_request q = {
		.method = "GET",
		.path = path->text,
		.accept = "application/x-ndjson, application/problem+json",
		.timeout_ms = c->o.duration_ms,
		.on_data = on_data,
		.arg = arg,
	};
	int r;

	r = exchange(c, &q, &response);
	if (r < 0)
		return r;
	if (response.status < 200 || response.status > 299)
		r = report_response(c, &response, NULL);
	http_response_done(&response);
	return r;
}
