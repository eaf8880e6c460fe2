/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The two text formats of metrics, line by line, with label values that must be escaped.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "control/exposition.h"

static const struct metric_head counter = {"sinew_x", METRIC_COUNTER, "", "Xes."};
static const struct metric_head seconds = {"sinew_y_seconds", METRIC_GAUGE, "seconds", "Ys."};
static const struct metric_head info = {"sinew_build", METRIC_INFO, "", "Build."};

static void expect(struct bytes *out, const char *text)
{
	bytes_append(out, "", 1);
	assert_false(out->failed);
	assert_string_equal(out->data, text);
	bytes_clear(out);
}

static void test_label_values_are_escaped(void **state)
{
	struct bytes out = {};
	const struct exposition e = {&out, false};
	const struct metric_label labels[] = {{"a", "back\\slash"}, {"b", "quo\"te"},
					      {"c", "li\nne"},      {"d", ""},
					      {"e", "\\\"\n"},      {}};

	exposition_count(&e, &counter, labels, 7);
	expect(&out, "sinew_x_total{a=\"back\\\\slash\",b=\"quo\\\"te\",c=\"li\\nne\",d=\"\","
		     "e=\"\\\\\\\"\\n\"} 7\n");
	bytes_done(&out);
}

static void test_help_comes_before_type(void **state)
{
	struct bytes out = {};
	struct exposition e = {&out, false};

	exposition_head(&e, &counter);
	expect(&out, "# HELP sinew_x_total Xes.\n# TYPE sinew_x_total counter\n");
	exposition_head(&e, &info);
	expect(&out, "# HELP sinew_build_info Build.\n# TYPE sinew_build_info gauge\n");
	e.openmetrics = true;
	exposition_head(&e, &counter);
	expect(&out, "# HELP sinew_x Xes.\n# TYPE sinew_x counter\n");
	exposition_head(&e, &seconds);
	expect(&out, "# HELP sinew_y_seconds Ys.\n# TYPE sinew_y_seconds gauge\n"
		     "# UNIT sinew_y_seconds seconds\n");
	exposition_head(&e, &info);
	expect(&out, "# HELP sinew_build Build.\n# TYPE sinew_build info\n");
	exposition_end(&e);
	expect(&out, "# EOF\n");
	bytes_done(&out);
}

static void test_numbers_keep_their_value(void **state)
{
	struct bytes out = {};
	const struct exposition e = {&out, true};

	exposition_count(&e, &counter, NULL, UINT64_MAX);
	expect(&out, "sinew_x_total 18446744073709551615\n");
	exposition_real(&e, &seconds, NULL, 0.1);
	expect(&out, "sinew_y_seconds 0.10000000000000001\n");
	exposition_part(&e, &seconds, "_bucket", (struct metric_label[]){{"le", "+Inf"}, {}}, 3);
	expect(&out, "sinew_y_seconds_bucket{le=\"+Inf\"} 3\n");
	bytes_done(&out);
}

static void test_the_classic_format_has_no_end(void **state)
{
	struct bytes out = {};
	const struct exposition e = {&out, false};

	exposition_end(&e);
	assert_int_equal(out.length, 0);
	bytes_done(&out);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_label_values_are_escaped),
		cmocka_unit_test(test_help_comes_before_type),
		cmocka_unit_test(test_numbers_keep_their_value),
		cmocka_unit_test(test_the_classic_format_has_no_end),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
