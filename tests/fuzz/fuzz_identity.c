/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A cgroup's path: whatever it is, texts that end and are what they are said to be; and who is
 * somebody stays that, whatever is made below.
 */
#include "fuzz/require.h"
#include "model/identity.h"

static void check_hex(const char *text, size_t n)
{
	REQUIRE(strlen(text) == n && strspn(text, "0123456789abcdef-") == n);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const char below[] = "/system.slice/other.service";
	char *path = require_text(data, size), *longer;
	struct identity id, again;

	memset(&id, 'x', sizeof(id));
	identity_parse(path, &id);
	if (id.unit[0])
		REQUIRE(strstr(path, id.unit) && strlen(id.unit) <= LIMIT_UNIT &&
			!strchr(id.unit, '/'));
	if (id.container[0]) {
		check_hex(id.container, IDENTITY_CONTAINER);
		REQUIRE(strstr(path, id.container));
	}
	if (id.pod[0])
		check_hex(id.pod, strchr(id.pod, '-') ? IDENTITY_POD : 32);
	longer = malloc(strlen(path) + sizeof(below));
	REQUIRE(longer);
	memcpy(longer, path, strlen(path));
	memcpy(longer + strlen(path), below, sizeof(below));
	identity_parse(longer, &again);
	REQUIRE((!id.unit[0] && !id.container[0]) || identity_is_equal(&id, &again));
	free(longer);
	free(path);
	return 0;
}
