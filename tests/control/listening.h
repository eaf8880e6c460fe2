/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Who listens in the fake: somebody for each registration that is declared.
 */
#pragma once

#include "control/control.h"

void listening_visit(const struct store *store,
		     void (*visit)(void *visit_arg, const struct listener *l), void *visit_arg);
/* What a plan changes, before it is committed. */
void listening_publish(struct control *control, const struct plan *plan);
/* Of cgroup 8123. */
const struct cgroup_name *listening_cgroup(uint64_t id);
