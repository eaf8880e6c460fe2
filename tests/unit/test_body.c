/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * register/body: the very texts that registries are sent.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <sinew/service.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/base64.h"
#include "base/json.h"
#include "model/address.h"
#include "register/body.h"

static struct instance *make(const char *address, uint32_t ttl_ms, bool plain)
{
	char *tags[] = {(char *)"v2", (char *)"blue \"x\""};
	struct label meta[] = {{(char *)"sinew-node", (char *)"a forger"},
			       {(char *)"team", (char *)"billing"}};
	const struct registration r = {.namespace = (char *)"shop",
				       .name = (char *)"pay",
				       .service = (char *)"payments",
				       .port = 8080,
				       .proto = SN_PROTO_TCP,
				       .tags = tags,
				       .n_tags = plain ? 0 : 2,
				       .meta = meta,
				       .n_meta = plain ? 0 : 2,
				       .ttl_ms = ttl_ms};
	struct instance *i;
	struct sn_addr addr;

	assert_int_equal(address_parse(address, &addr), 0);
	assert_int_equal(instance_new(&r, &addr, "n1", &i), 0);
	return i;
}

static void assert_body(char *text, size_t n, const char *expected)
{
	assert_non_null(text);
	assert_int_equal(n, strlen(text));
	assert_string_equal(text, expected);
	free(text);
}

static void test_consul(void **state)
{
	struct instance *i = make("10.0.0.5", 15000, false);
	size_t n;
	char *text = body_consul(i, &n);

	assert_body(text, n,
		    "{\"ID\":\"sinew:n1:payments:10.0.0.5:8080\",\"Name\":\"payments\","
		    "\"Address\":\"10.0.0.5\",\"Port\":8080,\"Tags\":[\"v2\",\"blue \\\"x\\\"\"],"
		    "\"Meta\":{\"team\":\"billing\",\"sinew-node\":\"n1\"},"
		    "\"Check\":{\"CheckID\":\"service:sinew:n1:payments:10.0.0.5:8080\","
		    "\"Name\":\"listens\","
		    "\"Notes\":\"kept by sinew-agent while the socket listens\",\"TTL\":\"15s\","
		    "\"Status\":\"passing\",\"DeregisterCriticalServiceAfter\":\"1m\"}}");
	instance_unref(i);
	i = make("fd00::5", 3600000, true);
	text = body_consul(i, &n);
	assert_non_null(strstr(text, "\"Address\":\"fd00::5\""));
	assert_non_null(strstr(text, "\"TTL\":\"1h\""));
	assert_non_null(strstr(text, "\"DeregisterCriticalServiceAfter\":\"4h\""));
	free(text);
	instance_unref(i);
}

static void test_eureka(void **state)
{
	struct instance *i = make("10.0.0.5", 4000, false);
	size_t n;
	char *text = body_eureka(i, 1700000000123, &n);

	assert_body(
		text, n,
		"{\"instance\":{\"instanceId\":\"sinew:n1:payments:10.0.0.5:8080\","
		"\"app\":\"PAYMENTS\",\"hostName\":\"10.0.0.5\",\"ipAddr\":\"10.0.0.5\","
		"\"vipAddress\":\"payments\",\"secureVipAddress\":\"payments\",\"status\":\"UP\","
		"\"overriddenStatus\":\"UNKNOWN\",\"port\":{\"$\":8080,\"@enabled\":\"true\"},"
		"\"securePort\":{\"$\":443,\"@enabled\":\"false\"},\"countryId\":1,"
		"\"dataCenterInfo\":{\"@class\":\"com.netflix.appinfo.InstanceInfo$"
		"DefaultDataCenterInfo\",\"name\":\"MyOwn\"},"
		"\"leaseInfo\":{\"renewalIntervalInSecs\":2,\"durationInSecs\":4},"
		"\"metadata\":{\"team\":\"billing\",\"sinew-node\":\"n1\","
		"\"tags\":\"v2,blue \\\"x\\\"\"},"
		"\"lastDirtyTimestamp\":\"1700000000123\","
		"\"lastUpdatedTimestamp\":\"1700000000123\"}}");
	instance_unref(i);
}

/* The member of a body, decoded. */
static char *member(const char *body, const char *key)
{
	char error[JSON_ERROR], *bytes;
	yyjson_doc *doc;
	yyjson_val *v;
	size_t n;

	assert_int_equal(json_parse(body, strlen(body), 4, &doc, error), 0);
	v = yyjson_obj_get(yyjson_doc_get_root(doc), key);
	assert_non_null(v);
	assert_int_equal(base64_decode(yyjson_get_str(v), yyjson_get_len(v), &bytes, &n), 0);
	yyjson_doc_free(doc);
	return bytes;
}

static void assert_member(const char *body, const char *key, const char *expected)
{
	char *text = member(body, key);

	assert_string_equal(text, expected);
	free(text);
}

static void test_etcd(void **state)
{
	struct instance *i = make("fd00::5", 15000, false);
	size_t n;
	char *text = body_etcd_put(i, "services/", 7587888888888888888ull, &n);

	assert_non_null(text);
	assert_non_null(strstr(text, "\"lease\":\"7587888888888888888\""));
	assert_member(text, "key", "services/payments/[fd00::5]:8080");
	assert_member(text, "value",
		      "{\"Op\":0,\"Addr\":\"[fd00::5]:8080\",\"Metadata\":{\"team\":\"billing\","
		      "\"sinew-node\":\"n1\",\"tags\":[\"v2\",\"blue \\\"x\\\"\"],"
		      "\"sinew-id\":\"sinew:n1:payments:[fd00::5]:8080\"}}");
	free(text);
	instance_unref(i);
	text = body_etcd_grant(3001, &n);
	assert_body(text, n, "{\"TTL\":\"4\"}");
	text = body_etcd_lease(42, &n);
	assert_body(text, n, "{\"ID\":\"42\"}");
	text = body_etcd_login("u", "p\"", &n);
	assert_body(text, n, "{\"name\":\"u\",\"password\":\"p\\\"\"}");
	text = body_etcd_range("", 10, &n);
	assert_non_null(strstr(text, "{\"key\":\"AA==\",\"range_end\":\"AA==\""));
	free(text);
	text = body_etcd_range("services/", 10, &n);
	assert_member(text, "key", "services/");
	assert_member(text, "range_end", "services0");
	free(text);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_consul),
		cmocka_unit_test(test_eureka),
		cmocka_unit_test(test_etcd),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
