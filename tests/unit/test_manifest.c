/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * manifest.c: what a manifest means, where each error stands, and that every bound bites with a
 * sentence. At the end, a thousand mutated ones: a precise error or a valid result, nothing
 * between.
 */
#include "manifest/manifest.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/cleanup.h"
#include "base/text.h"
#include "model/limits.h"

#define HEAD "apiVersion: sinew/v1\nkind: Service\nmetadata: {name: a}\n"
#define GOOD HEAD "spec: {ports: [{port: 80}]}\n"

static struct manifest parse(const char *text)
{
	struct manifest m;

	assert_int_equal(manifest_parse("t.yaml", text, strlen(text), &m), 0);
	return m;
}

static bool has_error(const struct manifest *m, size_t line, size_t column, const char *message)
{
	for (size_t i = 0; i < m->n_errors; i++)
		if (m->errors[i].line == line && m->errors[i].column == column &&
		    !strncmp(m->errors[i].message, message, strlen(message)))
			return true;
	for (size_t i = 0; i < m->n_errors; i++)
		print_message("# found: %zu:%zu: %s\n", m->errors[i].line, m->errors[i].column,
			      m->errors[i].message);
	return false;
}

/* An error is at that place and begins with that text. */
static void assert_refused(const char *text, size_t line, size_t column, const char *message)
{
	struct manifest m = parse(text);

	if (!has_error(&m, line, column, message))
		fail_msg("not told: %zu:%zu: %s", line, column, message);
	manifest_done(&m);
}

static void assert_taken(const char *text, size_t n)
{
	struct manifest m = parse(text);

	if (m.n_errors)
		assert_string_equal(m.errors[0].message, "no error");
	assert_int_equal(m.n, n);
	manifest_done(&m);
}

/* --- what is taken ------------------------------------------------------------------------ */

static void test_a_service_is_what_was_written(void **state)
{
	struct manifest m = parse(HEAD "spec:\n  address: 10.96.0.10\n  ports:\n"
				       "    - {name: http, port: 80, targetPort: 8080}\n"
				       "    - {name: dns, port: 53, protocol: UDP}\n"
				       "  endpoints:\n"
				       "    - {address: 10.0.0.5, weight: 7, zone: z}\n"
				       "    - {address: 10.0.0.6, ports: {dns: 5353}}\n");
	const struct service *s = m.objects[0].service;

	assert_int_equal(m.n_errors, 0);
	assert_int_equal(m.n, 1);
	assert_int_equal(m.lines[0], 3);
	assert_int_equal(m.objects[0].kind, OBJECT_SERVICE);
	assert_string_equal(s->namespace, "default");
	assert_string_equal(s->policy, "default");
	assert_false(s->allocated);
	assert_int_equal(s->n_ports, 2);
	assert_int_equal(s->ports[1].proto, SN_PROTO_UDP);
	assert_int_equal(s->endpoints[0].weight, 7);
	assert_int_equal(s->endpoints[1].weight, 100);
	assert_int_equal(service_target(s, 0, 0), 8080);
	assert_int_equal(service_target(s, 0, 1), 53);
	assert_int_equal(service_target(s, 1, 1), 5353);
	manifest_done(&m);
}

static void test_documents_lists_and_json(void **state)
{
	assert_taken(GOOD "---\n---\n# nothing\n---\napiVersion: sinew/v1\nkind: TrafficPolicy\n"
			  "metadata: {name: a}\nspec: {}\n",
		     2);
	assert_taken("\xef\xbb\xbf" GOOD, 1);
	assert_taken("{\"apiVersion\": \"sinew/v1\", \"kind\": \"TrafficPolicy\",\n"
		     " \"metadata\": {\"name\": \"p\"}, \"spec\": {}}",
		     1);
	assert_taken("apiVersion: sinew/v1\nkind: ServiceList\nitems:\n- apiVersion: sinew/v1\n"
		     "  kind: Service\n  metadata: {name: a}\n  spec: {ports: [{port: 1}]}\n"
		     "- apiVersion: sinew/v1\n  kind: Service\n  metadata: {name: b}\n"
		     "  spec: {ports: [{port: 1}]}\n",
		     2);
	assert_taken("apiVersion: sinew/v1\nkind: List\nitems: []\n---\n" GOOD, 1);
}

static void test_aliases_within_a_document(void **state)
{
	struct manifest m = parse(HEAD "spec:\n  ports: &p [{name: x, port: 1}]\n"
				       "  endpoints:\n  - &e {address: 10.0.0.1}\n---\n"
				       "apiVersion: sinew/v1\nkind: Service\n"
				       "metadata: {name: &n b, labels: {app: *n}}\n"
				       "spec: {ports: [{port: 1}]}\n");

	assert_int_equal(m.n_errors, 0);
	assert_string_equal(m.objects[1].service->labels[0].value, "b");
	manifest_done(&m);
	assert_refused(HEAD "spec: &s {ports: [{port: 1}]}\n---\na: *s\n", 6, 4,
		       "the alias names no anchor of this document");
}

/* --- where errors stand ------------------------------------------------------------------- */

static void test_the_transcript_of_a_bad_manifest(void **state)
{
	struct manifest m = parse(HEAD "spec:\n  ports: [{port: 80}]\n"
				       "  enpoints: [{address: 10.0.0.1}]\n"
				       "---\n" HEAD "spec:\n  ports:\n    - port: 70000\n");

	assert_int_equal(m.n_errors, 2);
	assert_string_equal(m.errors[0].message,
			    "unknown key \"enpoints\" in Service.spec; did you "
			    "mean \"endpoints\"?");
	assert_int_equal(m.errors[0].line, 6);
	assert_int_equal(m.errors[0].column, 3);
	assert_string_equal(m.errors[1].message, "port 70000 is out of range (0 to 65535)");
	assert_int_equal(m.errors[1].line, 13);
	assert_int_equal(m.errors[1].column, 13);
	manifest_done(&m);
}

static void test_errors_of_meaning(void **state)
{
	static const struct {
		const char *text;
		size_t line, column;
		const char *message;
	} cases[] = {
		{"kind: Service\n", 1, 1, "apiVersion is missing"},
		{"apiVersion: sinew/v2\nkind: Service\nmetadata: {name: a}\nspec: {ports: [{port: 1}]}",
		 1, 13, "apiVersion \"sinew/v2\" is not known; \"sinew/v1\" is expected"},
		{"apiVersion: sinew/v1\nkind: Servce\nmetadata: {name: a}\n", 2, 7,
		 "kind \"Servce\" is not known; did you mean \"Service\"?"},
		{"apiVersion: sinew/v1\nkind: Service\nspec: {ports: [{port: 1}]}\n", 1, 1,
		 "metadata is missing"},
		{"apiVersion: sinew/v1\nkind: Service\nmetadata: {}\nspec: {ports: [{port: 1}]}\n",
		 3, 11, "metadata.name is missing"},
		{"apiVersion: sinew/v1\nkind: Service\nmetadata: {name: A}\nspec: {ports: [{port: 1}]}\n",
		 3, 18, "name \"A\" must be lower-case letters"},
		{"apiVersion: sinew/v1\nkind: Service\nmetadata: {name: 5}\nspec: {ports: [{port: 1}]}\n",
		 3, 18, "name must be a text, not a number"},
		{HEAD, 1, 1, "spec is missing"},
		{HEAD "spec: []\n", 4, 7, "Service.spec must be a mapping, not a list"},
		{HEAD "spec: {ports: [{port: '80'}]}\n", 4, 23,
		 "port must be a number, not the text \"80\""},
		{HEAD "spec: {ports: [{port: 1.5}]}\n", 4, 23, "port 1.5 is not a whole number"},
		{HEAD "spec: {ports: []}\n", 4, 15, "0 ports; 1 to 32 are allowed"},
		{HEAD "spec: {ports: [{port: 1, protocol: SCTP}]}\n", 4, 36,
		 "protocol \"SCTP\" is not known; TCP or UDP is expected"},
		{HEAD "spec: {address: 300.1.1.1, ports: [{port: 1}]}\n", 4, 17,
		 "\"300.1.1.1\" is no IPv4 or IPv6 address"},
		{HEAD
		 "spec: {ports: [{port: 1}], endpoints: [{address: 1.2.3.4},\n  {address: 1.2.3.4}]}\n",
		 5, 3, "endpoint 1.2.3.4:1 is in the list already (number 1)"},
		{HEAD
		 "spec: {ports: [{port: 1}], endpoints: [{address: 1.2.3.4, weight: 65536}]}\n",
		 4, 67, "weight 65536 is out of range (0 to 65535)"},
		{HEAD "spec: {ports: [{port: 1}], ports: [{port: 2}]}\n", 4, 28,
		 "key \"ports\" is given twice"},
		{GOOD "---\n" GOOD, 8, 18, "service default/a is declared already, at line 3"},
		{"5\n", 1, 1, "the object must be a mapping, not a number"},
		{"# nothing\n", 1, 1, "there is no object in it"},
		{"", 1, 1, "there is no object in it"},
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++)
		assert_refused(cases[i].text, cases[i].line, cases[i].column, cases[i].message);
}

static void test_errors_of_yaml(void **state)
{
	assert_refused("a: \xff\n", 1, 4, "byte 0xff is no UTF-8");
	assert_refused("a:\n  \x01\n", 2, 3, "control character 0x01");
	assert_refused("é: \x7f\n", 1, 4, "control character 0x7f");
	assert_refused("a: *b\n", 1, 4, "the alias names no anchor of this document");
	assert_refused("a: &a {b: *a}\n", 1, 11, "the alias stands inside what it names");
	assert_refused("? [a]\n: b\n", 1, 3, "a key must be a text, not a mapping or list");
	assert_refused("&a b: 1\n", 1, 4, "a key cannot have an anchor");
	assert_refused("a: &x {b: 1}\nc: {<<: *x}\n", 2, 5,
		       "merge keys (<<) are not supported; write the keys out");
	assert_refused("a: \"\\ud800\"\n", 1, 5, "double-quoted scalar has invalid UTF8 escape");
	assert_refused("a: !thing b\n", 1, 11, "the tag !thing is not supported here");
}

/* Whatever libfyaml says about it, the place is in the text and the error is there. */
static void test_errors_of_syntax_have_a_place(void **state)
{
	static const char *const texts[] = {
		"a: [",
		"a: {b",
		"a: 'x",
		"a: \"x",
		"a: b: c\n",
		"a:\n  b: 1\n c: 2\n",
		"\ta: 1\n",
		"- a\nb: 1\n",
		"%YAML 3.0\n---\na\n",
		"a: |\n b\n  c\n d\n-",
		"]",
		"}",
		"a: ]\n",
		"@a\n",
		"`a`\n",
		"a: &\n",
		"a: *\n",
		"--- a\n--- b: c: d\n",
		"a: !<\n",
		"{a: b}}\n",
	};

	for (size_t i = 0; i < ARRAY_SIZE(texts); i++) {
		struct manifest m = parse(texts[i]);
		size_t lines = 1;

		for (const char *p = texts[i]; *p; p++)
			lines += *p == '\n';
		assert_true(m.n_errors >= 1);
		assert_in_range(m.errors[0].line, 1, lines);
		assert_in_range(m.errors[0].column, 1, strlen(texts[i]) + 1);
		assert_true(*m.errors[0].message != '\0');
		manifest_done(&m);
	}
}

static void test_errors_are_sorted_and_bounded(void **state)
{
	struct text_buffer b = {};
	struct manifest m;

	text_append(&b, HEAD "spec:\n  ports: [{port: 1}]\n  endpoints:\n");
	for (int i = 0; i < 100; i++)
		text_append(&b, "  - {adress: 1.2.3.4}\n");
	m = parse(b.data);
	assert_int_equal(m.n_errors, LIMIT_PROBLEMS);
	assert_int_equal(m.n_errors + m.more_errors, 200); /* unknown key, address is missing */
	for (size_t i = 1; i < m.n_errors; i++)
		assert_true(m.errors[i].line > m.errors[i - 1].line ||
			    (m.errors[i].line == m.errors[i - 1].line &&
			     m.errors[i].column >= m.errors[i - 1].column));
	manifest_done(&m);
	text_done(&b);
}

/* --- bounds ------------------------------------------------------------------------------- */

static void test_a_billion_laughs_are_refused(void **state)
{
	struct text_buffer b = {};

	text_append(&b, "a: &a [x, x, x, x, x, x, x, x, x, x]\n");
	for (char c = 'b'; c < 'k'; c++) {
		text_append_format(&b, "%c: &%c [", c, c);
		for (int i = 0; i < 10; i++)
			text_append_format(&b, "%s*%c", i ? ", " : "", c - 1);
		text_append(&b, "]\n");
	}
	assert_refused(b.data, 6, 36, "more than 1000000 values, aliases written out");
	text_done(&b);
}

/* The values of all documents count together. */
static void test_values_over_many_documents_are_bounded(void **state)
{
	struct text_buffer b = {};
	struct manifest m;

	for (int d = 0; d < 12; d++) {
		text_append(&b, "---\na: &a [x, x, x, x, x, x, x, x, x, x]\n");
		for (char c = 'b'; c < 'f'; c++) {
			text_append_format(&b, "%c: &%c [", c, c);
			for (int i = 0; i < 10; i++)
				text_append_format(&b, "%s*%c", i ? ", " : "", c - 1);
			text_append(&b, "]\n");
		}
	}
	m = parse(b.data);
	assert_true(m.n_errors + m.more_errors > 12);
	manifest_done(&m);
	text_done(&b);
}

static void test_depth_is_bounded(void **state)
{
	char text[256] = "";

	memset(text, '[', LIMIT_DEPTH + 1);
	assert_refused(text, 1, LIMIT_DEPTH + 1, "the document is nested too deep");
	assert_refused("a: &a [[[[[[[[[[[[[[[[[[[[x]]]]]]]]]]]]]]]]]]]]\n"
		       "b: [[[[[[[[[[[[[[[[[[[[*a]]]]]]]]]]]]]]]]]]]]\n",
		       2, 24, "the alias makes the document nest too deep");
}

static void test_keys_anchors_and_documents_are_bounded(void **state)
{
	struct text_buffer keys = {}, anchors = {}, documents = {};

	for (int i = 0; i <= LIMIT_KEYS; i++)
		text_append_format(&keys, "k%d: 1\n", i);
	assert_refused(keys.data, LIMIT_KEYS + 1, 1, "the mapping has too many keys");
	for (int i = 0; i <= LIMIT_ANCHORS; i++)
		text_append_format(&anchors, "- &a%d x\n", i);
	assert_refused(anchors.data, LIMIT_ANCHORS + 1, 9, "the document has too many anchors");
	for (int i = 0; i <= LIMIT_DOCUMENTS; i++)
		text_append(&documents, "---\n~\n");
	assert_refused(documents.data, 2 * LIMIT_DOCUMENTS + 2, 1, "more than 20000 documents");
	text_done(&keys);
	text_done(&anchors);
	text_done(&documents);
}

static void test_size_is_bounded(void **state)
{
	_cleanup_free_ char *text = malloc(LIMIT_MANIFEST + 1);
	struct manifest m;

	assert_non_null(text);
	memset(text, '\n', LIMIT_MANIFEST + 1);
	assert_int_equal(manifest_parse("t", text, LIMIT_MANIFEST + 1, &m), -E2BIG);
	memcpy(text, GOOD, sizeof(GOOD) - 1);
	assert_int_equal(manifest_parse("t", text, LIMIT_MANIFEST, &m), 0);
	assert_int_equal(m.n_errors, 0);
	assert_int_equal(m.n, 1);
	manifest_done(&m);
}

static void test_errors_of_a_policy_stand_where_they_were_made(void **state)
{
	static const struct {
		size_t line, column;
		const char *message;
	} want[] = {
		{6, 7, "by \"ip\" is not known"},
		{8, 5, "unknown key \"consecutive5xxErrors\""},
		{9, 13, "window must be a duration with its unit"},
		{10, 19, "failureRatio 150% is out of range (0% to 100%)"},
		{12, 22, "maxEjectionTime 1s is less than baseEjectionTime 1m"},
		{13, 31, "backend -1 is out of range"},
		{14, 24, "attempts 9 is out of range (0 to 3)"},
		{14, 41, "on \"refuse\" is not known; did you mean \"refused\"?"},
		{17, 5, "fallback default/spare is in the list already"},
	};
	struct manifest m =
		parse("apiVersion: sinew/v1\nkind: TrafficPolicy\nmetadata: {name: p}\n"
		      "spec:\n  loadBalancer: {affinity: {by:\n      ip}}\n"
		      "  outlierDetection:\n    consecutive5xxErrors: 5\n    window: 10\n"
		      "    failureRatio: 150%\n    baseEjectionTime: 60s\n"
		      "    maxEjectionTime: 1s\n  connectionLimits: {backend: -1}\n"
		      "  failover: {attempts: 9, on: [timeout, refuse]}\n  fallback:\n"
		      "  - spare\n  - default/spare\n");

	for (size_t i = 0; i < ARRAY_SIZE(want); i++)
		if (!has_error(&m, want[i].line, want[i].column, want[i].message))
			fail_msg("not told: %s", want[i].message);
	assert_int_equal(m.n_errors, ARRAY_SIZE(want));
	assert_int_equal(m.n, 0);
	manifest_done(&m);
	assert_taken(
		"apiVersion: sinew/v1\nkind: TrafficPolicy\nmetadata: {name: p}\nspec:\n"
		"  loadBalancer: {affinity: {by: off}}\n  panic: {threshold: 50%, mode: none}\n"
		"  failover: {on: []}\n  connect: {timeout: 0}\n  outlierDetection:\n"
		"    {failureRatio: '30%', maxEjectionPercent: 30, shadow: true}\n",
		1);
}

/* --- a thousand mutations ----------------------------------------------------------------- */

static const char whole[] =
	"# shop\n" HEAD "spec:\n  address: 10.96.0.10\n"
	"  ports: [{name: http, port: 80}, {name: dns, port: 53, protocol: UDP}]\n"
	"  endpoints:\n    - {address: 10.0.0.5, port: 8080, weight: 200, zone: a}\n"
	"    - &e {address: 10.0.0.6, ports: {http: 8081}}\n  policy: \"gentle\"\n"
	"---\napiVersion: sinew/v1\nkind: TrafficPolicy\n"
	"metadata: {name: gentle, labels: {team: 'billing'}}\n"
	"spec: {failover: {on: [refused]}, panic: {threshold: 40%}}\n";

static uint64_t next_random(uint64_t *seed)
{
	*seed ^= *seed << 13;
	*seed ^= *seed >> 7;
	*seed ^= *seed << 17;
	return *seed;
}

/* Changes, removes, doubles or cuts off a byte or a piece, once or twice. */
static size_t mutate(char *text, size_t length, size_t room, uint64_t *seed)
{
	static const char bytes[] = "{}[]:,-&*!|>'\"%@`#?\n\t\r \\~<0a\x01\x7f\x80\xc3\xff";

	for (uint64_t n = next_random(seed) % 2 + 1; n && length > 32; n--) {
		size_t at = next_random(seed) % length, piece = next_random(seed) % 12 + 1;

		piece = piece < length - at ? piece : length - at;
		switch (next_random(seed) % 5) {
		case 0:
			text[at] = (char)next_random(seed);
			break;
		case 1:
			text[at] = bytes[next_random(seed) % (sizeof(bytes) - 1)];
			break;
		case 2:
			memmove(text + at, text + at + piece, length - at - piece);
			length -= piece;
			break;
		case 3:
			if (length + piece > room)
				break;
			memmove(text + at + piece, text + at, length - at);
			length += piece;
			break;
		default:
			length = at + 1;
		}
	}
	return length;
}

static void check_mutant(const char *text, size_t length, size_t *valid)
{
	/* a block of its exact size, so that one byte too far is seen */
	_cleanup_free_ char *copy = malloc(length ? length : 1);
	struct manifest m;
	size_t lines = 1;

	assert_non_null(copy);
	memcpy(copy, text, length);
	for (size_t i = 0; i < length; i++)
		lines += text[i] == '\n';
	assert_int_equal(manifest_parse("mutant", copy, length, &m), 0);
	for (size_t i = 0; i < m.n_errors; i++) {
		assert_in_range(m.errors[i].line, 1, lines);
		assert_in_range(m.errors[i].column, 1, length + 1);
		assert_true(*m.errors[i].message != '\0');
	}
	if (!m.n_errors) {
		assert_in_range(m.n, 1, 2);
		++*valid;
	}
	manifest_done(&m);
}

static void test_a_thousand_mutated_manifests(void **state)
{
	uint64_t seed = 0x53494e45570001ull;
	char text[2 * sizeof(whole)];
	size_t valid = 0;

	for (int i = 0; i < 1000; i++) {
		size_t length = sizeof(whole) - 1;

		memcpy(text, whole, length);
		length = mutate(text, length, sizeof(text), &seed);
		check_mutant(text, length, &valid);
	}
	/* Both kinds came up, or the mutations show nothing. */
	assert_in_range(valid, 20, 800);
}

/* A file cut at every byte, as when a disk was full. */
static void test_a_manifest_cut_anywhere(void **state)
{
	size_t valid = 0;

	for (size_t length = 0; length < sizeof(whole); length++)
		check_mutant(whole, length, &valid);
	assert_in_range(valid, 1, sizeof(whole) / 2);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_a_service_is_what_was_written),
		cmocka_unit_test(test_documents_lists_and_json),
		cmocka_unit_test(test_aliases_within_a_document),
		cmocka_unit_test(test_the_transcript_of_a_bad_manifest),
		cmocka_unit_test(test_errors_of_a_policy_stand_where_they_were_made),
		cmocka_unit_test(test_errors_of_meaning),
		cmocka_unit_test(test_errors_of_yaml),
		cmocka_unit_test(test_errors_of_syntax_have_a_place),
		cmocka_unit_test(test_errors_are_sorted_and_bounded),
		cmocka_unit_test(test_a_billion_laughs_are_refused),
		cmocka_unit_test(test_values_over_many_documents_are_bounded),
		cmocka_unit_test(test_depth_is_bounded),
		cmocka_unit_test(test_keys_anchors_and_documents_are_bounded),
		cmocka_unit_test(test_size_is_bounded),
		cmocka_unit_test(test_a_thousand_mutated_manifests),
		cmocka_unit_test(test_a_manifest_cut_anywhere),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
