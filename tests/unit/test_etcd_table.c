/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * registry/etcd_table: keys become services, what a list has not is gone, only what changed comes
 * out, and any history of keys ends as the keys that are left.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "registry/etcd_table.h"

static const char *selected; /* NULL: all */

static bool is_selected(const void *arg, const char *name)
{
	return !selected || !strcmp(selected, name);
}

static struct etcd_table *make(void)
{
	static const struct etcd_settings settings = {.prefix = "s/",
						      .namespace = "default",
						      .tag = "etcd/e",
						      .zone = "home",
						      .is_selected = is_selected};
	struct etcd_table *t;

	assert_int_equal(etcd_table_new(&settings, &t), 0);
	return t;
}

/* "s/pay/a=10.0.0.1:80", or with another value behind "=". */
static void put(struct etcd_table *t, const char *text)
{
	const char *equals = strchr(text, '=');
	char key[128], value[256];
	struct etcd_kv kv = {.key = key, .value = value};

	(void)snprintf(key, sizeof(key), "%.*s", (int)(equals - text), text);
	(void)snprintf(value, sizeof(value), equals[1] == '{' ? "%s" : "{\"Addr\":\"%s\"}",
		       equals + 1);
	kv.key_length = strlen(key);
	kv.value_length = strlen(value);
	assert_int_equal(etcd_table_put(t, &kv), 0);
}

static void take(struct etcd_table *t, const char *key)
{
	struct etcd_kv kv = {.key = (char *)key, .key_length = strlen(key)};

	etcd_table_delete(t, &kv);
}

/* What is next: "pay 2" with its endpoints, "-pay", or "". */
static void assert_next(struct etcd_table *t, const char *expected)
{
	struct etcd_change change;
	char text[128] = "";
	int r = etcd_table_next(t, &change);

	if (r > 0 && change.service)
		(void)snprintf(text, sizeof(text), "%s %zu", change.service->name,
			       change.service->n_endpoints);
	else if (r > 0)
		(void)snprintf(text, sizeof(text), "-%s", change.name);
	if (r > 0)
		service_unref(change.service);
	assert_true(r >= 0);
	assert_string_equal(text, expected);
}

static void test_only_what_changed_comes_out(void **state)
{
	_cleanup_(etcd_table_freep) struct etcd_table *t = make();

	put(t, "s/pay/a=10.0.0.1:80");
	put(t, "s/pay/b/deeper=10.0.0.2:80");
	put(t, "s/cart/a=10.0.0.3:80");
	assert_next(t, "pay 2");
	assert_next(t, "cart 1");
	assert_next(t, "");
	put(t, "s/pay/a=10.0.0.1:80");
	assert_next(t, "");
	put(t, "s/pay/a={\"Addr\":\"10.0.0.1:80\",\"Metadata\":{\"weight\":7}}");
	assert_next(t, "pay 2");
	put(t, "s/pay/c=10.0.0.9:80");
	take(t, "s/pay/c");
	assert_next(t, "");
	take(t, "s/pay/a");
	take(t, "s/pay/nobody");
	assert_next(t, "pay 1");
	take(t, "s/pay/b/deeper");
	assert_next(t, "-pay");
	assert_next(t, "");
	assert_int_equal(etcd_table_count(t), 1);
}

static void test_p83_what_a_list_has_not_is_gone(void **state)
{
	_cleanup_(etcd_table_freep) struct etcd_table *t = make();

	etcd_table_begin(t);
	put(t, "s/pay/a=10.0.0.1:80");
	put(t, "s/pay/b=10.0.0.2:80");
	put(t, "s/gone/a=10.0.0.3:80");
	put(t, "s/gone/b=garbage");
	etcd_table_end(t);
	assert_next(t, "pay 2");
	assert_next(t, "gone 1");
	etcd_table_begin(t); /* and never ended */
	put(t, "s/pay/a=10.0.0.1:80");
	etcd_table_begin(t);
	put(t, "s/pay/b=10.0.0.2:80");
	put(t, "s/new/a=10.0.0.4:80");
	assert_next(t, "new 1");
	assert_next(t, "");
	etcd_table_end(t);
	assert_int_equal(etcd_table_count(t), 2);
	/* the order is the table's own */
	{
		struct etcd_change change;
		size_t gone = 0, upserts = 0;

		while (etcd_table_next(t, &change) > 0) {
			gone += !change.service && !strcmp(change.name, "gone");
			upserts += change.service && change.service->n_endpoints == 1;
			service_unref(change.service);
		}
		assert_int_equal(gone, 1);
		assert_int_equal(upserts, 1);
	}
}

/* Of a service with very many instances half went while nobody watched. */
static void test_a_list_that_lacks_many_takes_them_away_at_once(void **state)
{
	enum { KEYS = 200000 };
	struct etcd_table *t = make();
	clock_t began;

	for (int part = 1; part <= 2; part++) {
		etcd_table_begin(t);
		for (int i = 0; i < KEYS; i += part) {
			char text[64];

			(void)snprintf(text, sizeof(text), "s/pay/%06d=10.%d.%d.%d:80", i, i >> 16,
				       i >> 8 & 255, i & 255);
			put(t, text);
		}
		began = clock();
		etcd_table_end(t);
		assert_int_equal(etcd_table_count(t), KEYS / part);
	}
	assert_true(clock() - began < CLOCKS_PER_SEC);
	etcd_table_free(t);
}

static void test_keys_that_are_no_endpoints_are_counted(void **state)
{
	static const char *const bad[] = {"s/pay/a=garbage",          "s/pay=10.0.0.1:80",
					  "s/pay/=10.0.0.1:80",       "s//a=10.0.0.1:80",
					  "s/\xc3\xa4/a=10.0.0.1:80", "s/-/a=10.0.0.1:80"};
	_cleanup_(etcd_table_freep) struct etcd_table *t = make();
	const char *text;

	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		put(t, bad[i]);
		assert_next(t, "");
		assert_int_equal(etcd_table_count(t), i + 1);
		assert_int_equal(etcd_table_left_out(t, &text), i + 1);
	}
	put(t, "other/pay/a=10.0.0.1:80");
	assert_int_equal(etcd_table_count(t), ARRAY_SIZE(bad));
	put(t, "s/pay/a=10.0.0.1:80"); /* mended */
	assert_next(t, "pay 1");
	assert_int_equal(etcd_table_left_out(t, &text), ARRAY_SIZE(bad) - 1);
	take(t, "s/pay");
	assert_int_equal(etcd_table_left_out(t, &text), ARRAY_SIZE(bad) - 2);
}

static void test_two_names_that_become_one_are_not_mixed(void **state)
{
	_cleanup_(etcd_table_freep) struct etcd_table *t = make();

	put(t, "s/my.shop/a=10.0.0.1:80");
	assert_next(t, "my-shop 1");
	put(t, "s/My_Shop/a=10.0.0.2:80");
	put(t, "s/My_Shop/b=10.0.0.3:80");
	assert_next(t, "");
	take(t, "s/my.shop/a");
	assert_next(t, "my-shop 2");
	put(t, "s/my.shop/a=10.0.0.1:80");
	assert_next(t, "");
}

static void test_selection_and_a_snapshot(void **state)
{
	_cleanup_(etcd_table_freep) struct etcd_table *t = make();
	struct service **services;
	size_t n;

	put(t, "s/pay/a=10.0.0.1:80");
	put(t, "s/cart/a=10.0.0.1:80");
	put(t, "s/bad/a=garbage");
	assert_int_equal(etcd_table_all(t, &services, &n), 0);
	assert_int_equal(n, 2);
	for (size_t i = 0; i < n; i++) {
		assert_string_equal(services[i]->zones[0], "home");
		assert_int_equal(services[i]->ports[0].port, SN_PORT_ANY);
		assert_int_equal(service_target(services[i], 0, 0), 80);
		service_unref(services[i]);
	}
	free(services);
	assert_next(t, ""); /* said */
	selected = "cart";
	put(t, "s/cart/b=10.0.0.2:80");
	put(t, "s/mail/b=10.0.0.2:80");
	assert_next(t, "cart 2");
	assert_next(t, "");
	selected = NULL;
}

/* What comes out is kept; after any puts and deletes it is what the keys say. */
static void test_any_history_ends_as_the_keys_that_are_left(void **state)
{
	_cleanup_(etcd_table_freep) struct etcd_table *t = make();
	bool has[8][16] = {};
	size_t told[8] = {};
	unsigned int seed = 7;

	for (int step = 0; step < 20000; step++) {
		unsigned int s = (seed = seed * 1103515245 + 12345) >> 16 & 7, k;
		char text[64];

		k = (seed = seed * 1103515245 + 12345) >> 16 & 15;
		has[s][k] = !has[s][k];
		(void)snprintf(text, sizeof(text),
			       has[s][k] ? "s/n%u/%u=10.0.%u.%u:80" : "s/n%u/%u", s, k, s, k + 1);
		if (has[s][k])
			put(t, text);
		else
			take(t, text);
		if (step % 7)
			continue;
		for (struct etcd_change c; etcd_table_next(t, &c) > 0;) {
			told[c.name[1] - '0'] = c.service ? c.service->n_endpoints : 0;
			service_unref(c.service);
		}
		for (size_t i = 0; i < 8; i++) {
			size_t n = 0;

			for (size_t j = 0; j < 16; j++)
				n += has[i][j];
			assert_int_equal(told[i], n);
		}
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_only_what_changed_comes_out),
		cmocka_unit_test(test_p83_what_a_list_has_not_is_gone),
		cmocka_unit_test(test_a_list_that_lacks_many_takes_them_away_at_once),
		cmocka_unit_test(test_keys_that_are_no_endpoints_are_counted),
		cmocka_unit_test(test_two_names_that_become_one_are_not_mixed),
		cmocka_unit_test(test_selection_and_a_snapshot),
		cmocka_unit_test(test_any_history_ends_as_the_keys_that_are_left),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
