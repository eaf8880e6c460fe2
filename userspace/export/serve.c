/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * See serve.h. Before: agent.c opens it. After: the HTTP library, fed by the loop. Must never
 * listen beyond the loopback device, block, or take a body.
 */
#include "export/serve.h"

#include <errno.h>
#include <microhttpd.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/log.h"
#include "export/listen.h"

#define CLIENTS 64
#define POOL (32u << 10) /* bytes of one connection: request line, headers */
#define SILENCE_S 10u
#define ACCEPTS 16
#define DRAINS 64

struct door {
	struct serve *serve;
	struct listen listen;
	uv_poll_t poll;
	bool polled;
};

struct serve {
	uv_loop_t *loop;
	struct serve_ops ops;
	struct MHD_Daemon *http;
	struct door doors[2]; /* TCP, unix */
	uv_poll_t events;
	uv_timer_t timer;
	uv_check_t turn;
	uv_idle_t busy; /* runs while there is more to do, so that the loop does not sleep */
	bool due;
	bool full; /* the last client was turned away for want of a descriptor */
	int spare; /* for such a one */
	unsigned int n_handles;
};

struct serve_request {
	struct serve *serve;
	struct MHD_Connection *connection;
	char *path;
	const char *method;
	bool local, begun, told, suspended;
	struct MHD_Response *ready;
	unsigned int status;
};

/* --- the HTTP library on the loop ------------------------------------------------------------ */

static void on_busy(uv_idle_t *handle)
{
}

static void wake(struct serve *s)
{
	s->due = true;
	(void)uv_idle_start(&s->busy, on_busy);
}

static void on_timer(uv_timer_t *handle)
{
	wake(handle->data);
}

static void on_events(uv_poll_t *handle, int status, int events)
{
	wake(handle->data);
}

static void on_turn(uv_check_t *handle)
{
	struct serve *s = handle->data;
	MHD_UNSIGNED_LONG_LONG timeout_ms;

	if (!s->due || !s->http)
		return;
	s->due = false;
	(void)uv_idle_stop(&s->busy);
	(void)MHD_run(s->http);
	(void)uv_timer_stop(&s->timer);
	if (MHD_get_timeout(s->http, &timeout_ms) != MHD_YES)
		return;
	if (timeout_ms == 0)
		wake(s);
	else
		(void)uv_timer_start(&s->timer, on_timer, timeout_ms, 0);
}

/* A client that waits while there is no descriptor for it would wake us again and again. False: the
 * queue is empty, or there is no help. */
static bool turn_away(struct door *door)
{
	struct serve *s = door->serve;
	struct sockaddr_storage address;
	socklen_t length;
	int fd;

	if (!s->full)
		log_warn("too many open files: clients of the agent are turned away");
	s->full = true;
	if (s->spare >= 0)
		(void)close(s->spare);
	fd = listen_accept(&door->listen, &address, &length);
	if (fd >= 0)
		(void)close(fd);
	s->spare = eventfd(0, EFD_CLOEXEC);
	return fd >= 0;
}

static void on_accept(uv_poll_t *handle, int status, int events)
{
	struct door *door = handle->data;
	struct sockaddr_storage address;
	socklen_t length;

	for (int i = 0; i < ACCEPTS; i++) {
		int fd = listen_accept(&door->listen, &address, &length);

		if ((fd == -EMFILE || fd == -ENFILE) && turn_away(door))
			continue;
		if (fd < 0)
			break;
		door->serve->full = false;
		/* Closes fd itself when it fails. */
		(void)MHD_add_connection(door->serve->http, fd, (struct sockaddr *)&address,
					 length);
	}
	wake(door->serve);
}

/* --- requests ----------------------------------------------------------------------------------
 */

static enum MHD_Result answer(struct serve_request *q)
{
	struct MHD_Response *ready = TAKE_PTR(q->ready);
	enum MHD_Result r = MHD_queue_response(q->connection, q->status, ready);

	MHD_destroy_response(ready);
	return r;
}

static struct serve_request *request_new(struct serve *s, struct MHD_Connection *connection,
					 const char *path)
{
	const union MHD_ConnectionInfo *info =
		MHD_get_connection_info(connection, MHD_CONNECTION_INFO_CLIENT_ADDRESS);
	struct serve_request *q = calloc(1, sizeof(*q));

	if (!q)
		return NULL;
	q->path = strdup(path);
	if (!q->path) {
		free(q);
		return NULL;
	}
	q->serve = s;
	q->connection = connection;
	q->local = info && info->client_addr && info->client_addr->sa_family == AF_UNIX;
	return q;
}

/* Called when the headers are complete, at the end, and after a resume. */
static enum MHD_Result on_request(void *arg, struct MHD_Connection *connection, const char *url,
				  const char *method, const char *version, const char *data,
				  size_t *length, void **request)
{
	struct serve_request *q = *request;

	if (!q) {
		*request = request_new(arg, connection, url);
		return *request ? MHD_YES : MHD_NO;
	}
	if (*length)
		return MHD_NO; /* nothing here takes a body */
	q->method = method;
	if (!q->told) {
		q->told = true;
		q->serve->ops.on_request(q->serve->ops.arg, q);
	}
	if (q->ready)
		return answer(q);
	q->suspended = true;
	MHD_suspend_connection(connection);
	return MHD_YES;
}

static void on_completed(void *arg, struct MHD_Connection *connection, void **request,
			 enum MHD_RequestTerminationCode code)
{
	struct serve_request *q = *request;

	*request = NULL;
	if (!q)
		return;
	if (q->ready)
		MHD_destroy_response(q->ready);
	free(q->path);
	free(q);
}

void serve_reply(struct serve_request *q, unsigned int status, const char *type, char *body,
		 size_t length)
{
	static char failed[] = "out of memory\n";

	q->status = body ? status : MHD_HTTP_INTERNAL_SERVER_ERROR;
	q->ready = MHD_create_response_from_buffer(
		body ? length : strlen(failed), body ? body : failed,
		body ? MHD_RESPMEM_MUST_FREE : MHD_RESPMEM_PERSISTENT);
	if (!q->ready)
		free(body);
	else
		(void)MHD_add_response_header(q->ready, MHD_HTTP_HEADER_CONTENT_TYPE,
					      body ? type : "text/plain; charset=utf-8");
	if (!q->suspended)
		return;
	q->suspended = false;
	MHD_resume_connection(q->connection);
	wake(q->serve);
}

const char *serve_method(const struct serve_request *q)
{
	return q->method;
}

const char *serve_path(const struct serve_request *q)
{
	return q->path;
}

bool serve_query(const struct serve_request *q, const char *key, const char **ret)
{
	const char *value = NULL;
	enum MHD_Result found = MHD_lookup_connection_value_n(q->connection, MHD_GET_ARGUMENT_KIND,
							      key, strlen(key), &value, NULL);

	if (ret)
		*ret = value ?: "";
	return found == MHD_YES;
}

bool serve_is_local(const struct serve_request *q)
{
	return q->local;
}

/* --- life --------------------------------------------------------------------------------------
 */

__attribute__((format(printf, 2, 0))) static void on_log(void *arg, const char *format,
							 va_list args)
{
	char text[300];

	(void)vsnprintf(text, sizeof(text), format, args);
	text[strcspn(text, "\n")] = 0;
	log_debug("http: %s", text);
}

static struct MHD_Daemon *http_start(struct serve *s)
{
	return MHD_start_daemon(MHD_USE_EPOLL | MHD_ALLOW_SUSPEND_RESUME |
					MHD_USE_NO_LISTEN_SOCKET | MHD_USE_ERROR_LOG,
				0, NULL, NULL, on_request, s, MHD_OPTION_EXTERNAL_LOGGER, on_log, s,
				MHD_OPTION_CONNECTION_LIMIT, (unsigned int)CLIENTS,
				MHD_OPTION_CONNECTION_MEMORY_LIMIT, (size_t)POOL,
				MHD_OPTION_CONNECTION_TIMEOUT, SILENCE_S,
				MHD_OPTION_STRICT_FOR_CLIENT, 1, MHD_OPTION_NOTIFY_COMPLETED,
				on_completed, s, MHD_OPTION_END);
}

static int door_watch(struct serve *s, struct door *door)
{
	int r;

	if (door->listen.fd < 0)
		return 0;
	r = uv_poll_init(s->loop, &door->poll, door->listen.fd);
	if (r < 0)
		return r;
	s->n_handles++;
	door->polled = true;
	door->poll.data = door;
	return uv_poll_start(&door->poll, UV_READABLE, on_accept);
}

static int watch(struct serve *s)
{
	const union MHD_DaemonInfo *info = MHD_get_daemon_info(s->http, MHD_DAEMON_INFO_EPOLL_FD);
	int r = info ? uv_poll_init(s->loop, &s->events, info->epoll_fd) : -EIO;

	if (r < 0)
		return r;
	(void)uv_timer_init(s->loop, &s->timer); /* these three cannot fail */
	(void)uv_check_init(s->loop, &s->turn);
	(void)uv_idle_init(s->loop, &s->busy);
	s->n_handles += 4;
	s->events.data = s->timer.data = s->turn.data = s->busy.data = s;
	r = uv_poll_start(&s->events, UV_READABLE, on_events);
	if (r >= 0)
		r = uv_check_start(&s->turn, on_turn);
	for (size_t i = 0; r >= 0 && i < ARRAY_SIZE(s->doors); i++)
		r = door_watch(s, &s->doors[i]);
	return r;
}

static int doors_open(struct serve *s, const struct serve_config *config)
{
	int r = 0;

	for (size_t i = 0; i < ARRAY_SIZE(s->doors); i++)
		s->doors[i] = (struct door){.serve = s, .listen.fd = -1};
	if (config->tcp && *config->tcp)
		r = listen_tcp(config->tcp, &s->doors[0].listen);
	if (r >= 0 && config->socket)
		r = listen_unix(config->socket, config->group, &s->doors[1].listen);
	return r;
}

int serve_open(uv_loop_t *loop, const struct serve_config *config, const struct serve_ops *ops,
	       struct serve **ret)
{
	struct serve *s = calloc(1, sizeof(*s));
	int r;

	if (!s)
		return -ENOMEM;
	s->loop = loop;
	s->ops = *ops;
	s->spare = eventfd(0, EFD_CLOEXEC);
	r = doors_open(s, config);
	if (r >= 0) {
		s->http = http_start(s);
		r = s->http ? watch(s) : -ENOMEM;
	}
	if (r < 0) {
		serve_close(s);
		return r;
	}
	*ret = s;
	return 0;
}

static void handle_closed(struct serve *s)
{
	if (--s->n_handles == 0)
		free(s);
}

static void on_closed(uv_handle_t *handle)
{
	handle_closed(handle->data);
}

static void on_door_closed(uv_handle_t *handle)
{
	handle_closed(((struct door *)handle->data)->serve);
}

/* What is there to be sent at once is sent, without waiting for anybody. */
static void drain(struct MHD_Daemon *http)
{
	MHD_UNSIGNED_LONG_LONG timeout_ms = 0;

	for (int i = 0; i < DRAINS && timeout_ms == 0; i++) {
		(void)MHD_run(http);
		if (MHD_get_timeout(http, &timeout_ms) != MHD_YES)
			return;
	}
}

static void handles_close(struct serve *s)
{
	if (!s->n_handles) {
		free(s);
		return;
	}
	for (size_t i = 0; i < ARRAY_SIZE(s->doors); i++)
		if (s->doors[i].polled)
			uv_close((uv_handle_t *)&s->doors[i].poll, on_door_closed);
	uv_close((uv_handle_t *)&s->events, on_closed);
	uv_close((uv_handle_t *)&s->timer, on_closed);
	uv_close((uv_handle_t *)&s->turn, on_closed);
	uv_close((uv_handle_t *)&s->busy, on_closed);
}

void serve_close(struct serve *s)
{
	struct MHD_Daemon *http;

	if (!s)
		return;
	http = TAKE_PTR(s->http);
	if (http)
		drain(http);
	for (size_t i = 0; i < ARRAY_SIZE(s->doors); i++)
		if (s->doors[i].polled)
			(void)uv_poll_stop(&s->doors[i].poll);
	if (s->n_handles)
		(void)uv_poll_stop(&s->events); /* before the library closes its descriptor */
	if (http)
		MHD_stop_daemon(http);
	if (s->spare >= 0)
		(void)close(s->spare);
	for (size_t i = 0; i < ARRAY_SIZE(s->doors); i++)
		listen_done(&s->doors[i].listen);
	handles_close(s);
}

unsigned int serve_port(const struct serve *s)
{
	return listen_port(&s->doors[0].listen);
}
