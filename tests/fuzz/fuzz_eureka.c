/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Bytes as a Eureka server's answer: refused, or a table that is sorted and unique, and that the
 * same delta, applied again, does not change. The same bytes as the answer about one instance.
 */
#include <errno.h>

#include "fuzz/require.h"
#include "registry/eureka_apps.h"

static int apply(struct eureka_apps *apps, const char *text, size_t size)
{
	struct eureka_answer answer;
	char error[JSON_ERROR] = "";
	int r = eureka_decode(text, size, &answer, error);

	REQUIRE(r == 0 || r == -EBADMSG);
	REQUIRE(r == 0 || *error);
	if (r == 0)
		REQUIRE(eureka_apps_apply(apps, &answer, true, NULL) == 0);
	return r;
}

static void take_one(const char *text, size_t size)
{
	struct eureka_one one;
	char error[JSON_ERROR] = "";
	int r = eureka_decode_one(text, size, &one, error);

	REQUIRE(r == 0 || r == -EBADMSG);
	REQUIRE(r == 0 || *error);
	if (r < 0)
		return;
	REQUIRE(*one.instance.app && *one.instance.id);
	eureka_instance_done(&one.instance);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char *text = require_text(data, size);
	struct eureka_apps apps = {};
	struct text_buffer one = {}, two = {};

	if (apply(&apps, text, size) == 0) {
		size_t n = apps.n;

		for (size_t i = 1; i < n; i++) {
			int r = strcmp(apps.instances[i - 1].app, apps.instances[i].app);

			REQUIRE(r < 0 || (r == 0 && strcmp(apps.instances[i - 1].id,
							   apps.instances[i].id) < 0));
		}
		eureka_apps_hash(&apps, &one);
		REQUIRE(apply(&apps, text, size) == 0 && apps.n == n);
		eureka_apps_hash(&apps, &two);
		REQUIRE(!strcmp(one.data, two.data));
	}
	take_one(text, size);
	text_done(&one);
	text_done(&two);
	eureka_apps_done(&apps);
	free(text);
	return 0;
}
