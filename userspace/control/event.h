/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Event streams: one JSON object per line to each subscriber, who keeps up or is cut. Private to
 * control/.
 */
#pragma once

#include "control/server.h"

/* Writes a heartbeat to streams that were quiet for HEARTBEAT_MS, which also finds dead clients. */
void event_heartbeat(struct control *c, uint64_t now_ms);
/* All streams end after what is queued. */
void event_end(struct control *c);
