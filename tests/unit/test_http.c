/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * base/http: one exchange after the other with a server of the test's own, which answers by a
 * script and remembers what it was sent.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/http.h"
#include "folder.h"

#define SEEN 65536

/* Accepts `connections`, and on each answers `answer` to every request until it is closed. */
struct server {
	char folder[256], path[300];
	int fd;
	pthread_t thread;
	const char *answer;
	bool hangs_up;  /* after each answer */
	bool is_silent; /* reads, and never answers */
	unsigned int connections, requests;
	char seen[SEEN]; /* all requests, one behind the other */
	size_t n_seen;
};

static bool is_complete(const char *request)
{
	const char *end = strstr(request, "\r\n\r\n");
	const char *length = strstr(request, "Content-Length: ");

	if (!end)
		return false;
	return !length || strlen(end + 4) >= strtoul(length + 16, NULL, 10);
}

static void serve_one(struct server *s, int fd)
{
	size_t begin = s->n_seen;

	for (;;) {
		ssize_t n = read(fd, s->seen + s->n_seen, SEEN - 1 - s->n_seen);

		if (n <= 0)
			return;
		s->n_seen += (size_t)n;
		s->seen[s->n_seen] = '\0';
		if (!is_complete(s->seen + begin) || s->is_silent)
			continue;
		s->requests++;
		begin = s->n_seen;
		if (send(fd, s->answer, strlen(s->answer), MSG_NOSIGNAL) < 0 || s->hangs_up)
			return;
	}
}

static void *serve(void *arg)
{
	struct server *s = arg;
	int fd;

	while ((fd = accept4(s->fd, NULL, NULL, SOCK_CLOEXEC)) >= 0) {
		s->connections++;
		serve_one(s, fd);
		(void)close(fd);
	}
	return NULL;
}

static void begin(struct server *s, const char *answer)
{
	struct sockaddr_un name = {.sun_family = AF_UNIX};

	*s = (struct server){.answer = answer};
	(void)snprintf(s->folder, sizeof(s->folder), "%s", folder_make());
	(void)snprintf(s->path, sizeof(s->path), "%s/s", s->folder);
	(void)snprintf(name.sun_path, sizeof(name.sun_path), "%.100s", s->path);
	s->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	assert_true(s->fd >= 0);
	assert_return_code(bind(s->fd, (struct sockaddr *)&name, sizeof(name)), errno);
	assert_return_code(listen(s->fd, 8), errno);
}

static void run(struct server *s)
{
	assert_int_equal(pthread_create(&s->thread, NULL, serve, s), 0);
}

/* The client is closed by now, so nobody is in serve_one. */
static void end(struct server *s)
{
	(void)shutdown(s->fd, SHUT_RDWR);
	(void)pthread_join(s->thread, NULL);
	(void)close(s->fd);
	folder_remove(s->folder);
}

#define OK_ANSWER                                                                                  \
	"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nETag:  \"7\" \r\nContent-Length: 3"  \
	"\r\n\r\nabc"

static void test_exchange(void **state)
{
	const struct http_request put = {.method = "PUT",
					 .path = "/v1/x?a=%20",
					 .body = "{\"b\":1}",
					 .length = 7,
					 .if_match = "\"6\"",
					 .timeout_ms = 20000};
	const struct http_request get = {.method = "GET", .path = "/", .timeout_ms = 20000};
	struct http_response r;
	struct http *h;
	struct server s;

	begin(&s, OK_ANSWER);
	run(&s);
	assert_int_equal(http_open(s.path, &h), 0);
	assert_int_equal(http_send(h, &put, &r), 0);
	assert_int_equal(r.status, 200);
	assert_string_equal(r.content_type, "application/json");
	assert_string_equal(r.etag, "\"7\"");
	assert_string_equal(r.body, "abc");
	assert_int_equal(r.length, 3);
	http_response_done(&r);
	assert_int_equal(http_send(h, &get, &r), 0);
	http_response_done(&r);
	assert_null(http_close(h));
	end(&s);
	assert_int_equal(s.connections, 1); /* kept */
	assert_int_equal(s.requests, 2);
	assert_memory_equal(s.seen, "PUT /v1/x?a=%20 HTTP/1.1\r\n", 26);
	assert_non_null(strstr(s.seen, "Content-Type: application/json\r\n"));
	assert_non_null(strstr(s.seen, "If-Match: \"6\"\r\n"));
	assert_non_null(strstr(s.seen, "Accept: application/json, application/problem+json\r\n"));
	assert_null(strstr(s.seen, "Expect:"));
	assert_non_null(strstr(s.seen, "\r\n\r\n{\"b\":1}GET / HTTP/1.1\r\n"));
	/* The second one has nothing of the first. */
	assert_null(strstr(strstr(s.seen, "GET /"), "If-Match"));
}

static int exchange(struct server *s, const struct http_request *request, struct http_response *r)
{
	struct http *h;
	int result;

	run(s);
	assert_int_equal(http_open(s->path, &h), 0);
	result = http_send(h, request, r);
	(void)http_close(h);
	end(s);
	return result;
}

static const struct http_request plain = {.method = "GET", .path = "/", .timeout_ms = 20000};

static void test_status_is_no_error_and_redirects_are_not_followed(void **state)
{
	static const struct {
		const char *answer;
		unsigned int status;
	} rows[] = {
		{"HTTP/1.1 422 X\r\nContent-Length: 0\r\n\r\n", 422},
		{"HTTP/1.1 503 X\r\nContent-Length: 0\r\n\r\n", 503},
		{"HTTP/1.1 302 X\r\nLocation: http://127.0.0.1:1/\r\nContent-Length: 0\r\n\r\n",
		 302},
		{"HTTP/1.1 204 X\r\n\r\n", 204},
	};

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct http_response r;
		struct server s;

		begin(&s, rows[i].answer);
		assert_int_equal(exchange(&s, &plain, &r), 0);
		assert_int_equal(r.status, rows[i].status);
		assert_string_equal(r.content_type, "");
		assert_string_equal(r.etag, "");
		assert_string_equal(r.body, "");
		assert_int_equal(s.requests, 1);
		http_response_done(&r);
	}
}

static void test_errors(void **state)
{
	static const struct {
		const char *answer;
		int r;
	} rows[] = {
		{"nonsense\r\n\r\n", -EPROTO},
		{"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nabc", -ECONNRESET},
		{"", -ECONNRESET},
	};

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct http_response r = {.status = 77};
		struct server s;
		int result;

		begin(&s, rows[i].answer);
		s.hangs_up = true;
		result = exchange(&s, &plain, &r);
		if (result != rows[i].r || r.status != 77)
			fail_msg("%s: %d", rows[i].answer, result);
	}
}

static void test_nobody_there(void **state)
{
	struct http_response r;
	char long_path[200];
	struct http *h;
	struct server s;

	begin(&s, OK_ANSWER);
	assert_int_equal(http_open(s.path, &h), 0);
	(void)close(s.fd); /* the name stays, nobody listens */
	assert_int_equal(http_send(h, &plain, &r), -ECONNREFUSED);
	assert_int_equal(unlink(s.path), 0);
	assert_int_equal(http_send(h, &plain, &r), -ENOENT);
	(void)http_close(h);
	folder_remove(s.folder);
	memset(long_path, 'a', sizeof(long_path));
	long_path[sizeof(long_path) - 1] = '\0';
	assert_int_equal(http_open(long_path, &h), -ENAMETOOLONG);
	assert_null(http_close(NULL));
}

static void test_silent_server_times_out(void **state)
{
	const struct http_request request = {.method = "GET", .path = "/", .timeout_ms = 200};
	struct http_response r;
	struct server s;

	begin(&s, OK_ANSWER);
	s.is_silent = true;
	assert_int_equal(exchange(&s, &request, &r), -ETIMEDOUT);
}

static void test_response_is_bounded(void **state)
{
	struct http_request request = plain;
	struct http_response r;
	struct server s;

	request.max_response = 3;
	begin(&s, OK_ANSWER);
	assert_int_equal(exchange(&s, &request, &r), 0);
	http_response_done(&r);
	request.max_response = 2;
	begin(&s, OK_ANSWER);
	assert_int_equal(exchange(&s, &request, &r), -EMSGSIZE);
}

static void test_requests_that_are_refused(void **state)
{
	static char long_path[9000];
	static const struct http_request rows[] = {
		{.method = "GET", .path = "v1"},
		{.method = "GET", .path = ""},
		{.method = "GET", .path = "http://example.org/"},
		{.method = "GET", .path = "/", .if_match = "\"1\"\r\nX-Evil: 1"},
		{.method = "GET", .path = "/", .accept = "a\nb"},
		{.method = "GET", .path = long_path},
	};
	struct http_response r;
	struct http *h;

	memset(long_path, '/', sizeof(long_path) - 1);
	assert_int_equal(http_open("/nowhere/at/all", &h), 0);
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++)
		assert_int_equal(http_send(h, &rows[i], &r), -EINVAL);
	(void)http_close(h);
}

/* --- streams ------------------------------------------------------------------------------ */

struct stream {
	char data[64];
	size_t n;
	int answer;
};

static int on_data(void *arg, const char *data, size_t length)
{
	struct stream *stream = arg;

	assert_true(stream->n + length < sizeof(stream->data));
	memcpy(stream->data + stream->n, data, length);
	stream->n += length;
	return stream->answer;
}

static void test_stream(void **state)
{
	struct stream stream = {.n = 0};
	struct http_request request = plain;
	struct http_response r;
	struct server s;

	request.on_data = on_data;
	request.arg = &stream;
	begin(&s, OK_ANSWER);
	assert_int_equal(exchange(&s, &request, &r), 0);
	assert_string_equal(stream.data, "abc");
	assert_string_equal(r.body, "");
	http_response_done(&r);
	/* "Enough" ends it. */
	stream = (struct stream){.answer = -ECANCELED};
	begin(&s, OK_ANSWER);
	assert_int_equal(exchange(&s, &request, &r), -ECANCELED);
	/* An error's body is no data: it is collected. */
	stream = (struct stream){.n = 0};
	begin(&s, "HTTP/1.1 404 X\r\nContent-Length: 2\r\n\r\nno");
	assert_int_equal(exchange(&s, &request, &r), 0);
	assert_int_equal(stream.n, 0);
	assert_string_equal(r.body, "no");
	http_response_done(&r);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_exchange),
		cmocka_unit_test(test_status_is_no_error_and_redirects_are_not_followed),
		cmocka_unit_test(test_errors),
		cmocka_unit_test(test_nobody_there),
		cmocka_unit_test(test_silent_server_times_out),
		cmocka_unit_test(test_response_is_bounded),
		cmocka_unit_test(test_requests_that_are_refused),
		cmocka_unit_test(test_stream),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
