/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The doctor's look at sinew-agent: whether it answers, and how it fares with each registry. Before
 * verb_doctor.c prints. Where registries are not followed at all, that is no failure.
 */
#pragma once

#include <yyjson.h>

#include "ctl/ctl.h"

/* Appends {"name", "level", "text", "hint"} for each check to `items`. The level is "note" where
 * nobody wanted an agent. */
void doctor_agent_add(struct ctl *c, yyjson_mut_doc *doc, yyjson_mut_val *items);
