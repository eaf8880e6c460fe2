/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * registry/registry: back-off, classes of errors, status as it is told, secrets, selection.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "base/cleanup.h"
#include "harness/model.h"
#include "registry/registry.h"
#include "unit/folder.h"

struct heard {
	unsigned int statuses, snapshots;
};

static void on_status(void *arg, struct registry *r)
{
	((struct heard *)arg)->statuses++;
}

static void on_snapshot(void *arg, struct registry *r, struct object *objects, size_t n)
{
	((struct heard *)arg)->snapshots++;
	object_free_list(objects, n);
}

/* Between half the step and the step, which doubles from 100 ms to 4 s; contact begins anew. */
static void test_backoff_grows_with_jitter_to_its_end(void **state)
{
	struct heard heard = {};
	const struct registry_host host = {.arg = &heard, .status = on_status};
	struct registry r = {.host = &host};
	uint64_t step = 100, different = 0, last = 0;

	for (int i = 0; i < 20; i++) {
		uint64_t wait = registry_backoff(&r, 0);

		assert_in_range(wait, step / 2, step);
		step = step * 2 < 4000 ? step * 2 : 4000;
		different += wait != last;
		last = wait;
	}
	assert_true(different > 12);
	assert_in_range(registry_backoff(&r, 60000), 60000, 75000);
	assert_in_range(registry_backoff(&r, UINT64_MAX), 300000, 315000);
	registry_say_contact(&r, 0);
	assert_in_range(registry_backoff(&r, 0), 50, 100);
}

static void test_each_failure_has_its_class(void **state)
{
	static const struct {
		int error;
		unsigned int status;
		enum registry_error class;
	} cases[] = {
		{0, 200, REGISTRY_OK},
		{0, 204, REGISTRY_OK},
		{0, 302, REGISTRY_GARBAGE},
		{0, 400, REGISTRY_GARBAGE},
		{0, 401, REGISTRY_UNAUTHORIZED},
		{0, 403, REGISTRY_FORBIDDEN},
		{0, 404, REGISTRY_MISSING},
		{0, 429, REGISTRY_OVERLOADED},
		{0, 500, REGISTRY_FAILED},
		{0, 503, REGISTRY_OVERLOADED},
		{-ECONNREFUSED, 0, REGISTRY_UNREACHABLE},
		{-EHOSTUNREACH, 0, REGISTRY_UNREACHABLE},
		{-ECONNRESET, 200, REGISTRY_UNREACHABLE},
		{-ETIMEDOUT, 200, REGISTRY_TIMED_OUT},
		{-EKEYREJECTED, 0, REGISTRY_TLS},
		{-EMSGSIZE, 200, REGISTRY_GARBAGE},
		{-EPROTO, 0, REGISTRY_GARBAGE},
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		const struct fetch_result result = {.error = cases[i].error,
						    .status = cases[i].status};

		assert_int_equal(registry_error_of(&result), cases[i].class);
	}
	for (int i = 0; i < _REGISTRY_ERROR_MAX; i++)
		assert_non_null(registry_error_name((enum registry_error)i));
}

static void test_status_is_counted_shown_and_cleared(void **state)
{
	struct heard heard = {};
	const struct registry_host host = {
		.arg = &heard, .status = on_status, .snapshot = on_snapshot};
	struct registry r = {.host = &host};

	registry_say_error(&r, REGISTRY_FORBIDDEN, "grant service:read", "403: %s", "a\r\nb");
	assert_int_equal(r.status.state, REGISTRY_CONNECTING);
	assert_int_equal(r.status.errors[REGISTRY_FORBIDDEN], 1);
	assert_string_equal(r.status.text, "403: a  b");
	assert_string_equal(r.status.hint, "grant service:read");
	registry_say_contact(&r, 700);
	assert_int_equal(heard.statuses, 2);
	assert_int_equal(r.status.error, REGISTRY_OK);
	assert_string_equal(r.status.text, "");
	assert_int_equal(r.status.latency_us, 700);
	assert_int_equal(r.status.state, REGISTRY_CONNECTING);
	registry_say_contact(&r, 0);
	assert_int_equal(heard.statuses, 2);
	assert_int_equal(r.status.latency_us, 700);
	registry_say_skipped(&r, "service \"%s\" has no port", "x");
	assert_int_equal(r.status.skipped, 1);
	assert_string_equal(r.status.skipped_text, "service \"x\" has no port");
	/* What is shown is JSON: nothing but UTF-8. */
	registry_say_error(&r, REGISTRY_FAILED, "\xff", "500: f\xfcr Sie");
	assert_string_equal(r.status.text, "500: f?r Sie");
	assert_string_equal(r.status.hint, "?");
	registry_say_skipped(&r, "%.*s", 3, "ab\xc3\xa4");
	assert_string_equal(r.status.skipped_text, "ab");
}

/* A snapshot that says what the last one said is contact, not change. */
static void test_a_partly_good_answer_is_contact_and_error(void **state)
{
	struct heard heard = {};
	const struct registry_host host = {.arg = &heard, .status = on_status};
	struct registry r = {.host = &host};

	(void)registry_backoff(&r, 0);
	registry_say_partly(&r, REGISTRY_GARBAGE, "mend it", "a.yaml:%d", 3);
	assert_true(r.status.contact_ms);
	assert_int_equal(r.wait_ms, 0);
	assert_int_equal(r.status.error, REGISTRY_GARBAGE);
	assert_int_equal(r.status.errors[REGISTRY_GARBAGE], 1);
	assert_string_equal(r.status.text, "a.yaml:3");
	assert_string_equal(r.status.hint, "mend it");
	assert_true(r.status.partly);
	assert_int_equal(heard.statuses, 1);
	registry_say_error(&r, REGISTRY_UNREACHABLE, "", "nobody");
	assert_false(r.status.partly);
}

static void test_an_error_that_stands_is_not_cleared_by_what_else_answers(void **state)
{
	struct heard heard = {};
	const struct registry_host host = {.arg = &heard, .status = on_status};
	struct registry r = {.host = &host};

	registry_say_error(&r, REGISTRY_FORBIDDEN, "", "403 on one of many");
	registry_say_heard(&r);
	assert_true(r.status.contact_ms);
	assert_int_equal(r.status.error, REGISTRY_FORBIDDEN);
	assert_int_equal(heard.statuses, 1);
}

static void test_each_of_several_has_its_own_backoff(void **state)
{
	uint64_t one = 0, other = 0;

	for (int i = 0; i < 10; i++)
		(void)registry_backoff_of(&one, 0);
	assert_in_range(registry_backoff_of(&one, 0), 2000, 4000);
	assert_in_range(registry_backoff_of(&other, 0), 50, 100);
}

static void test_only_another_snapshot_is_a_change(void **state)
{
	static const char *const text =
		"{'apiVersion':'sinew/v1','kind':'Service','metadata':{'name':'pay'},"
		"'spec':{'ports':[{'port':80}]}}";
	struct heard heard = {};
	const struct registry_host host = {
		.arg = &heard, .status = on_status, .snapshot = on_snapshot};
	struct registry r = {.host = &host};

	for (int i = 0; i < 3; i++) {
		struct object *objects = i == 2 ? NULL : calloc(1, sizeof(*objects));

		if (objects)
			*objects = model_object(text, "consul/dc1");
		r.status.changed_ms = i ? 1 : 0;
		registry_say_snapshot(&r, objects, i == 2 ? 0 : 1);
		assert_true((r.status.changed_ms > 1) == (i != 1));
		assert_int_equal(r.status.state, REGISTRY_SYNCED);
	}
	assert_int_equal(heard.snapshots, 3);
	assert_int_equal(heard.statuses, 1);
}

static int read_written(const char *path, const char *text, size_t n, char **ret)
{
	FILE *f = fopen(path, "we");

	assert_non_null(f);
	assert_int_equal(fwrite(text, 1, n, f), n);
	assert_int_equal(fclose(f), 0);
	return registry_read_secret(path, ret);
}

static void test_secrets_are_read_whole_or_not_at_all(void **state)
{
	const char *folder = folder_make();
	char *secret = NULL, path[256], *big = calloc(1, 70000);

	(void)snprintf(path, sizeof(path), "%s/token", folder);
	assert_int_equal(registry_read_secret(path, &secret), -ENOENT);
	assert_int_equal(registry_read_secret(folder, &secret), -EINVAL);
	assert_int_equal(read_written(path, "s3cret\r\n", 8, &secret), 0);
	assert_string_equal(secret, "s3cret");
	secret = registry_forget(secret);
	assert_null(secret);
	assert_int_equal(read_written(path, "two\nlines\n", 10, &secret), -EINVAL);
	assert_int_equal(read_written(path, "a\0b", 3, &secret), -EINVAL);
	memset(big, 'x', 70000);
	assert_int_equal(read_written(path, big, 65537, &secret), -E2BIG);
	assert_int_equal(read_written(path, big, 65536, &secret), 0);
	assert_int_equal(strlen(secret), 65536);
	secret = registry_forget(secret);
	assert_int_equal(remove(path), 0);
	/* A pipe without a writer would be waited for. */
	assert_int_equal(mkfifo(path, 0600), 0);
	assert_int_equal(registry_read_secret(path, &secret), -EINVAL);
	free(big);
	folder_remove(folder);
}

static void test_a_secret_becomes_a_header(void **state)
{
	char *header = registry_authorization(NULL, "s3cret");

	assert_string_equal(header, "Authorization: Bearer s3cret");
	registry_forget(header);
	/* RFC 7617, section 2 */
	header = registry_authorization("Aladdin", "open sesame");
	assert_string_equal(header, "Authorization: Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==");
	registry_forget(header);
	header = registry_join("X-Consul-Token", ": ", "");
	assert_string_equal(header, "X-Consul-Token: ");
	registry_forget(header);
}

static void test_names_are_selected_by_pattern(void **state)
{
	char *select[] = {(char *)"pay*", (char *)"*-v?", (char *)"exact"};
	struct registry_config config = {.select = select, .n_select = 3};
	const struct registry r = {.config = &config};

	assert_true(registry_is_selected(&r, "pay"));
	assert_true(registry_is_selected(&r, "payments"));
	assert_true(registry_is_selected(&r, "a-v-v2"));
	assert_true(registry_is_selected(&r, "exact"));
	assert_false(registry_is_selected(&r, "exactly"));
	assert_false(registry_is_selected(&r, "a-v22"));
	assert_false(registry_is_selected(&r, ""));
	config.n_select = 0;
	assert_true(registry_is_selected(&r, "anything"));
}

static void test_an_unknown_type_is_refused_by_name(void **state)
{
	struct registry_config config = {.name = (char *)"dc1", .type = (char *)"zookeeper"};
	const struct registry_host host = {};
	struct registry *r;
	char text[200];

	assert_int_equal(registry_open(&config, &host, NULL, &r, text), -EINVAL);
	assert_non_null(strstr(text, "zookeeper"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_backoff_grows_with_jitter_to_its_end),
		cmocka_unit_test(test_each_failure_has_its_class),
		cmocka_unit_test(test_status_is_counted_shown_and_cleared),
		cmocka_unit_test(test_a_partly_good_answer_is_contact_and_error),
		cmocka_unit_test(test_an_error_that_stands_is_not_cleared_by_what_else_answers),
		cmocka_unit_test(test_each_of_several_has_its_own_backoff),
		cmocka_unit_test(test_only_another_snapshot_is_a_change),
		cmocka_unit_test(test_secrets_are_read_whole_or_not_at_all),
		cmocka_unit_test(test_a_secret_becomes_a_header),
		cmocka_unit_test(test_names_are_selected_by_pattern),
		cmocka_unit_test(test_an_unknown_type_is_refused_by_name),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
