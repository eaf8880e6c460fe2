/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * One door: a listening socket, an HTTP library fed by the loop, and the life of its clients and
 * requests. Before: control.c turns the loop. After: route.c finds the handler of a request.
 * Never blocks, never buffers more than the limits, never trusts a length it has not counted.
 */
#include <errno.h>
#include <string.h>
#include <sys/socket.h>

#include "base/log.h"
#include "control/answer.h"
#include "control/event.h"
#include "control/route.h"
#include "control/server.h"
#include "control/write.h"
#include "model/limits.h"

#define POOL (96u << 10) /* bytes of one connection: request line, headers, a chunk */
#define ACCEPTS 16       /* new connections taken in one turn */
#define DRAINS 64        /* turns for what is queued at the end */

/* --- clients ------------------------------------------------------------------------------ */

void client_cut(struct client *client)
{
	/* The library owns the descriptor: it sees the end of the stream and tidies up. */
	(void)shutdown(client->fd, SHUT_RDWR);
	control_wake(client->door->control, client->door);
}

static void client_add(struct door *door, struct MHD_Connection *connection, void **socket_context)
{
	struct client *client = calloc(1, sizeof(*client));

	if (!client)
		return; /* request_new refuses what comes over it */
	client->door = door;
	client->fd =
		MHD_get_connection_info(connection, MHD_CONNECTION_INFO_CONNECTION_FD)->connect_fd;
	client->owes = true;
	client->free_ms = uv_now(door->control->loop);
	client->next = door->clients;
	client->link = &door->clients;
	if (client->next)
		client->next->link = &client->next;
	door->clients = client;
	door->n_clients++;
	*socket_context = client;
}

static void client_remove(struct client *client)
{
	*client->link = client->next;
	if (client->next)
		client->next->link = client->link;
	client->door->n_clients--;
	free(client);
}

static void on_client(void *arg, struct MHD_Connection *connection, void **socket_context,
		      enum MHD_ConnectionNotificationCode code)
{
	if (code == MHD_CONNECTION_NOTIFY_STARTED)
		client_add(arg, connection, socket_context);
	else if (*socket_context)
		client_remove(TAKE_PTR(*socket_context));
}

/* Said without the HTTP library: it has no room for one more connection. */
static void client_refuse(struct door *door, int fd)
{
	static const char text[] =
		"HTTP/1.1 503 Service Unavailable\r\nContent-Type: application/problem+json\r\n"
		"Retry-After: 1\r\nConnection: close\r\n\r\n"
		"{\"type\":\"urn:sinew:problem:busy\",\"title\":\"Service Unavailable\",\"status\":503,"
		"\"detail\":\"too many clients\"}\n";

	(void)!send(fd, text, sizeof(text) - 1, MSG_NOSIGNAL | MSG_DONTWAIT);
	(void)close(fd);
	door->control->counters.refused_clients++;
}

static void on_accept(uv_poll_t *handle, int status, int events)
{
	struct door *door = handle->data;

	for (int i = 0; i < ACCEPTS; i++) {
		struct sockaddr_storage address = {.ss_family = AF_UNIX};
		int fd = socket_accept(&door->socket);

		if (fd < 0)
			break;
		if (door->n_clients >= LIMIT_CLIENTS) {
			client_refuse(door, fd);
			continue;
		}
		/* Closes fd itself when it fails. */
		(void)MHD_add_connection(door->http, fd, (struct sockaddr *)&address,
					 sizeof(sa_family_t));
	}
	control_wake(door->control, door);
}

void server_sweep(struct door *door, uint64_t now_ms)
{
	for (struct client *client = door->clients; client; client = client->next) {
		if (!client->owes || now_ms - client->free_ms < door->control->receive_ms)
			continue;
		door->control->counters.slow_senders++;
		client->owes = false;
		client_cut(client);
	}
}

/* --- requests ----------------------------------------------------------------------------- */

static void *on_uri(void *arg, const char *uri, struct MHD_Connection *connection)
{
	struct door *door = arg;
	struct request *q = calloc(1, sizeof(*q));

	if (!q)
		return NULL;
	q->path = strdup(uri);
	if (!q->path) {
		free(q);
		return NULL;
	}
	q->door = door;
	q->control = door->control;
	q->connection = connection;
	return q;
}

static void request_free(struct request *q)
{
	q->control->body_bytes -= q->body.room;
	if (q->write)
		write_forget(q->write);
	if (q->link) {
		*q->link = q->next;
		if (q->next)
			q->next->link = q->link;
	}
	if (q->ready)
		MHD_destroy_response(q->ready);
	for (size_t i = 0; i < PARAMS; i++)
		free(q->params[i]);
	bytes_done(&q->body);
	query_done(&q->query);
	free(q->path);
	free(q);
}

static void on_completed(void *arg, struct MHD_Connection *connection, void **request,
			 enum MHD_RequestTerminationCode code)
{
	struct request *q = *request;

	if (!q)
		return;
	*request = NULL;
	if (q->client) {
		if (code == MHD_REQUEST_TERMINATED_TIMEOUT_REACHED && q->answered)
			q->control->counters.slow_readers++;
		q->client->owes = true;
		q->client->free_ms = uv_now(q->control->loop);
	}
	request_free(q);
}

void server_suspend(struct request *q)
{
	struct control *c = q->control;

	q->suspended = true;
	q->next = c->waiting;
	q->link = &c->waiting;
	if (q->next)
		q->next->link = &q->next;
	c->waiting = q;
	MHD_suspend_connection(q->connection);
}

void server_resume(struct request *q)
{
	if (!q->suspended)
		return;
	q->suspended = false;
	*q->link = q->next;
	if (q->next)
		q->next->link = q->link;
	q->link = NULL;
	MHD_resume_connection(q->connection);
	control_wake(q->control, q->door);
}

static int body_add(struct request *q, const char *data, size_t length)
{
	struct control *c = q->control;
	size_t before = q->body.room;

	q->too_large |= q->body.length + length > LIMIT_BODY;
	q->no_room |= q->body.length + length > BODY_SMALL && c->body_bytes + length > LIMIT_BODIES;
	if (q->too_large || q->no_room || !route_takes_body(q->route)) {
		q->discarded += length;
		c->body_bytes -= before;
		bytes_done(&q->body);
		return q->discarded > LIMIT_BODY ? -E2BIG : 0;
	}
	bytes_append(&q->body, data, length);
	c->body_bytes += q->body.room - before;
	return 0;
}

static bool body_follows(const struct request *q)
{
	const char *length = MHD_lookup_connection_value(q->connection, MHD_HEADER_KIND,
							 MHD_HTTP_HEADER_CONTENT_LENGTH);

	return (length && strcmp(length, "0") != 0) ||
	       MHD_lookup_connection_value(q->connection, MHD_HEADER_KIND,
					   MHD_HTTP_HEADER_TRANSFER_ENCODING);
}

/* What can be refused is refused before its body is read. The library closes the connection after
 * such an answer; without a body there is no reason to, and the answer waits for the end. */
static int request_begin(struct request *q, const char *method)
{
	const union MHD_ConnectionInfo *info;

	q->begun = true;
	info = MHD_get_connection_info(q->connection, MHD_CONNECTION_INFO_SOCKET_CONTEXT);
	q->client = info ? info->socket_context : NULL;
	if (!q->client || socket_caller(q->client->fd, &q->caller) < 0)
		return -ENOMEM;
	q->caller.admin = q->door->admin;
	q->routed = body_follows(q);
	return q->routed ? route_begin(q, method) : 0;
}

static int request_end(struct request *q, const char *method)
{
	int r = 0;

	if (!q->routed) {
		q->routed = true; /* it comes here again after a doctor's look */
		r = route_begin(q, method);
	}
	q->client->owes = false;
	return r < 0 || q->answered ? r : route_end(q);
}

/* Called when the headers are complete, for each piece of the body, at the end, and after a resume.
 */
static enum MHD_Result on_request(void *arg, struct MHD_Connection *connection, const char *url,
				  const char *method, const char *version, const char *data,
				  size_t *length, void **request)
{
	struct request *q = *request;
	int r;

	if (!q)
		return MHD_NO;
	if (q->ready)
		return answer_ready(q) < 0 ? MHD_NO : MHD_YES;
	if (q->answered)
		return MHD_NO; /* there was no memory for an answer */
	if (!q->begun) {
		r = request_begin(q, method);
		return r < 0 ? MHD_NO : MHD_YES;
	}
	if (*length) {
		r = body_add(q, data, *length);
		*length = 0;
		return r < 0 ? MHD_NO : MHD_YES;
	}
	r = request_end(q, method);
	return r < 0 ? MHD_NO : MHD_YES;
}

/* --- the HTTP library on the loop --------------------------------------------------------- */

__attribute__((format(printf, 2, 0))) static void on_log(void *arg, const char *format,
							 va_list args)
{
	struct door *door = arg;
	char text[300];

	(void)vsnprintf(text, sizeof(text), format, args);
	text[strcspn(text, "\n")] = 0;
	if (strncmp(text, "Error processing request", 24) == 0)
		door->control->counters.malformed++;
	log_debug("control %s: %s", door->socket.path ? door->socket.path : "", text);
}

static void on_timer(uv_timer_t *handle)
{
	struct door *door = handle->data;

	control_wake(door->control, door);
}

static void on_events(uv_poll_t *handle, int status, int events)
{
	struct door *door = handle->data;

	control_wake(door->control, door);
}

void server_turn(struct door *door)
{
	MHD_UNSIGNED_LONG_LONG timeout_ms;

	door->due = false;
	(void)MHD_run(door->http);
	(void)uv_timer_stop(&door->timer);
	if (MHD_get_timeout(door->http, &timeout_ms) != MHD_YES)
		return;
	if (timeout_ms == 0)
		control_wake(door->control, door);
	else
		(void)uv_timer_start(&door->timer, on_timer, timeout_ms, 0);
}

static struct MHD_Daemon *http_start(struct door *door)
{
	return MHD_start_daemon(
		MHD_USE_EPOLL | MHD_ALLOW_SUSPEND_RESUME | MHD_USE_NO_LISTEN_SOCKET |
			MHD_USE_ERROR_LOG,
		0, NULL, NULL, on_request, door, MHD_OPTION_EXTERNAL_LOGGER, on_log, door,
		MHD_OPTION_CONNECTION_LIMIT, (unsigned int)LIMIT_CLIENTS * 2,
		MHD_OPTION_CONNECTION_MEMORY_LIMIT, (size_t)POOL, MHD_OPTION_CONNECTION_TIMEOUT,
		(unsigned int)door->control->answer_s, MHD_OPTION_STRICT_FOR_CLIENT, 1,
		MHD_OPTION_URI_LOG_CALLBACK, on_uri, door, MHD_OPTION_NOTIFY_COMPLETED,
		on_completed, door, MHD_OPTION_NOTIFY_CONNECTION, on_client, door, MHD_OPTION_END);
}

static int http_watch(struct door *door)
{
	struct control *c = door->control;
	const union MHD_DaemonInfo *info =
		MHD_get_daemon_info(door->http, MHD_DAEMON_INFO_EPOLL_FD);
	int r;

	if (!info)
		return -EIO;
	r = uv_poll_init(c->loop, &door->accepts, door->socket.fd);
	if (r < 0)
		return r;
	c->n_handles++;
	r = uv_poll_init(c->loop, &door->events, info->epoll_fd);
	if (r < 0)
		return r;
	c->n_handles++;
	r = uv_timer_init(c->loop, &door->timer);
	if (r < 0)
		return r;
	c->n_handles++;
	door->accepts.data = door->events.data = door->timer.data = door;
	r = uv_poll_start(&door->accepts, UV_READABLE, on_accept);
	if (r < 0)
		return r;
	return uv_poll_start(&door->events, UV_READABLE, on_events);
}

int server_open(struct control *c, struct door *door, bool admin, const char *path)
{
	int r;

	*door = (struct door){.control = c, .admin = admin, .socket.fd = -1};
	r = socket_listen(path, admin ? "sinew" : "sinew-view", &door->socket);
	if (r < 0)
		return r;
	door->http = http_start(door);
	if (!door->http)
		return -ENOMEM;
	return http_watch(door);
}

/* What is there to be sent at once is sent, without waiting for anybody. */
static void http_drain(struct MHD_Daemon *http)
{
	MHD_UNSIGNED_LONG_LONG timeout_ms = 0;

	for (int i = 0; i < DRAINS && timeout_ms == 0; i++) {
		(void)MHD_run(http);
		if (MHD_get_timeout(http, &timeout_ms) != MHD_YES)
			return;
	}
}

/* The library panics when it is stopped over suspended connections: callers resume them first. */
void server_stop(struct door *door)
{
	if (door->http) {
		http_drain(door->http);
		MHD_stop_daemon(door->http);
	}
	door->http = NULL;
	socket_done(&door->socket);
}
