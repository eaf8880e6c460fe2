/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What a change did or would do, as the daemon answered it ("ChangeResult"), for people: one line
 * for each object and a sum, or the difference line by line.
 */
#pragma once

#include <yyjson.h>

#include "ctl/ctl.h"

/* Prints in the asked format; dry_run chooses the words. 0, or < 0 told. */
int change_print(struct ctl *c, yyjson_val *result, bool dry_run);
/* "service", "policy" of a manifest's kind. */
const char *change_noun(const char *kind);
