/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * model/codec_policy*: every key of a TrafficPolicy comes to where the kernel reads it, what is
 * wrong or contradicts itself is told at its place, and what is written is read back the same.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/text.h"
#include "harness/model.h"
#include "model/limits.h"
#include "model/policy_field.h"

#define HEAD                                                                                       \
	"{'apiVersion':'sinew/v1','kind':'TrafficPolicy','metadata':{'name':'p','namespace':"      \
	"'shop'},'spec':"

static const uint64_t ms = 1000000, second = 1000000000;

static char *whole(const char *spec)
{
	struct text_buffer b = {};

	text_append_format(&b, "%s%s}", HEAD, spec);
	return text_take(&b);
}

static struct policy *good(const char *spec)
{
	_cleanup_free_ char *text = whole(spec);

	return model_object(text, "manifest").policy;
}

/* Every key, none at its default. */
static const char *const every =
	"{'loadBalancer':{'algorithm':'consistentHash','affinity':{'by':'address','timeout':'1h'},"
	"'locality':{'prefer':'node','spill':false},'slowStart':'30s'},'outlierDetection':{"
	"'consecutiveFailures':7,'window':'20s','minVolume':40,'failureRatio':'60%','slowConnect':{"
	"'threshold':'200ms','ratio':'80%'},'baseEjectionTime':'1m','maxEjectionTime':'10m',"
	"'maxEjectionPercent':30,'enforcing':'90%','shadow':true},'panic':{'threshold':'40%',"
	"'mode':'none'},'halfOpen':{'probes':3},'connectionLimits':{'service':1000,'backend':100,"
	"'pending':10},'retryBudget':{'ratio':'10%','minPerSecond':5,'ttl':'20s','mode':'enforce'},"
	"'connect':{'timeout':'3s','attemptTimeout':'50ms'},'failover':{'attempts':3,'on':["
	"'refused','timeout']},'fallback':['spare','ops/maintenance'],'negativeAffinity':'5s',"
	"'onRemove':'terminate'}";

static void test_every_key_comes_to_its_place(void **state)
{
	const struct sn_policy want = {
		.affinity_ns = 3600 * second,
		.slow_start_ns = 30 * second,
		.bucket_ns = 2 * second,
		.slow_ns = 200 * ms,
		.base_ns = 60 * second,
		.max_ns = 600 * second,
		.connect_ns = 3 * second,
		.attempt_ns = 50 * ms,
		.negative_ns = 5 * second,
		.budget_ns = 20 * second,
		.flags = SN_POLICY_SHADOW | SN_POLICY_PANIC_NONE | SN_POLICY_BUDGET_ENFORCE |
			 SN_POLICY_FAIL_REFUSED | SN_POLICY_FAIL_TIMEOUT | SN_POLICY_TERMINATE,
		.consecutive = 7,
		.min_volume = 40,
		.limit_service = 1000,
		.limit_backend = 100,
		.limit_pending = 10,
		.budget_per_second = 5,
		.algorithm = SN_ALGORITHM_HASH,
		.affinity = SN_AFFINITY_ADDRESS,
		.failure_percent = 60,
		.slow_percent = 80,
		.max_ejection_percent = 30,
		.enforcing_percent = 90,
		.panic_percent = 40,
		.budget_percent = 10,
		.probes = 3,
		.attempts = 3,
	};
	_cleanup_(policy_unrefp) struct policy *p = good(every);

	assert_memory_equal(&p->rules, &want, sizeof(want));
	assert_int_equal(p->prefer, POLICY_PREFER_NODE);
	assert_false(p->spill);
	assert_int_equal(p->given, POLICY_EVERY_KEY);
	assert_int_equal(p->n_fallback, 2);
	assert_string_equal(p->fallback[0].namespace, "shop");
	assert_string_equal(p->fallback[0].name, "spare");
	assert_string_equal(p->fallback[1].namespace, "ops");
	assert_string_equal(p->fallback[1].name, "maintenance");
}

static void test_what_is_not_written_is_its_default(void **state)
{
	_cleanup_(policy_unrefp) struct policy *p = good("{}"), *one = NULL;

	assert_memory_equal(&p->rules, policy_default_rules(), sizeof(p->rules));
	assert_int_equal(p->given, 0);
	assert_int_equal(p->prefer, POLICY_PREFER_NONE);
	assert_true(p->spill);
	one = good("{'outlierDetection':{'consecutiveFailures':5}}");
	assert_memory_equal(&one->rules, policy_default_rules(), sizeof(one->rules));
	assert_int_equal(one->given, 1ull << POLICY_CONSECUTIVE);
	assert_false(policy_is_equal(p, one));
	assert_true(p->etag != one->etag);
}

static void test_values_have_more_than_one_spelling(void **state)
{
	_cleanup_(policy_unrefp) struct policy *a =
		good("{'outlierDetection':{'failureRatio':70,'maxEjectionPercent':'70%',"
		     "'baseEjectionTime':'90s'},'connect':{'timeout':0},'negativeAffinity':'0'}");
	_cleanup_(policy_unrefp) struct policy *b = good(
		"{'outlierDetection':{'failureRatio':'70%','maxEjectionPercent':70,"
		"'baseEjectionTime':'1m30s'},'connect':{'timeout':'0s'},'negativeAffinity':'0ms'}");

	assert_true(policy_is_equal(a, b));
	assert_int_equal(a->rules.failure_percent, 70);
	assert_int_equal(a->rules.base_ns, 90 * second);
	assert_int_equal(a->rules.negative_ns, 0);
}

/* --- what is wrong ------------------------------------------------------------------------ */

struct row {
	const char *spec, *pointer, *says;
	bool at_key;
};

static void check_row(const struct row *row)
{
	_cleanup_free_ char *text = whole(row->spec);
	struct problems problems = {};
	struct object o = {};
	char pointer[128];
	int r = model_decode(text, "manifest", &problems, &o);

	(void)snprintf(pointer, sizeof(pointer), "/spec%s", row->pointer);
	if (r != -EINVAL)
		fail_msg("%s came to %d", row->spec, r);
	if (!model_has_problem(&problems, pointer, row->says))
		fail_msg("in %s", row->spec);
	if (problems.n != 1 || problems.items[0].at_key != row->at_key)
		fail_msg("%zu problems in %s", problems.n, row->spec);
	problems_done(&problems);
}

#define CHECK_ROWS(rows)                                                                           \
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++)                                              \
		check_row(&(rows)[i]);

#define OUTLIER(inner) "{'outlierDetection':{" inner "}}"
#define BALANCER(inner) "{'loadBalancer':{" inner "}}"

static void test_types_and_ranges(void **state)
{
	static const struct row rows[] = {
		{"7", "", "TrafficPolicy.spec must be a mapping, not a number", false},
		{"{'panic':null}", "/panic", "TrafficPolicy.spec.panic must be a mapping", false},
		{OUTLIER("'slowConnect':3"), "/outlierDetection/slowConnect",
		 "TrafficPolicy.spec.outlierDetection.slowConnect must be a mapping", false},
		{OUTLIER("'consecutiveFailures':-1"), "/outlierDetection/consecutiveFailures",
		 "consecutiveFailures -1 is out of range (0 to 1000000)", false},
		{OUTLIER("'consecutiveFailures':'5'"), "/outlierDetection/consecutiveFailures",
		 "must be a number, not the text \"5\"", false},
		{OUTLIER("'minVolume':0"), "/outlierDetection/minVolume", "(1 to 1000000)", false},
		{OUTLIER("'window':'9ms'"), "/outlierDetection/window",
		 "window 9ms is out of range (10ms to 1h)", false},
		{OUTLIER("'window':'0s'"), "/outlierDetection/window", "out of range", false},
		{OUTLIER("'window':'2h'"), "/outlierDetection/window", "(10ms to 1h)", false},
		{OUTLIER("'window':10"), "/outlierDetection/window",
		 "window must be a duration with its unit, such as 250ms, 30s or 5m, not the number 10",
		 false},
		{OUTLIER("'window':'10'"), "/outlierDetection/window", "\"10\" is no duration",
		 false},
		{OUTLIER("'window':'10 s'"), "/outlierDetection/window", "is no duration", false},
		{OUTLIER("'window':'-5s'"), "/outlierDetection/window", "is no duration", false},
		{OUTLIER("'window':'5s\\u0000'"), "/outlierDetection/window", "is no duration",
		 false},
		{OUTLIER("'window':'99999999999999999999s'"), "/outlierDetection/window",
		 "out of range", false},
		{OUTLIER("'window':['1s']"), "/outlierDetection/window",
		 "must be a duration such as 250ms, 30s or 5m, not a list", false},
		{OUTLIER("'baseEjectionTime':'0s'"), "/outlierDetection/baseEjectionTime",
		 "(1ms to 1d)", false},
		{OUTLIER("'failureRatio':'101%'"), "/outlierDetection/failureRatio",
		 "failureRatio 101% is out of range (0% to 100%)", false},
		{OUTLIER("'failureRatio':-1"), "/outlierDetection/failureRatio",
		 "failureRatio -1% is out of range", false},
		{OUTLIER("'failureRatio':0.5"), "/outlierDetection/failureRatio",
		 "failureRatio 0.5 is no whole percentage; \"50%\" or 50 means half", false},
		{OUTLIER("'failureRatio':'50'"), "/outlierDetection/failureRatio",
		 "\"50\" is no whole percentage", false},
		{OUTLIER("'failureRatio':'%'"), "/outlierDetection/failureRatio",
		 "is no whole percentage", false},
		{OUTLIER("'failureRatio':'12345678901234567890123%'"),
		 "/outlierDetection/failureRatio", "out of range", false},
		{OUTLIER("'failureRatio':true"), "/outlierDetection/failureRatio",
		 "must be a percentage such as \"50%\" or 50, not true or false", false},
		{OUTLIER("'shadow':'yes'"), "/outlierDetection/shadow",
		 "shadow must be true or false, not a text", false},
		{OUTLIER("'enforcing':110"), "/outlierDetection/enforcing", "110%", false},
		{OUTLIER("'slowConnect':{'threshold':'1s','ratio':0}"),
		 "/outlierDetection/slowConnect/ratio", "ratio 0% is out of range (1% to 100%)",
		 false},
		{"{'panic':{'threshold':'101%'}}", "/panic/threshold",
		 "threshold 101% is out of range (0% to 100%)", false},
		{"{'halfOpen':{'probes':101}}", "/halfOpen/probes", "(0 to 100)", false},
		{"{'connectionLimits':{'service':-1}}", "/connectionLimits/service",
		 "service -1 is out of range", false},
		{"{'connectionLimits':{'backend':-5}}", "/connectionLimits/backend", "-5", false},
		{"{'connectionLimits':{'pending':1.5}}", "/connectionLimits/pending",
		 "is not a whole number", false},
		{"{'retryBudget':{'ratio':'101%'}}", "/retryBudget/ratio", "(0% to 100%)", false},
		{"{'retryBudget':{'ttl':'61s'}}", "/retryBudget/ttl", "(1s to 1m)", false},
		{"{'connect':{'timeout':'9ms'}}", "/connect/timeout",
		 "timeout 9ms is out of range (10ms or more; 0 is off)", false},
		{"{'failover':{'attempts':4}}", "/failover/attempts",
		 "attempts 4 is out of range (0 to 3)", false},
		{"{'negativeAffinity':'2d'}", "/negativeAffinity", "(0 to 1d)", false},
	};

	CHECK_ROWS(rows);
}

static void test_words(void **state)
{
	static const struct row rows[] = {
		{BALANCER("'algorithm':'randon'"), "/loadBalancer/algorithm",
		 "algorithm \"randon\" is not known; did you mean \"random\"?", false},
		{BALANCER("'algorithm':'ROUND_ROBIN'"), "/loadBalancer/algorithm",
		 "did you mean \"roundRobin\"?", false},
		{BALANCER("'algorithm':'LEAST_REQUEST'"), "/loadBalancer/algorithm",
		 "algorithm \"LEAST_REQUEST\" is called p2c here", false},
		{BALANCER("'algorithm':'maglev'"), "/loadBalancer/algorithm",
		 "is called consistentHash here", false},
		{BALANCER("'algorithm':'xyz'"), "/loadBalancer/algorithm",
		 "is not known; random, p2c, roundRobin or consistentHash is expected", false},
		{BALANCER("'algorithm':[]"), "/loadBalancer/algorithm", "not a list", false},
		{BALANCER("'affinity':{'by':'ip'}"), "/loadBalancer/affinity/by",
		 "by \"ip\" is not known; off, workload or address is expected", false},
		{BALANCER("'locality':{'prefer':'zones'}"), "/loadBalancer/locality/prefer",
		 "did you mean \"zone\"?", false},
		{"{'panic':{'mode':'some'}}", "/panic/mode", "mode \"some\" is not known", false},
		{"{'retryBudget':{'mode':'enforced'}}", "/retryBudget/mode",
		 "did you mean \"enforce\"?", false},
		{"{'onRemove':'kill'}", "/onRemove", "drain or terminate is expected", false},
		{"{'failover':{'on':'refused'}}", "/failover/on", "on must be a list, not a text",
		 false},
		{"{'failover':{'on':['refused','refuse']}}", "/failover/on/1",
		 "on \"refuse\" is not known; did you mean \"refused\"?", false},
		{"{'failover':{'on':['refused','refused']}}", "/failover/on/1",
		 "\"refused\" is given twice", false},
		{"{'failover':{'on':[5]}}", "/failover/on/0", "on must be a text", false},
	};

	CHECK_ROWS(rows);
}

static void test_keys(void **state)
{
	static const struct row rows[] = {
		{"{'loadbalancer':{}}", "/loadbalancer", "did you mean \"loadBalancer\"?", true},
		{OUTLIER("'base_ejection_time':'3s'"), "/outlierDetection/base_ejection_time",
		 "unknown key \"base_ejection_time\" in TrafficPolicy.spec.outlierDetection; did you "
		 "mean \"baseEjectionTime\"?",
		 true},
		{OUTLIER("'consecutive5xxErrors':5"), "/outlierDetection/consecutive5xxErrors",
		 "here it is outlierDetection.consecutiveFailures", true},
		{OUTLIER("'interval':'5s'"), "/outlierDetection/interval",
		 "here it is outlierDetection.window", true},
		{"{'connectionPool':{}}", "/connectionPool",
		 "here it is connectionLimits, and connect", true},
		{OUTLIER("'failureRateThreshold':50"), "/outlierDetection/failureRateThreshold",
		 "here it is outlierDetection.failureRatio", true},
		{"{'healthy_panic_threshold':50}", "/healthy_panic_threshold",
		 "here it is panic.threshold", true},
		{OUTLIER("'slowConnect':{'treshold':'1s'}"),
		 "/outlierDetection/slowConnect/treshold",
		 "in TrafficPolicy.spec.outlierDetection.slowConnect; did you mean \"threshold\"?",
		 true},
		{OUTLIER("'shadow':true,'shadow':true"), "/outlierDetection/shadow",
		 "key \"shadow\" is given twice", true},
		{"{'zzz':1}", "/zzz", "unknown key \"zzz\" in TrafficPolicy.spec", true},
	};

	CHECK_ROWS(rows);
}

static void test_contradictions(void **state)
{
	static const struct row rows[] = {
		{OUTLIER("'baseEjectionTime':'60s','maxEjectionTime':'30s'"),
		 "/outlierDetection/maxEjectionTime",
		 "maxEjectionTime 30s is less than baseEjectionTime 1m", false},
		{OUTLIER("'maxEjectionTime':'20s'"), "/outlierDetection/maxEjectionTime",
		 "maxEjectionTime 20s is less than baseEjectionTime 30s, its default", false},
		{OUTLIER("'baseEjectionTime':'10m'"), "/outlierDetection/baseEjectionTime",
		 "baseEjectionTime 10m is more than maxEjectionTime 5m, its default", false},
		{"{'connect':{'timeout':'1s','attemptTimeout':'2s'}}", "/connect/timeout",
		 "timeout 1s is less than attemptTimeout 2s", false},
		{BALANCER("'affinity':{'timeout':'1h'}"), "/loadBalancer/affinity/timeout",
		 "affinity.timeout says nothing without affinity.by, which is off by default",
		 false},
		{BALANCER("'affinity':{'by':'off','timeout':'1h'}"),
		 "/loadBalancer/affinity/timeout", "affinity.by, which is off", false},
		{BALANCER("'locality':{'spill':false}"), "/loadBalancer/locality/spill",
		 "locality.spill says nothing without locality.prefer", false},
		{OUTLIER("'slowConnect':{'ratio':50}"), "/outlierDetection/slowConnect/ratio",
		 "slowConnect.ratio says nothing without slowConnect.threshold", false},
		/* What was refused by itself is not blamed a second time. */
		{OUTLIER("'baseEjectionTime':'10m','maxEjectionTime':5"),
		 "/outlierDetection/maxEjectionTime", "must be a duration", false},
		{BALANCER("'affinity':{'by':'ip','timeout':'1h'}"), "/loadBalancer/affinity/by",
		 "is not known", false},
	};

	CHECK_ROWS(rows);
}

static void test_contradictions_need_both(void **state)
{
	_cleanup_(policy_unrefp) struct policy *p = good(
		"{'connect':{'attemptTimeout':'2s'},'outlierDetection':{'baseEjectionTime':'10m',"
		"'maxEjectionTime':'10m'},'loadBalancer':{'affinity':{'by':'workload',"
		"'timeout':'1s'}}}");

	assert_int_equal(p->rules.attempt_ns, 2 * second);
	assert_int_equal(p->rules.base_ns, p->rules.max_ns);
}

static void test_fallback(void **state)
{
	static const struct row rows[] = {
		{"{'fallback':'spare'}", "/fallback",
		 "fallback must be a list of services, not a text", false},
		{"{'fallback':['a','shop/a']}", "/fallback/1",
		 "fallback shop/a is in the list already (number 1)", false},
		{"{'fallback':['A']}", "/fallback/0", "must be the name of a service", false},
		{"{'fallback':['a/b/c']}", "/fallback/0", "or namespace/name", false},
		{"{'fallback':['/b']}", "/fallback/0", "or namespace/name", false},
		{"{'fallback':['b/']}", "/fallback/0", "or namespace/name", false},
		{"{'fallback':['a-']}", "/fallback/0", "or namespace/name", false},
		{"{'fallback':['']}", "/fallback/0", "or namespace/name", false},
		{"{'fallback':[1]}", "/fallback/0", "must be a text", false},
		{"{'fallback':['a','b','c','d','e','f','g','h','i']}", "/fallback",
		 "9 services in fallback; at most 8 are allowed", false},
	};

	CHECK_ROWS(rows);
}

/* What is wrong with the rest is told all the same, and the other way round. */
static void test_without_metadata(void **state)
{
	struct problems problems = {};
	struct object o = {};

	assert_int_equal(model_decode("{'apiVersion':'sinew/v1','kind':'TrafficPolicy','spec':{"
				      "'fallback':['a','default/a','b/a']}}",
				      "manifest", &problems, &o),
			 -EINVAL);
	assert_true(model_has_problem(&problems, "", "metadata is missing"));
	assert_true(model_has_problem(&problems, "/spec/fallback/1", "default/a is in the list"));
	assert_int_equal(problems.n, 2);
	problems_done(&problems);
}

/* --- written and read back ---------------------------------------------------------------- */

static char *encode(const struct policy *p)
{
	yyjson_mut_doc *doc = yyjson_mut_doc_new(NULL);
	yyjson_mut_val *json = codec_encode_policy(doc, p);
	char *text;

	assert_non_null(json);
	yyjson_mut_doc_set_root(doc, json);
	text = yyjson_mut_write(doc, 0, NULL);
	assert_non_null(text);
	yyjson_mut_doc_free(doc);
	return text;
}

static void check_identity(const struct policy *p)
{
	_cleanup_free_ char *once = encode(p), *twice = NULL;
	struct object again = model_object(once, "another");

	twice = encode(again.policy);
	assert_string_equal(once, twice);
	if (!policy_is_equal(p, again.policy))
		fail_msg("%s is not what was written", once);
	object_done(&again);
}

static void test_canonical_text(void **state)
{
	_cleanup_(policy_unrefp) struct policy *p = good(every), *bare = good("{}");
	_cleanup_free_ char *text = encode(p), *nothing = encode(bare);
	struct text_buffer want = {};

	/* `every` is in the canonical order and spelling. */
	text_append_format(&want, "%s%s}", HEAD, every);
	for (char *at = want.data; *at; at++)
		*at = (char)(*at == '\'' ? '"' : *at);
	assert_string_equal(text, want.data);
	text_done(&want);
	assert_string_equal(nothing, "{\"apiVersion\":\"sinew/v1\",\"kind\":\"TrafficPolicy\","
				     "\"metadata\":{\"name\":\"p\",\"namespace\":\"shop\"},"
				     "\"spec\":{}}");
	check_identity(p);
	check_identity(bare);
}

static void test_effective_text_names_every_key(void **state)
{
	_cleanup_(policy_unrefp) struct policy *p = good("{'panic':{'mode':'none'}}");
	yyjson_mut_doc *doc = yyjson_mut_doc_new(NULL);
	_cleanup_free_ char *text = NULL;

	yyjson_mut_doc_set_root(doc, codec_encode_policy_spec(doc, p, POLICY_EVERY_KEY));
	text = yyjson_mut_write(doc, 0, NULL);
	yyjson_mut_doc_free(doc);
	assert_string_equal(
		text,
		"{\"loadBalancer\":{\"algorithm\":\"p2c\",\"affinity\":{\"by\":\"off\",\"timeout\":"
		"\"3h\"},\"locality\":{\"prefer\":\"none\",\"spill\":true},\"slowStart\":\"0s\"},"
		"\"outlierDetection\":{\"consecutiveFailures\":5,\"window\":\"10s\",\"minVolume\":20,"
		"\"failureRatio\":\"50%\",\"slowConnect\":{\"threshold\":\"0s\",\"ratio\":\"50%\"},"
		"\"baseEjectionTime\":\"30s\",\"maxEjectionTime\":\"5m\",\"maxEjectionPercent\":10,"
		"\"enforcing\":\"100%\",\"shadow\":false},\"panic\":{\"threshold\":\"50%\",\"mode\":"
		"\"none\"},\"halfOpen\":{\"probes\":1},\"connectionLimits\":{\"service\":0,\"backend\":"
		"0,\"pending\":0},\"retryBudget\":{\"ratio\":\"20%\",\"minPerSecond\":10,\"ttl\":"
		"\"10s\",\"mode\":\"observe\"},\"connect\":{\"timeout\":\"0s\",\"attemptTimeout\":"
		"\"0s\"},\"failover\":{\"attempts\":2,\"on\":[\"refused\",\"unreachable\"]},"
		"\"fallback\":[],\"negativeAffinity\":\"10s\",\"onRemove\":\"drain\"}");
}

static uint64_t random_state;

static uint64_t draw(uint64_t below)
{
	random_state = random_state * 6364136223846793005ull + 1442695040888963407ull;
	return (random_state >> 20) % below;
}

static uint64_t draw_value(const struct policy_field *f)
{
	uint64_t n = 0;

	if (f->type == POLICY_BOOL)
		return draw(2);
	if (!f->words)
		return f->or_zero && !draw(2) ? 0 : f->min + draw(f->max - f->min + 1);
	while (f->words[n])
		n++;
	return f->type == POLICY_SET ? draw(1ull << n) : draw(n);
}

/* Any values of any of the keys that do not contradict each other. */
static void draw_policy(struct policy *draft)
{
	for (enum policy_key key = 0; key < POLICY_KEYS; key++) {
		if (key == POLICY_FALLBACK || draw(2))
			continue;
		policy_field_set(draft, key, draw_value(policy_field(key)));
		draft->given |= 1ull << key;
	}
	if (draft->rules.base_ns > draft->rules.max_ns)
		draft->rules.base_ns = draft->rules.max_ns;
	draft->given |= 1ull << POLICY_BASE_TIME;
	if (draft->rules.connect_ns && draft->rules.attempt_ns > draft->rules.connect_ns)
		draft->rules.attempt_ns = draft->rules.connect_ns;
	if (!draft->rules.affinity)
		draft->given &= ~(1ull << POLICY_AFFINITY_TIMEOUT);
	if (!draft->prefer)
		draft->given &= ~(1ull << POLICY_LOCALITY_SPILL);
	if (!draft->rules.slow_ns)
		draft->given &= ~(1ull << POLICY_SLOW_RATIO);
	for (enum policy_key key = 0; key < POLICY_KEYS; key++) {
		struct policy defaults = {};

		policy_defaults(&defaults);
		if (key != POLICY_FALLBACK && !policy_has(draft, key))
			policy_field_set(draft, key, policy_field_get(&defaults, key));
	}
}

static void test_random_policies_identity(void **state)
{
	struct policy_fallback fallback[] = {{(char *)"shop", (char *)"a"},
					     {(char *)"ops", (char *)"b"}};

	random_state = 7;
	for (unsigned int i = 0; i < 4000; i++) {
		struct policy draft = {
			.namespace = (char *)"shop", .name = (char *)"p", .source = (char *)"s"};
		_cleanup_(policy_unrefp) struct policy *p = NULL;

		policy_defaults(&draft);
		draw_policy(&draft);
		draft.fallback = fallback;
		draft.n_fallback = draw(3);
		if (draft.n_fallback)
			draft.given |= 1ull << POLICY_FALLBACK;
		assert_int_equal(policy_new(&draft, &p), 0);
		check_identity(p);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_every_key_comes_to_its_place),
		cmocka_unit_test(test_what_is_not_written_is_its_default),
		cmocka_unit_test(test_values_have_more_than_one_spelling),
		cmocka_unit_test(test_types_and_ranges),
		cmocka_unit_test(test_words),
		cmocka_unit_test(test_keys),
		cmocka_unit_test(test_contradictions),
		cmocka_unit_test(test_contradictions_need_both),
		cmocka_unit_test(test_fallback),
		cmocka_unit_test(test_without_metadata),
		cmocka_unit_test(test_canonical_text),
		cmocka_unit_test(test_effective_text_names_every_key),
		cmocka_unit_test(test_random_policies_identity),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
