/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * agent/labels: what an engine says of a container's labels, asked once and never guessed. The
 * exchanges are the test's own.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "agent/labels.h"
#include "base/cleanup.h"

static struct {
	unsigned int begun;
	bool under_way;
	char url[300], socket[100];
	void (*on_done)(void *arg, const struct fetch_result *result);
	void *arg;
	const char *version;
	bool no_socket;
} wire;

int fetch_begin(struct fetcher *f, const struct fetch_request *q, struct fetch **ret)
{
	assert_false(wire.under_way); /* one at a time */
	wire.under_way = true;
	wire.begun++;
	wire.on_done = q->on_done;
	wire.arg = q->arg;
	(void)snprintf(wire.url, sizeof(wire.url), "%s", q->url);
	assert_int_equal(!q->unix_socket, wire.no_socket);
	(void)snprintf(wire.socket, sizeof(wire.socket), "%s", q->unix_socket ?: "");
	*ret = (struct fetch *)&wire;
	return 0;
}

struct fetch *fetch_cancel(struct fetch *fetch)
{
	wire.under_way = false;
	return NULL;
}

const char *fetch_header(const struct fetch *fetch, const char *name)
{
	return strcmp(name, "Api-Version") == 0 ? wire.version : NULL;
}

static void answer(unsigned int status, const char *body)
{
	const struct fetch_result result = {.error = status ? 0 : -ECONNREFUSED,
					    .status = status,
					    .error_text = "",
					    .body = body,
					    .length = strlen(body)};

	assert_true(wire.under_way);
	wire.under_way = false;
	wire.on_done(wire.arg, &result);
}

static uv_loop_t loop;
static struct labels *labels;
static unsigned int changes;
static struct label app = {(char *)"app", (char *)"pay"};

static void on_changed(void *arg)
{
	changes++;
}

static void turn(void)
{
	(void)uv_run(&loop, UV_RUN_NOWAIT);
	(void)uv_run(&loop, UV_RUN_NOWAIT);
}

static int set_up(void **state)
{
	const struct labels_host host = {NULL, on_changed};
	static struct registry_config engine = {.address = (char *)"unix:///x/docker.sock"};

	memset(&wire, 0, sizeof(wire));
	wire.version = "1.41";
	changes = 0;
	assert_int_equal(uv_loop_init(&loop), 0);
	return labels_new(&loop, NULL, &engine, &host, &labels);
}

static int tear_down(void **state)
{
	labels_close(labels);
	(void)uv_run(&loop, UV_RUN_DEFAULT);
	return uv_loop_close(&loop);
}

static void test_a_container_is_asked_for_once(void **state)
{
	assert_int_equal(labels_match(labels, "c1", &app, 1), -EAGAIN);
	assert_int_equal(labels_match(labels, "c1", &app, 1), -EAGAIN);
	turn();
	assert_string_equal(wire.url, "http://docker/_ping");
	assert_string_equal(wire.socket, "/x/docker.sock");
	answer(200, "OK");
	assert_string_equal(wire.url, "http://docker/v1.41/containers/c1/json");
	answer(200, "{\"Config\":{\"Labels\":{\"app\":\"pay\",\"x\":\"\"}}}");
	assert_int_equal(changes, 1);
	assert_int_equal(labels_match(labels, "c1", &app, 1), 1);
	assert_int_equal(labels_match(labels, "c1", &(struct label){(char *)"app", (char *)"x"}, 1),
			 0);
	assert_int_equal(labels_match(labels, "c2", &app, 1), -EAGAIN);
	turn();
	assert_string_equal(wire.url, "http://docker/v1.41/containers/c2/json");
	answer(200, "{\"Config\":{\"Labels\":null}}");
	assert_int_equal(labels_match(labels, "c2", &app, 1), 0);
	turn();
	assert_int_equal(wire.begun, 3);
}

static void test_what_an_engine_does_not_say_is_not_known(void **state)
{
	assert_int_equal(labels_match(labels, "c1", &app, 1), -EAGAIN);
	turn();
	answer(200, "OK");
	answer(404, "{\"message\":\"No such container: c1\"}");
	assert_int_equal(labels_match(labels, "c1", &app, 1), -EAGAIN);
	assert_int_equal(changes, 0);
	turn();
	assert_int_equal(wire.begun, 2); /* again later, not at once */
	assert_int_equal(labels_match(labels, "../../x", &app, 1), -EAGAIN);
	turn();
	assert_int_equal(wire.begun, 2);
}

/* Pods of another engine, say: their containers are met, too. */
static void test_one_that_the_engine_does_not_know_holds_up_nobody(void **state)
{
	assert_int_equal(labels_match(labels, "c1", &app, 1), -EAGAIN);
	assert_int_equal(labels_match(labels, "c2", &app, 1), -EAGAIN);
	turn();
	answer(200, "OK");
	assert_string_equal(wire.url, "http://docker/v1.41/containers/c1/json");
	answer(404, "{\"message\":\"No such container: c1\"}");
	assert_true(wire.under_way);
	assert_string_equal(wire.url, "http://docker/v1.41/containers/c2/json");
	answer(200, "{\"Config\":{\"Labels\":{\"app\":\"pay\"}}}");
	assert_int_equal(labels_match(labels, "c2", &app, 1), 1);
}

static void test_one_that_the_engine_does_not_know_yet_is_asked_for_again(void **state)
{
	assert_int_equal(labels_match(labels, "c1", &app, 1), -EAGAIN);
	turn();
	answer(200, "OK");
	answer(404, "{\"message\":\"No such container: c1\"}");
	assert_int_equal(labels_match(labels, "c2", &app, 1), -EAGAIN);
	turn();
	if (strstr(wire.url, "_ping"))
		answer(200, "OK");
	answer(200, "{\"Config\":{\"Labels\":null}}");
	assert_true(uv_backend_timeout(&loop) >= 0); /* there is a timer */
	(void)uv_run(&loop, UV_RUN_DEFAULT);
	assert_true(wire.under_way);
	assert_string_equal(wire.url, "http://docker/v1.41/containers/c1/json");
}

static void test_another_engine_is_asked_for_what_is_not_known_yet(void **state)
{
	struct registry_config other = {.address = (char *)"unix:///y/podman.sock"};

	assert_int_equal(labels_match(labels, "c1", &app, 1), -EAGAIN);
	turn();
	answer(200, "OK");
	answer(200, "{\"Config\":{\"Labels\":{\"app\":\"pay\"}}}");
	assert_int_equal(labels_match(labels, "c2", &app, 1), -EAGAIN);
	turn();
	assert_true(wire.under_way);
	assert_int_equal(labels_set_engine(labels, &other), 0);
	assert_false(wire.under_way);
	assert_int_equal(labels_match(labels, "c1", &app, 1), 1); /* a container's do not change */
	turn();
	assert_string_equal(wire.url, "http://docker/_ping");
	assert_string_equal(wire.socket, "/y/podman.sock");
	answer(200, "OK");
	assert_string_equal(wire.url, "http://docker/v1.41/containers/c2/json");
	assert_int_equal(labels_set_engine(labels, NULL), 0);
	assert_false(wire.under_way);
	assert_int_equal(labels_match(labels, "c1", &app, 1), -EAGAIN);
	turn();
	assert_false(wire.under_way);
	assert_int_equal(labels_set_engine(labels, &other), 0);
	assert_int_equal(labels_match(labels, "c1", &app, 1), 1);
}

static void test_an_engine_that_is_none(void **state)
{
	wire.version = "1.41/../x";
	assert_int_equal(labels_match(labels, "c1", &app, 1), -EAGAIN);
	turn();
	answer(200, "OK");
	assert_false(wire.under_way);
}

/* As the registry of that name does it. */
static void test_a_client_certificate_alone_means_tls(void **state)
{
	static struct registry_config engine = {.address = (char *)"tcp://10.0.0.1:2376",
						.tls = {.cert_file = "/c", .key_file = "/k"}};
	const struct labels_host host = {NULL, on_changed};
	struct labels *other;

	wire.no_socket = true;
	assert_int_equal(labels_new(&loop, NULL, &engine, &host, &other), 0);
	assert_int_equal(labels_match(other, "c1", &app, 1), -EAGAIN);
	turn();
	assert_string_equal(wire.url, "https://10.0.0.1:2376/_ping");
	labels_close(other);
}

static void test_more_containers_than_are_kept(void **state)
{
	char id[16];

	for (int i = 0; i < 3000; i++) {
		(void)snprintf(id, sizeof(id), "c%d", i);
		assert_int_equal(labels_match(labels, id, &app, 1), -EAGAIN);
	}
}

static void test_decode(void **state)
{
	static const struct {
		const char *text;
		int r;
		size_t n;
	} cases[] = {
		{"", -EBADMSG, 0},
		{"[]", -EBADMSG, 0},
		{"{}", 0, 0},
		{"{\"Config\":{\"Labels\":7}}", -EBADMSG, 0},
		{"{\"Config\":{\"Labels\":{}}}", 0, 0},
		{"{\"Config\":{\"Labels\":{\"a\":\"b\",\"c\":7,\"d\":\"\"}}}", 0, 2},
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct label *list = NULL;
		size_t n = 0;

		assert_int_equal(labels_decode(cases[i].text, strlen(cases[i].text), &list, &n),
				 cases[i].r);
		assert_int_equal(n, cases[i].n);
		free(list);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_a_container_is_asked_for_once, set_up,
						tear_down),
		cmocka_unit_test_setup_teardown(test_what_an_engine_does_not_say_is_not_known,
						set_up, tear_down),
		cmocka_unit_test_setup_teardown(
			test_one_that_the_engine_does_not_know_holds_up_nobody, set_up, tear_down),
		cmocka_unit_test_setup_teardown(
			test_one_that_the_engine_does_not_know_yet_is_asked_for_again, set_up,
			tear_down),
		cmocka_unit_test_setup_teardown(
			test_another_engine_is_asked_for_what_is_not_known_yet, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_an_engine_that_is_none, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_a_client_certificate_alone_means_tls, set_up,
						tear_down),
		cmocka_unit_test_setup_teardown(test_more_containers_than_are_kept, set_up,
						tear_down),
		cmocka_unit_test(test_decode),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
