/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Bytes as a line of sinewd's stream of listeners: refused with a sentence, or a listener that a
 * set takes once and gives back.
 */
#include <errno.h>

#include "fuzz/require.h"
#include "register/listener.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char *text = require_text(data, size), error[JSON_ERROR] = "";
	enum listener_event event;
	struct listener_table table = {};
	struct listener l, copy;
	int r = listener_decode_event(text, size, &event, &l, error);

	REQUIRE(r == 0 || (r == -EBADMSG && *error));
	if (r == 0 && (event == LISTENER_ADDED || event == LISTENER_DELETED)) {
		size_t n;

		REQUIRE(l.port && l.cgroup);
		REQUIRE(listener_copy(&l, &copy) == 0);
		REQUIRE(listener_table_add(&table, &copy) == 0);
		REQUIRE(listener_copy(&l, &copy) == 0);
		REQUIRE(listener_table_add(&table, &copy) == 0 && table.n == 1);
		REQUIRE(listener_table_find(&table, l.port, l.proto, &n) && n == 1);
		REQUIRE(listener_table_remove(&table, &l) && table.n == 0);
		listener_done(&l);
	}
	listener_table_done(&table);
	free(text);
	return 0;
}
