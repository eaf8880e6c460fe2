/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * model/codec_encode: what is written is read back as the same object, and written the same again.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/text.h"
#include "harness/model.h"

static uint64_t random_state;

static unsigned int draw(unsigned int below)
{
	random_state = random_state * 6364136223846793005ull + 1442695040888963407ull;
	return (unsigned int)(random_state >> 33) % below;
}

static char *encode(const struct object *o)
{
	yyjson_mut_doc *doc = yyjson_mut_doc_new(NULL);
	yyjson_mut_val *json = codec_encode_object(doc, o);
	char *text;

	assert_non_null(json);
	yyjson_mut_doc_set_root(doc, json);
	text = yyjson_mut_write(doc, 0, NULL);
	assert_non_null(text);
	yyjson_mut_doc_free(doc);
	return text;
}

/* decode -> encode -> decode -> encode: the same object, the same text. */
static void check_identity(const char *text)
{
	struct object first = model_object(text, "a"), second;
	_cleanup_free_ char *once = encode(&first), *twice = NULL;

	second = model_object(once, "a");
	twice = encode(&second);
	assert_string_equal(once, twice);
	assert_int_equal(first.kind, second.kind);
	if (first.kind == OBJECT_SERVICE) {
		if (!service_is_equal(first.service, second.service))
			fail_msg("%s became %s", text, once);
		assert_int_equal(first.service->etag, second.service->etag);
	} else {
		assert_true(policy_is_equal(first.policy, second.policy));
	}
	object_done(&first);
	object_done(&second);
}

static void test_canonical_text(void **state)
{
	struct object o = model_object(
		"{'kind':'Service','spec':{'endpoints':[{'zone':'z','node':'a.b','address':'::ffff:10.0.0.1'},"
		"{'suspect':true,'instance':'0123456789abcdef','source':'consul/dc1','address':'fd00:0::1','ports':{'a':1,'b':2}}],'ports':[{'port':80,'name':'a'},"
		"{'targetPort':80,'protocol':'UDP','port':53,'name':'b'}],'addresses':['fd00::9',"
		"'10.0.0.9']},'metadata':{'labels':{'z':'1','a':'\\u00e4'},'name':'n'},"
		"'apiVersion':'sinew/v1'}",
		"src");
	_cleanup_free_ char *text = encode(&o);

	assert_string_equal(
		text,
		"{\"apiVersion\":\"sinew/v1\",\"kind\":\"Service\",\"metadata\":{\"name\":\"n\","
		"\"namespace\":\"default\",\"labels\":{\"a\":\"\xc3\xa4\",\"z\":\"1\"}},\"spec\":{"
		"\"addresses\":[\"10.0.0.9\",\"fd00::9\"],\"ports\":[{\"name\":\"a\",\"port\":80,"
		"\"protocol\":\"TCP\"},{\"name\":\"b\",\"port\":53,\"protocol\":\"UDP\"}],"
		"\"endpoints\":[{\"address\":\"10.0.0.1\",\"port\":80,\"weight\":100,\"zone\":\"z\",\"node\":\"a.b\"},"
		"{\"address\":\"fd00::1\",\"ports\":{\"a\":1,\"b\":2},\"weight\":100,"
		"\"source\":\"consul/dc1\",\"instance\":\"0123456789abcdef\",\"suspect\":true}],"
		"\"policy\":\"default\"}}");
	object_done(&o);
}

static void test_policy_identity(void **state)
{
	check_identity("{'apiVersion':'sinew/v1','kind':'TrafficPolicy','metadata':{'name':'p',"
		       "'namespace':'x','labels':{'b':'1','a':'2'}},'spec':{}}");
}

/* --- random services ---------------------------------------------------------------------- */

static void append_ports(struct text_buffer *b, unsigned int n)
{
	text_append(b, "'ports':[");
	for (unsigned int i = 0; i < n; i++) {
		/* One in four is any port; then protocols keep them apart. */
		unsigned int port = draw(4) ? 1 + i + draw(2) * 1000 : 0;

		text_append_format(b, "%s{'port':%u", i ? "," : "",
				   port    ? port
				   : i > 1 ? i + 7
					   : 0);
		if (n > 1 || draw(2))
			text_append_format(b, ",'name':'p%u'", i);
		if (i % 2)
			text_append(b, ",'protocol':'UDP'");
		if (!draw(3))
			text_append_format(b, ",'targetPort':%u", 1 + draw(65535));
		text_append(b, "}");
	}
	text_append(b, "]");
}

static void append_endpoint(struct text_buffer *b, unsigned int i, unsigned int n_ports)
{
	text_append_format(b, "%s{'address':'%s%u'", i ? "," : "",
			   draw(2) ? "10.1.0." : "fd01::", i + 1);
	if (!draw(3))
		text_append_format(b, ",'port':%u", 1 + draw(65535));
	if (!draw(3) && n_ports > 1) {
		text_append(b, ",'ports':{");
		for (unsigned int k = draw(2); k < n_ports; k += 2)
			text_append_format(b, "%s'p%u':%u", b->data[b->n - 1] == '{' ? "" : ",", k,
					   1 + draw(3));
		text_append(b, "}");
	}
	if (draw(2))
		text_append_format(b, ",'weight':%u", draw(65536));
	if (draw(2))
		text_append_format(b, ",'zone':'z%u','node':'n%u'", draw(5), draw(9));
	if (draw(2))
		text_append_format(b, ",'source':'s%u/x','instance':'%016x','suspect':%s", draw(3),
				   1 + draw(9), draw(2) ? "true" : "false");
	text_append(b, "}");
}

static char *random_service(void)
{
	static const char *const addresses[] = {
		"", "'addresses':['10.9.0.1','fd09::1'],",
		"'addresses':['fd09::1','10.9.0.1'],'allocated':true,"};
	unsigned int n_ports = 1 + draw(4), n = draw(6);
	struct text_buffer b = {};

	text_append_format(&b, "{'apiVersion':'sinew/v1','kind':'Service','metadata':{'name':'n%u'",
			   draw(100));
	if (draw(2))
		text_append_format(&b,
				   ",'namespace':'ns',"
				   "'labels':{'b/c':'\\u20ac%u','a.b':'','Z_9':'~/'}",
				   draw(9));
	text_append_format(&b, "},'spec':{%s", addresses[draw(3)]);
	append_ports(&b, n_ports);
	if (draw(5)) {
		text_append(&b, ",'endpoints':[");
		for (unsigned int i = 0; i < n; i++)
			append_endpoint(&b, i, n_ports);
		text_append(&b, "]");
	}
	text_append(&b, draw(2) ? ",'policy':'gentle'}}" : "}}");
	return text_take(&b);
}

static void test_random_services_identity(void **state)
{
	random_state = 11;
	for (unsigned int i = 0; i < 4000; i++) {
		_cleanup_free_ char *text = random_service();

		check_identity(text);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_canonical_text),
		cmocka_unit_test(test_policy_identity),
		cmocka_unit_test(test_random_services_identity),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
