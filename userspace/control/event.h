/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What happened, as a line of an event stream, and kept for those who ask later. Private to
 * control/.
 */
#pragma once

#include <sinew/event.h>

#include "control/server.h"
#include "model/limits.h"

/* Something that happened: in the kernel, or (with a type) in the daemon. */
struct event_record {
	uint64_t ms;     /* CLOCK_REALTIME */
	uint64_t number; /* in the order in which they came */
	struct sn_event kernel;
	char namespace[LIMIT_NAME + 1], service[LIMIT_NAME + 1]; /* whom it is about; "": nobody */
	/* Of a note; of a kernel event the message, and as object the next backend, if there is one
	 */
	char type[32], object[256], message[256];
};
