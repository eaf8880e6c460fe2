/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * model/policy: the defaults as they are promised, one block that owns its texts, a tag and an
 * equality of all that it says.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "model/policy.h"

static const uint64_t second = 1000000000;

/* The table of the manual page, and nothing else set. */
static void test_defaults(void **state)
{
	const struct sn_policy want = {
		.algorithm = SN_ALGORITHM_P2C,
		.affinity_ns = 10800 * second,
		.consecutive = 5,
		.bucket_ns = second,
		.min_volume = 20,
		.failure_percent = 50,
		.slow_percent = 50,
		.base_ns = 30 * second,
		.max_ns = 300 * second,
		.max_ejection_percent = 10,
		.enforcing_percent = 100,
		.panic_percent = 50,
		.probes = 1,
		.budget_percent = 20,
		.budget_per_second = 10,
		.budget_ns = 10 * second,
		.attempts = 2,
		.negative_ns = 10 * second,
		.flags = SN_POLICY_FAIL_REFUSED | SN_POLICY_FAIL_UNREACHABLE,
	};
	struct policy_fallback fallback = {(char *)"a", (char *)"b"};
	struct policy p = {.name = (char *)"p",
			   .prefer = POLICY_PREFER_NODE,
			   .given = 7,
			   .fallback = &fallback,
			   .n_fallback = 1};

	assert_memory_equal(policy_default_rules(), &want, sizeof(want));
	policy_defaults(&p);
	assert_memory_equal(&p.rules, &want, sizeof(want));
	assert_int_equal(p.prefer, POLICY_PREFER_NONE);
	assert_true(p.spill);
	assert_int_equal(p.given, 0);
	assert_int_equal(p.n_fallback, 0);
	assert_string_equal(p.name, "p");
}

static struct policy *made(const struct policy *draft)
{
	struct policy *p = NULL;

	assert_int_equal(policy_new(draft, &p), 0);
	return p;
}

/* The draft may go; the object has all of its own. ASan would see a borrowed piece. */
static void test_object_owns_its_block(void **state)
{
	char *texts[] = {strdup("ns"),  strdup("name"), strdup("src"), strdup("key"),
			 strdup("val"), strdup("fns"),  strdup("f")};
	struct label label = {texts[3], texts[4]};
	struct policy_fallback fallback = {texts[5], texts[6]};
	struct policy draft = {.namespace = texts[0],
			       .name = texts[1],
			       .source = texts[2],
			       .labels = &label,
			       .n_labels = 1,
			       .fallback = &fallback,
			       .n_fallback = 1};
	struct policy *p = made(&draft);

	memset(&label, 0, sizeof(label));
	memset(&fallback, 0, sizeof(fallback));
	for (size_t i = 0; i < ARRAY_SIZE(texts); i++)
		free(texts[i]);
	assert_string_equal(p->namespace, "ns");
	assert_string_equal(p->source, "src");
	assert_string_equal(p->labels[0].value, "val");
	assert_string_equal(p->fallback[0].namespace, "fns");
	assert_string_equal(p->fallback[0].name, "f");
	assert_ptr_equal(policy_ref(p), p);
	assert_null(policy_unref(p));
	assert_string_equal(p->name, "name");
	assert_null(policy_unref(p));
	assert_null(policy_unref(NULL));
	assert_null(policy_ref(NULL));
}

static void expect_seen(const struct policy *old, const struct policy *draft, const char *what)
{
	struct policy *other = made(draft);

	if (old->etag == other->etag || policy_is_equal(old, other))
		fail_msg("another %s is not seen", what);
	/* Also when tags happen to be the same. */
	other->etag = old->etag;
	if (policy_is_equal(old, other))
		fail_msg("another %s hides behind the tag", what);
	policy_unref(other);
}

static void test_etag_and_equality_see_everything(void **state)
{
	struct policy_fallback fallback[] = {{(char *)"n", (char *)"a"},
					     {(char *)"n", (char *)"b"}};
	struct policy_fallback turned[] = {fallback[1], fallback[0]};
	struct policy draft = {
		.namespace = (char *)"n", .name = (char *)"p", .source = (char *)"s"};
	struct policy *first, *same, other;

	policy_defaults(&draft);
	draft.fallback = fallback;
	draft.n_fallback = 2;
	first = made(&draft);
	other = draft;
	other.source = (char *)"another";
	same = made(&other);
	assert_true(policy_is_equal(first, same));
	assert_int_equal(first->etag, same->etag);
	policy_unref(same);
	for (size_t i = 0; i < sizeof(draft.rules) - sizeof(draft.rules.pad); i++) {
		other = draft;
		((unsigned char *)&other.rules)[i] ^= 1;
		expect_seen(first, &other, "rule");
	}
	for (unsigned int key = 0; key < POLICY_KEYS; key++) {
		other = draft;
		other.given ^= 1ull << key;
		expect_seen(first, &other, "written key");
	}
	other = draft;
	other.prefer = POLICY_PREFER_ZONE;
	expect_seen(first, &other, "prefer");
	other = draft;
	other.spill = false;
	expect_seen(first, &other, "spill");
	other = draft;
	other.fallback = turned;
	expect_seen(first, &other, "order of fallback");
	other = draft;
	other.n_fallback = 1;
	expect_seen(first, &other, "number of fallback services");
	policy_unref(first);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_defaults),
		cmocka_unit_test(test_object_owns_its_block),
		cmocka_unit_test(test_etag_and_equality_see_everything),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
