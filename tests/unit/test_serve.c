/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * export/serve: two doors that tell who came through which, answers at once and later, and nothing
 * beyond the loopback device.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <arpa/inet.h>
#include <cmocka.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "export/serve.h"
#include "folder.h"

static uv_loop_t loop;
static struct serve *server;
static struct serve_request *waiting;
static char folder[200], path[256];

static void on_request(void *arg, struct serve_request *q)
{
	const char *value = NULL;
	char text[200];

	if (strcmp(serve_path(q), "/later") == 0) {
		waiting = q;
		return;
	}
	(void)serve_query(q, "verbose", &value);
	(void)snprintf(text, sizeof(text), "%s %s %s %d", serve_method(q), serve_path(q),
		       serve_query(q, "verbose", NULL) ? "verbose" : "short", serve_is_local(q));
	serve_reply(q, 200, "text/plain", strdup(text), strlen(text));
}

static int set_up(void **state)
{
	const struct serve_ops ops = {.on_request = on_request};
	struct serve_config config = {.tcp = "127.0.0.1:0"};

	(void)snprintf(folder, sizeof(folder), "%s", folder_make());
	(void)snprintf(path, sizeof(path), "%s/a.sock", folder);
	config.socket = path;
	waiting = NULL;
	assert_int_equal(uv_loop_init(&loop), 0);
	return serve_open(&loop, &config, &ops, &server);
}

static int tear_down(void **state)
{
	serve_close(server);
	(void)uv_run(&loop, UV_RUN_DEFAULT);
	assert_int_equal(access(path, F_OK), -1);
	folder_remove(folder);
	return uv_loop_close(&loop);
}

static int dial_tcp(void)
{
	struct sockaddr_in a = {.sin_family = AF_INET,
				.sin_port = htons((in_port_t)serve_port(server)),
				.sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	assert_int_equal(connect(fd, (struct sockaddr *)&a, sizeof(a)), 0);
	return fd;
}

static int dial_unix(void)
{
	struct sockaddr_un a = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	(void)snprintf(a.sun_path, sizeof(a.sun_path), "%.100s", path);
	assert_int_equal(connect(fd, (struct sockaddr *)&a, sizeof(a)), 0);
	return fd;
}

/* Some turns of the loop, until the peer has something to read; what that is. */
static const char *hear(int fd)
{
	static char text[2000];
	ssize_t n = -1;

	for (int i = 0; i < 400 && n < 0; i++) {
		(void)uv_run(&loop, UV_RUN_NOWAIT);
		n = recv(fd, text, sizeof(text) - 1, MSG_DONTWAIT);
		if (n < 0)
			(void)usleep(5000);
	}
	text[n < 0 ? 0 : n] = '\0';
	return text;
}

static const char *ask(int fd, const char *line)
{
	char text[300];

	(void)snprintf(text, sizeof(text), "%s HTTP/1.1\r\nHost: x\r\n\r\n", line);
	assert_int_equal(send(fd, text, strlen(text), MSG_NOSIGNAL), strlen(text));
	return hear(fd);
}

static void test_the_doors_are_told_apart(void **state)
{
	int tcp = dial_tcp(), local = dial_unix();
	struct stat st;

	assert_non_null(strstr(ask(tcp, "GET /readyz?verbose"), "GET /readyz verbose 0"));
	assert_non_null(strstr(ask(local, "POST /v1/x"), "POST /v1/x short 1"));
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_mode & 0777, 0660);
	(void)close(tcp);
	(void)close(local);
}

static void test_an_answer_may_come_later(void **state)
{
	int first = dial_tcp(), second = dial_tcp();

	assert_int_equal(send(first, "GET /later HTTP/1.1\r\nHost: x\r\n\r\n", 33, 0), 33);
	assert_non_null(strstr(ask(second, "GET /now"), "GET /now"));
	for (int i = 0; i < 400 && !waiting; i++) {
		(void)uv_run(&loop, UV_RUN_NOWAIT);
		(void)usleep(5000);
	}
	assert_non_null(waiting);
	serve_reply(waiting, 503, "text/plain", strdup("late"), 4);
	assert_non_null(strstr(hear(first), "503"));
	(void)close(first);
	(void)close(second);
}

static void test_a_body_is_not_taken(void **state)
{
	static const char text[] = "POST /x HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\n\r\nbody";
	int fd = dial_unix();

	assert_int_equal(send(fd, text, strlen(text), 0), strlen(text));
	assert_null(strstr(hear(fd), "200 OK"));
	(void)close(fd);
}

static void test_what_is_no_http_ends_the_connection_only(void **state)
{
	int fd = dial_tcp(), other = dial_tcp();

	assert_int_equal(send(fd, "\x16\x03\x01 nonsense\r\n\r\n", 16, 0), 16);
	assert_null(strstr(hear(fd), "200 OK"));
	assert_non_null(strstr(ask(other, "GET /a"), "GET /a"));
	(void)close(fd);
	(void)close(other);
}

static void test_only_loopback_addresses_are_listened_at(void **state)
{
	static const char *const bad[] = {"0.0.0.0:0",   "10.0.0.1:0",  "[::]:0",
					  "127.0.0.1",   "127.0.0.1:x", "127.0.0.1:70000",
					  "localhost:1", "[::1]"};
	const struct serve_ops ops = {.on_request = on_request};
	struct serve *other = NULL;

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		const struct serve_config config = {.tcp = bad[i]};

		assert_int_equal(serve_open(&loop, &config, &ops, &other), -EINVAL);
	}
}

static void test_a_second_one_leaves_the_first_its_socket(void **state)
{
	const struct serve_ops ops = {.on_request = on_request};
	const struct serve_config config = {.socket = path};
	struct serve *other = NULL;
	int fd;

	assert_int_equal(serve_open(&loop, &config, &ops, &other), -EADDRINUSE);
	fd = dial_unix();
	assert_non_null(strstr(ask(fd, "GET /a"), "GET /a"));
	(void)close(fd);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_the_doors_are_told_apart, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_an_answer_may_come_later, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_a_body_is_not_taken, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_what_is_no_http_ends_the_connection_only,
						set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_only_loopback_addresses_are_listened_at,
						set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_a_second_one_leaves_the_first_its_socket,
						set_up, tear_down),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
