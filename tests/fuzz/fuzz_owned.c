/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Bytes as a registry's listing, of the kind that the first one says (C, E, K: Consul, Eureka,
 * etcd; L: the labels of a container): whatever is found is this node's by its id.
 */
#include <errno.h>

#include "agent/labels.h"
#include "fuzz/require.h"
#include "register/owned.h"

static int decode(char kind, const char *text, size_t size, struct owned_list *list, char *error)
{
	switch (kind) {
	case 'C':
		return owned_decode_consul(text, size, "n1", list, error);
	case 'E':
		return owned_decode_eureka(text, size, "n1", list, error);
	default:
		return owned_decode_etcd(text, size, "n1", list, error);
	}
}

static void labels(const char *text, size_t size)
{
	struct label *list = NULL;
	size_t n = 0;
	int r = labels_decode(text, size, &list, &n);

	REQUIRE(r == 0 || r == -EBADMSG);
	for (size_t i = 0; i < n; i++)
		REQUIRE(list[i].key && list[i].value);
	free(list);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char error[JSON_ERROR] = "", *text;
	struct owned_list list = {};
	int r;

	if (!size)
		return 0;
	text = require_text(data + 1, size - 1);
	if (*data == 'L') {
		labels(text, size - 1);
	} else {
		r = decode((char)*data, text, size - 1, &list, error);
		REQUIRE(r == 0 || (r == -EBADMSG && *error));
		for (size_t i = 0; i < list.n; i++)
			REQUIRE(!strncmp(list.items[i].id, "sinew:n1:", 9) &&
				*list.items[i].service);
		owned_list_done(&list);
	}
	free(text);
	return 0;
}
