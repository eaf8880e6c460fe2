/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * By how much sinewd is too small for what it was told, from its own words; and what leaving an
 * object out helps. Before: push.c had a change refused. After: push.c leaves some out. Pure.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <yyjson.h>

#include "model/codec.h"

struct room {
	size_t frontends, backends, policies, objects; /* too many; 0: there is room */
};

/* From a problem document, as the control API has them. False: it is about other things. */
bool room_learn(struct room *r, yyjson_val *problem);
/* Without this object fewer are too many. False: that helps nothing. */
bool room_leave_out(struct room *r, const struct object *o);
