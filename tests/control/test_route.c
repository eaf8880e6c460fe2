/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The routes table against the document that is served: each route is an operation and each
 * operation a route, with the same query parameters, and a body where one is taken.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "control/route.h"

static const unsigned char document[] = {
#include "openapi.inc"
};

static const char *const methods[] = {"get", "put", "patch", "delete", "post"};

struct pages {
	yyjson_doc *json;
	yyjson_val *root, *paths;
};

static int pages_open(void **state)
{
	static struct pages pages;

	pages.json = yyjson_read((const char *)document, sizeof(document) - 1, 0);
	pages.root = yyjson_doc_get_root(pages.json);
	pages.paths = yyjson_obj_get(pages.root, "paths");
	*state = &pages;
	return pages.paths ? 0 : -1;
}

static int pages_close(void **state)
{
	yyjson_doc_free(((struct pages *)*state)->json);
	return 0;
}

static void lower(char out[16], const char *method)
{
	size_t i = 0;

	for (; method[i] && i < 15; i++)
		out[i] = (char)(method[i] | 0x20);
	out[i] = 0;
}

static yyjson_val *operation_of(const struct pages *pages, const struct route *route)
{
	char method[16];

	lower(method, route->method);
	return yyjson_obj_get(yyjson_obj_get(pages->paths, route->path), method);
}

/* The parameter itself, behind a "$ref": "#/components/parameters/NAME". */
static yyjson_val *parameter_of(const struct pages *pages, yyjson_val *parameter)
{
	const char *ref = yyjson_get_str(yyjson_obj_get(parameter, "$ref"));

	return ref ? yyjson_doc_ptr_get(pages->json, ref + 1) : parameter;
}

static bool query_has(const char *query, const char *name, bool repeats)
{
	size_t length = strlen(name);

	for (const char *at = strstr(query, name); at; at = strstr(at + 1, name)) {
		bool begins = at == query || at[-1] == ' ', star = at[length] == '*';

		if (begins && strchr(" *", at[length]) && star == repeats)
			return true;
	}
	return false;
}

static size_t count_words(const char *text)
{
	size_t n = 0;

	for (const char *p = text; *p; p += strcspn(p, " "), p += strspn(p, " "))
		n++;
	return n;
}

static void test_every_route_is_an_operation_with_the_same_query(void **state)
{
	const struct pages *pages = *state;
	size_t n, i, max;
	const struct route *table = route_table(&n);
	yyjson_val *item;

	for (size_t k = 0; k < n; k++) {
		yyjson_val *operation = operation_of(pages, &table[k]);
		size_t found = 0;

		if (!operation)
			fail_msg("%s %s is not in openapi.yaml", table[k].method, table[k].path);
		yyjson_arr_foreach (yyjson_obj_get(operation, "parameters"), i, max, item) {
			yyjson_val *parameter = parameter_of(pages, item);
			const char *name = yyjson_get_str(yyjson_obj_get(parameter, "name"));
			yyjson_val *type =
				yyjson_obj_get(yyjson_obj_get(parameter, "schema"), "type");

			if (!yyjson_equals_str(yyjson_obj_get(parameter, "in"), "query"))
				continue;
			found++;
			if (!query_has(table[k].query, name, yyjson_equals_str(type, "array")))
				fail_msg("%s %s does not take %s as openapi.yaml says",
					 table[k].method, table[k].path, name);
		}
		if (found != count_words(table[k].query))
			fail_msg("%s %s takes \"%s\"; openapi.yaml has %zu of them",
				 table[k].method, table[k].path, table[k].query, found);
	}
}

static void test_every_operation_is_a_route(void **state)
{
	const struct pages *pages = *state;
	size_t n, i, max, operations = 0;
	const struct route *table = route_table(&n);
	yyjson_val *key, *item;

	yyjson_obj_foreach (pages->paths, i, max, key, item)
		for (size_t m = 0; m < ARRAY_SIZE(methods); m++)
			operations += yyjson_obj_get(item, methods[m]) != NULL;
	/* Each route has one, by the test before; no route is there twice, so none is left over. */
	assert_int_equal(operations, n);
	for (size_t k = 0; k < n; k++)
		for (size_t other = 0; other < k; other++)
			assert_false(!strcmp(table[k].method, table[other].method) &&
				     !strcmp(table[k].path, table[other].path));
}

static void test_a_body_is_declared_where_one_is_taken(void **state)
{
	const struct pages *pages = *state;
	size_t n;
	const struct route *table = route_table(&n);

	for (size_t k = 0; k < n; k++)
		if (route_takes_body(&table[k]) !=
		    (yyjson_obj_get(operation_of(pages, &table[k]), "requestBody") != NULL))
			fail_msg("%s %s: a body is taken, or declared, but not both",
				 table[k].method, table[k].path);
}

static void test_every_write_needs_the_control_socket(void **state)
{
	size_t n;
	const struct route *table = route_table(&n);

	for (size_t k = 0; k < n; k++)
		assert_int_equal((table[k].flags & ROUTE_ADMIN) != 0,
				 strcmp(table[k].method, "GET") != 0);
}

static void test_operation_ids_are_there_and_unique(void **state)
{
	const struct pages *pages = *state;
	size_t n;
	const struct route *table = route_table(&n);

	for (size_t k = 0; k < n; k++) {
		yyjson_val *id = yyjson_obj_get(operation_of(pages, &table[k]), "operationId");

		assert_non_null(yyjson_get_str(id));
		for (size_t other = 0; other < k; other++)
			assert_string_not_equal(
				yyjson_get_str(id),
				yyjson_get_str(yyjson_obj_get(operation_of(pages, &table[other]),
							      "operationId")));
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_every_route_is_an_operation_with_the_same_query),
		cmocka_unit_test(test_every_operation_is_a_route),
		cmocka_unit_test(test_a_body_is_declared_where_one_is_taken),
		cmocka_unit_test(test_every_write_needs_the_control_socket),
		cmocka_unit_test(test_operation_ids_are_there_and_unique),
	};

	return cmocka_run_group_tests(tests, pages_open, pages_close);
}
