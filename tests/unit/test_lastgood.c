/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * agent/lastgood: what a registry said is read back after a restart; what cannot be used is not.
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

#include "agent/lastgood.h"
#include "folder.h"

static char folder[256];
static struct registry_config config = {.name = (char *)"dc1", .type = (char *)"consul"};

static int set_up(void **state)
{
	(void)snprintf(folder, sizeof(folder), "%s", folder_make());
	return 0;
}

static int tear_down(void **state)
{
	folder_remove(folder);
	return 0;
}

/* In place of the merge: one service. */
int merge_visit(const struct merge *m, unsigned int source,
		int (*visit)(void *arg, const struct object *o), void *arg)
{
	struct service_port port = {.name = (char *)"", .port = 80, .proto = SN_PROTO_TCP};
	const struct service draft = {.namespace = (char *)"default",
				      .name = (char *)"pay",
				      .source = (char *)"consul/dc1",
				      .policy = (char *)"default",
				      .ports = &port,
				      .n_ports = 1};
	struct object o = {.kind = OBJECT_SERVICE};
	int r;

	assert_int_equal(service_new(&draft, &o.service), 0);
	r = visit(arg, &o);
	object_done(&o);
	return r;
}

static void write_one(void)
{
	struct registry r = {.config = &config, .tag = "consul/dc1"};

	assert_int_equal(lastgood_write(NULL, 0, &r, folder), 0);
}

static void test_what_was_said_is_read_back(void **state)
{
	struct object *objects = NULL;
	size_t n = 0;

	write_one();
	assert_false(folder_has(folder, "dc1.tmp"));
	assert_int_equal(lastgood_read(folder, &config, &objects, &n), 0);
	assert_int_equal(n, 1);
	assert_string_equal(objects[0].service->name, "pay");
	assert_string_equal(objects[0].service->source, "consul/dc1");
	(void)object_free_list(objects, n);
}

static void test_no_file_is_no_error_of_its_own(void **state)
{
	struct object *objects;
	size_t n;

	assert_int_equal(lastgood_read(folder, &config, &objects, &n), -ENOENT);
}

static void test_one_that_is_removed_does_not_come_back(void **state)
{
	struct object *objects;
	size_t n;

	write_one();
	folder_write(folder, "dc2.json", "{}");
	assert_int_equal(lastgood_remove(folder, "dc1"), 0);
	assert_int_equal(lastgood_read(folder, &config, &objects, &n), -ENOENT);
	assert_true(folder_has(folder, "dc2.json"));
	assert_int_equal(lastgood_remove(folder, "dc1"), 0);
}

static void test_a_file_of_another_registry_is_not_used(void **state)
{
	struct registry_config other = {.name = (char *)"dc1", .type = (char *)"eureka"};
	struct object *objects;
	size_t n;

	write_one();
	folder_listen();
	assert_int_equal(lastgood_read(folder, &other, &objects, &n), -EBADMSG);
	assert_non_null(strstr(folder_heard(), "it is of consul/dc1"));
}

static void test_a_broken_file_is_not_used(void **state)
{
	static const char *const broken[] = {
		"", "{", "[]", "{\"source\":\"consul/dc1\"}",
		"{\"source\":\"consul/dc1\",\"items\":[{\"kind\":\"Service\"}]}"};
	struct object *objects;
	size_t n;

	for (size_t i = 0; i < sizeof(broken) / sizeof(broken[0]); i++) {
		folder_write(folder, "dc1.json", broken[i]);
		folder_listen();
		assert_int_equal(lastgood_read(folder, &config, &objects, &n), -EBADMSG);
		assert_non_null(strstr(folder_heard(), "not"));
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_what_was_said_is_read_back, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_no_file_is_no_error_of_its_own, set_up,
						tear_down),
		cmocka_unit_test_setup_teardown(test_one_that_is_removed_does_not_come_back, set_up,
						tear_down),
		cmocka_unit_test_setup_teardown(test_a_file_of_another_registry_is_not_used, set_up,
						tear_down),
		cmocka_unit_test_setup_teardown(test_a_broken_file_is_not_used, set_up, tear_down),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
