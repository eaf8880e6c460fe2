/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A datagram to the report socket: refused, or one of two words and a number that mean the same
 * when they are written again.
 */
#include <errno.h>

#include "fuzz/require.h"
#include "model/telling.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct telling t = {.cookie = 0}, again = {};
	char *bytes = malloc(size ? size : 1), text[TELLING_MAX];
	int r, n;

	REQUIRE(bytes);
	if (size)
		memcpy(bytes, data, size); /* of exactly this size: a read beyond it is seen */
	r = telling_parse(bytes, size, &t);
	REQUIRE(r == 0 || (r == -EINVAL && !t.cookie));
	if (r == 0) {
		REQUIRE(t.cookie && size < TELLING_MAX);
		n = snprintf(text, sizeof(text), "%s %llu", t.failed ? "failure" : "success",
			     (unsigned long long)t.cookie);
		REQUIRE((size_t)n == size || (size_t)n + 1 == size);
		REQUIRE(telling_parse(text, (size_t)n, &again) == 0);
		REQUIRE(again.cookie == t.cookie && again.failed == t.failed);
	}
	free(bytes);
	return 0;
}
