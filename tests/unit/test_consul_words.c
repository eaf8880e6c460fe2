/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * registry/consul_words and consul_book: manifests in keys, and what they and the catalogue come
 * to.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "registry/consul_book.h"
#include "registry/consul_words.h"

#define SERVICE(name)                                                                              \
	"apiVersion: sinew/v1\nkind: Service\nmetadata: {name: " name "}\n"                        \
	"spec: {ports: [{port: 80}], endpoints: [{address: 10.0.0.1}]}\n"
#define POLICY(name)                                                                               \
	"{\"apiVersion\": \"sinew/v1\", \"kind\": \"TrafficPolicy\", "                             \
	"\"metadata\": {\"name\": \"" name "\"}, \"spec\": {}}"

struct row {
	const char *key, *value;
	uint64_t modified;
};

static void apply(struct consul_words *w, const struct row *rows, size_t n)
{
	struct consul_key items[8];
	struct consul_keys keys = {.items = items, .n = n};

	for (size_t i = 0; i < n; i++)
		items[i] = (struct consul_key){(char *)rows[i].key, (char *)rows[i].value,
					       strlen(rows[i].value), rows[i].modified};
	assert_int_equal(consul_words_apply(w, "consul/dc1", &keys), 0);
}

/* Names of all that is said, each with a space behind it. */
static const char *said(const struct consul_words *w, char why[static CONSUL_WHY])
{
	static char text[256];
	struct object *objects;
	size_t n, at = 0;

	assert_int_equal(consul_words_gather(w, &objects, &n, why), 0);
	*text = '\0';
	for (size_t i = 0; i < n; i++)
		at += (size_t)snprintf(text + at, sizeof(text) - at, "%s ",
				       consul_book_title(&objects[i]).name);
	object_free_list(objects, n);
	return text;
}

static void test_keys_are_manifests(void **state)
{
	const struct row rows[] = {{"s/a", SERVICE("pay") "---\n" SERVICE("cart"), 1},
				   {"s/b", POLICY("gentle"), 2}};
	struct consul_words w = {};
	char why[CONSUL_WHY];

	apply(&w, rows, 2);
	assert_string_equal(said(&w, why), "cart pay gentle ");
	assert_string_equal(w.items[0].objects[0].service->source, "consul/dc1");
	assert_string_equal(w.items[1].objects[0].policy->source, "consul/dc1");
	assert_int_equal(w.bad, 0);
	consul_words_done(&w);
}

static void test_a_bad_key_is_told_and_keeps_its_word(void **state)
{
	const struct row good[] = {{"s/a", SERVICE("pay"), 1}, {"s/b", POLICY("gentle"), 2}};
	const struct row bad[] = {{"s/a", "kind: Service\nspec: {portz: 1}\n", 3},
				  {"s/b", POLICY("gentle"), 2}};
	const struct row gone[] = {{"s/b", POLICY("gentle"), 2}};
	struct consul_words w = {};
	char why[CONSUL_WHY];

	apply(&w, good, 2);
	apply(&w, bad, 2);
	assert_string_equal(said(&w, why), "pay gentle ");
	assert_int_equal(w.bad, 1);
	assert_non_null(strstr(w.why, "s/a:"));
	apply(&w, bad, 2); /* told once */
	assert_int_equal(w.bad, 1);
	assert_string_equal(w.why, "");
	apply(&w, gone, 1);
	assert_string_equal(said(&w, why), "gentle ");
	assert_int_equal(w.bad, 0);
	consul_words_done(&w);
}

static void test_the_first_key_of_a_name_counts(void **state)
{
	const struct row rows[] = {{"s/a", SERVICE("pay"), 1},
				   {"s/b", SERVICE("pay") "---\n" SERVICE("cart"), 2}};
	struct consul_words w = {};
	char why[CONSUL_WHY];

	apply(&w, rows, 2);
	assert_string_equal(said(&w, why), "cart pay ");
	assert_non_null(strstr(why, "s/b"));
	consul_words_done(&w);
}

static struct object service(uint16_t port)
{
	struct service_port p = {.name = "", .port = port, .proto = 6};
	struct service s = {.namespace = "default",
			    .name = "pay",
			    .source = "consul/dc1",
			    .policy = "default",
			    .allocated = true,
			    .ports = &p,
			    .n_ports = 1};
	struct object o = {.kind = OBJECT_SERVICE};

	assert_int_equal(service_new(&s, &o.service), 0);
	return o;
}

static void test_a_manifest_goes_before_the_catalogue(void **state)
{
	const struct consul_title pay = {OBJECT_SERVICE, "default", "pay"};
	_cleanup_(consul_book_freep) struct consul_book *b = NULL;
	struct object key = service(80), catalog = service(0), again = service(0);
	struct consul_entry e;

	assert_int_equal(consul_book_new(&b), 0);
	assert_int_equal(consul_book_set(b, CONSUL_BY_CATALOG, &pay, &catalog, &e), 0);
	assert_true(e.changed && e.now->service->ports[0].port == 0);
	assert_int_equal(consul_book_set(b, CONSUL_BY_CATALOG, &pay, &again, &e), 0);
	assert_false(e.changed);
	assert_int_equal(consul_book_set(b, CONSUL_BY_KEY, &pay, &key, &e), 0);
	assert_true(e.changed && e.now->service->ports[0].port == 80);
	again = service(443);
	assert_int_equal(consul_book_set(b, CONSUL_BY_CATALOG, &pay, &again, &e), 0);
	assert_false(e.changed);
	assert_int_equal(consul_book_set(b, CONSUL_BY_KEY, &pay, NULL, &e), 0);
	assert_true(e.changed && e.now->service->ports[0].port == 443);
	assert_int_equal(consul_book_set(b, CONSUL_BY_CATALOG, &pay, NULL, &e), 0);
	assert_true(e.changed && !e.now);
	assert_null(consul_book_find(b, CONSUL_BY_CATALOG, &pay));
	assert_int_equal(consul_book_set(b, CONSUL_BY_CATALOG, &pay, NULL, &e), 0);
	assert_false(e.changed);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_keys_are_manifests),
		cmocka_unit_test(test_a_bad_key_is_told_and_keeps_its_word),
		cmocka_unit_test(test_the_first_key_of_a_name_counts),
		cmocka_unit_test(test_a_manifest_goes_before_the_catalogue),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
