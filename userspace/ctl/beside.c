/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * See beside.h. Before: a verb has fetched a list. After: nouns draw. It never keeps anybody
 * waiting for an agent that hangs.
 */
#include "ctl/beside.h"

#include <string.h>

#include "ctl/client.h"
#include "ctl/field.h"

#define AGENT_MS 1000

yyjson_doc *beside_fetch(struct ctl *c, const struct noun *n)
{
	uint64_t timeout_ms = c->o.timeout_ms;
	struct http_response response = {0};
	struct client_path path;
	yyjson_doc *doc = NULL;

	if (!n->beside)
		return NULL;
	if (timeout_ms > AGENT_MS)
		c->o.timeout_ms = AGENT_MS;
	client_turn(c, PEER_AGENT);
	client_path_init(&path, n->beside);
	if (client_try(c, &path, &response) >= 0 && response.status == 200)
		doc = yyjson_read(response.body, response.length, 0);
	http_response_done(&response);
	client_turn(c, n->peer);
	c->o.timeout_ms = timeout_ms;
	return doc;
}

yyjson_val *beside_find(yyjson_val *beside, const struct beside_key keys[static 2])
{
	yyjson_val *items = field_get(beside, "/items"), *item;
	size_t i, n;

	if (!yyjson_is_arr(items))
		return NULL;
	yyjson_arr_foreach (items, i, n, item) {
		if (strcmp(field_text(item, keys[0].at), keys[0].text) == 0 &&
		    strcmp(field_text(item, keys[1].at), keys[1].text) == 0)
			return item;
	}
	return NULL;
}
