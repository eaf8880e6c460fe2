/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Texts that a client puts into a request besides its body: the query, numbers, the Accept header.
 */
#include <errno.h>

#include "control/accept.h"
#include "control/query.h"
#include "fuzz/require.h"

static void check_query(const char *text)
{
	struct query_range range = {1, 10000};
	struct problems problems = {};
	struct query q;
	uint64_t n = 7;
	bool yes = false;
	int r = query_parse(text, "namespace label* limit dryRun", &problems, &q);

	REQUIRE(r == 0 || (r == -EINVAL && problems.n));
	for (size_t i = 0; r == 0 && i < q.n; i++) {
		REQUIRE(*q.args[i].name);
		for (const char *p = q.args[i].value; *p; p++)
			REQUIRE((unsigned char)*p >= 0x20 && *p != 0x7f);
	}
	if (r == 0) {
		r = query_number(&q, "limit", range, &problems, &n);
		REQUIRE(r == 0 ? (n >= 1 && n <= 10000) : (n == 7 && problems.n));
		r = query_bool(&q, "dryRun", &problems, &yes);
		REQUIRE(r == 0 || problems.n);
		query_done(&q);
	}
	problems_done(&problems);
}

static void check_number(const char *text)
{
	char buf[32];
	uint64_t n;

	if (number_parse(text, &n) < 0 || (text[0] == '0' && text[1]))
		return;
	(void)snprintf(buf, sizeof(buf), "%llu", (unsigned long long)n);
	REQUIRE(!strcmp(buf, text));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char *text = require_text(data, size);
	int quality = accept_quality(text, "application/json");

	REQUIRE(quality >= 0 && quality <= 1000);
	check_query(text);
	check_number(text);
	free(text);
	return 0;
}
