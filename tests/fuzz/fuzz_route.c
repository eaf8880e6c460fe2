/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The first line of a request, "METHOD /path?query": it is either given to a route, with clean
 * parameters, or answered at once. There is no connection behind it, so headers are absent.
 */
#include <errno.h>

#include "control/route.h"
#include "fuzz/require.h"

static void check_params(const struct request *q)
{
	for (size_t i = 0; i < PARAMS && q->params[i]; i++)
		for (const char *p = q->params[i]; *p; p++)
			REQUIRE((unsigned char)*p >= 0x20 && *p != 0x7f);
}

static void check_line(char *line, bool admin)
{
	static struct control control;
	struct request q = {.control = &control, .caller = {.admin = admin}};
	char *path = strchr(line, ' ');
	int r;

	if (!path)
		return;
	*path++ = '\0';
	q.path = path;
	r = route_begin(&q, line);
	REQUIRE(r < 0 || q.answered || q.route);
	if (r >= 0 && !q.answered) {
		REQUIRE(admin || strcmp(q.route->method, "GET") == 0);
		check_params(&q);
	}
	for (size_t i = 0; i < PARAMS; i++)
		free(q.params[i]);
	query_done(&q.query);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	for (int admin = 0; admin < 2; admin++) {
		char *line = require_text(data, size);

		check_line(line, admin);
		free(line);
	}
	return 0;
}
