/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * agent/gone: names of what went, each once, until it is there again; and not without end.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "agent/gone.h"

static bool add(struct gone *g, enum object_kind kind, const char *namespace, const char *name)
{
	const struct object_name object = {kind, namespace, name};
	bool full;

	assert_int_equal(gone_add(g, &object, &full), 0);
	return full;
}

static void remove_service(struct gone *g, const char *namespace, const char *name)
{
	struct service s = {.namespace = (char *)namespace, .name = (char *)name};

	gone_remove(g, &(struct object){.kind = OBJECT_SERVICE, .service = &s});
}

static void append(void *arg, const struct object_name *name)
{
	char *text = arg;
	size_t n = strlen(text);

	(void)snprintf(text + n, 200 - n, "%s:%s/%s ", object_kind_noun(name->kind),
		       name->namespace, name->name);
}

static const char *names_of(const struct gone *g)
{
	static char text[200];

	text[0] = '\0';
	gone_visit(g, append, text);
	return text;
}

static void test_each_name_is_known_once_by_kind_and_namespace(void **state)
{
	struct gone g = {};

	add(&g, OBJECT_SERVICE, "shop", "pay");
	add(&g, OBJECT_POLICY, "shop", "pay");
	add(&g, OBJECT_SERVICE, "test", "pay");
	assert_string_equal(names_of(&g), "service:shop/pay policy:shop/pay service:test/pay ");
	add(&g, OBJECT_SERVICE, "shop", "pay"); /* the latest now */
	assert_string_equal(names_of(&g), "policy:shop/pay service:test/pay service:shop/pay ");
	remove_service(&g, "test", "pay");
	remove_service(&g, "test", "pay");
	remove_service(&g, "shop", "pa");
	assert_string_equal(names_of(&g), "policy:shop/pay service:shop/pay ");
	gone_clear(&g);
	assert_int_equal(gone_count(&g), 0);
	assert_string_equal(names_of(&g), "");
	remove_service(&g, "shop", "pay");
}

static void test_where_a_namespace_ends_is_not_guessed(void **state)
{
	struct gone g = {};

	add(&g, OBJECT_SERVICE, "ab", "c");
	add(&g, OBJECT_SERVICE, "a", "bc");
	assert_int_equal(gone_count(&g), 2);
	remove_service(&g, "a", "bc");
	assert_string_equal(names_of(&g), "service:ab/c ");
	gone_clear(&g);
}

static void test_a_name_that_is_too_long_for_sinewd_never_was_there(void **state)
{
	char longest[LIMIT_NAME + 1], longer[LIMIT_NAME + 2];
	struct gone g = {};

	memset(longest, 'n', sizeof(longest));
	memset(longer, 'n', sizeof(longer));
	longest[LIMIT_NAME] = longer[LIMIT_NAME + 1] = '\0';
	add(&g, OBJECT_SERVICE, longest, longest);
	assert_int_equal(gone_count(&g), 1);
	add(&g, OBJECT_SERVICE, longest, longer);
	add(&g, OBJECT_SERVICE, longer, longest);
	remove_service(&g, longer, longest);
	assert_int_equal(gone_count(&g), 1);
	remove_service(&g, longest, longest);
	assert_int_equal(gone_count(&g), 0);
}

static void test_of_too_many_the_oldest_are_forgotten(void **state)
{
	struct gone g = {};
	char name[32];

	for (int i = 0; i < LIMIT_GONE + 3; i++) {
		(void)snprintf(name, sizeof(name), "s%d", i);
		assert_int_equal(add(&g, OBJECT_SERVICE, "shop", name), i >= LIMIT_GONE);
	}
	assert_int_equal(gone_count(&g), LIMIT_GONE);
	remove_service(&g, "shop", "s2");
	assert_int_equal(gone_count(&g), LIMIT_GONE);
	remove_service(&g, "shop", "s3");
	assert_int_equal(gone_count(&g), LIMIT_GONE - 1);
	gone_clear(&g);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_each_name_is_known_once_by_kind_and_namespace),
		cmocka_unit_test(test_where_a_namespace_ends_is_not_guessed),
		cmocka_unit_test(test_a_name_that_is_too_long_for_sinewd_never_was_there),
		cmocka_unit_test(test_of_too_many_the_oldest_are_forgotten),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
