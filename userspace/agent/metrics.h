/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The agent's own metrics as Prometheus text 0.0.4: sinew_registry_* and sinew_agent_*. Labels are
 * names of agent.yaml and reasons: bounded by both.
 */
#pragma once

#include "agent/agent.h"
#include "base/text.h"

/* `with_daemon`: whether sinewd's own stand before them. */
void metrics_append(struct text_buffer *b, const struct agent *a, bool with_daemon);
