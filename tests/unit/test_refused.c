/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * agent/refused: what sinewd does not take is known by its name, however much that is.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "agent/refused.h"

#define MANY 5000

static size_t learn(struct refused *f, int i)
{
	char text[200];
	yyjson_doc *doc;
	size_t n;

	(void)snprintf(
		text, sizeof(text),
		"{\"errors\":[{\"pointer\":\"\",\"detail\":\"service shop/s%d: reason %d\"}]}", i,
		i);
	doc = yyjson_read(text, strlen(text), 0);
	n = refused_learn(f, yyjson_doc_get_root(doc), "/items/", NULL, 0);
	yyjson_doc_free(doc);
	return n;
}

static bool has(const struct refused *f, int i)
{
	char name[32];
	struct service s = {.namespace = (char *)"shop", .name = name};
	const struct object o = {.kind = OBJECT_SERVICE, .service = &s};

	(void)snprintf(name, sizeof(name), "s%d", i);
	return refused_has(f, &o);
}

static void forget(struct refused *f, int i)
{
	char name[136];

	(void)snprintf(name, sizeof(name), "shop/s%d", i);
	refused_forget(f, OBJECT_SERVICE, name);
}

static int number(const struct refused *f, size_t at)
{
	return (int)strtol(f->items[at].name + strlen("shop/s"), NULL, 10);
}

static void test_many_are_known_each_and_forgotten_each(void **state)
{
	static struct refused f;
	unsigned int seed = 7;

	for (int i = 0; i < MANY; i++)
		assert_int_equal(learn(&f, i), 1);
	assert_int_equal(learn(&f, 3), 0);
	assert_int_equal(f.n, MANY);
	assert_string_equal(f.items[MANY - 1].name, "shop/s4999");
	assert_string_equal(f.items[MANY - 1].reason, "reason 4999");
	for (int i = 0; i < MANY; i += 3)
		forget(&f, i);
	forget(&f, 0); /* it is not there */
	for (int i = 0; i < MANY; i++)
		assert_int_equal(has(&f, i), i % 3 != 0);
	for (int i = 0; i < 3 * MANY; i++) {
		int one = rand_r(&seed) % MANY;

		if (has(&f, one))
			forget(&f, one);
		else
			assert_int_equal(learn(&f, one), 1);
	}
	for (size_t i = 0; i < f.n; i++)
		assert_true(has(&f, number(&f, i)));
	while (f.n)
		forget(&f, number(&f, f.n / 2));
	for (int i = 0; i < MANY; i++)
		assert_false(has(&f, i));
	refused_clear(&f);
	assert_int_equal(learn(&f, 1), 1);
	refused_clear(&f);
}

static bool add_room(struct refused *f, int i)
{
	char name[32];
	struct service s = {.namespace = (char *)"shop", .name = name};

	(void)snprintf(name, sizeof(name), "s%d", i);
	return refused_add_room(f, &(struct object){.kind = OBJECT_SERVICE, .service = &s}, "full");
}

static void test_those_without_room_get_another_chance_and_no_others(void **state)
{
	static struct refused f;

	assert_int_equal(learn(&f, 0), 1);
	for (int i = 1; i < 300; i++)
		assert_int_equal(i % 3 ? add_room(&f, i) : learn(&f, i) == 1, true);
	assert_false(add_room(&f, 0)); /* it is refused for itself */
	assert_int_equal(f.n_room, 200);
	forget(&f, 1);
	refused_forget_room(&f);
	assert_int_equal(f.n_room, 0);
	assert_int_equal(f.n, 100);
	for (int i = 0; i < 300; i++)
		assert_int_equal(has(&f, i), i % 3 == 0);
	assert_int_equal(learn(&f, 1), 1); /* in the place of one that had none */
	assert_int_equal(f.n_room, 0);
	refused_clear(&f);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_many_are_known_each_and_forgotten_each),
		cmocka_unit_test(test_those_without_room_get_another_chance_and_no_others),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
