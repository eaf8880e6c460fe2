/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What the agent says besides of what sinewd has listed: most hosts need no agent, so nothing is
 * said of one that is not there.
 */
#pragma once

#include "base/cleanup.h"
#include "ctl/noun.h"

DEFINE_CLEANUP(yyjson_doc *, yyjson_doc_free);

/* Of n->beside; NULL: nobody says anything. The next questions go to n->peer. */
yyjson_doc *beside_fetch(struct ctl *c, const struct noun *n);
/* The one of its items whose texts at two JSON pointers are these; NULL: there is none. */
struct beside_key {
	const char *at, *text;
};
yyjson_val *beside_find(yyjson_val *beside, const struct beside_key keys[static 2]);
