/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What the programs did about a backend or a service, as one sentence. Pure. Private to control/.
 */
#pragma once

#include <sinew/event.h>

#include "control/condition.h"

#define SENTENCE_TEXT 256

/* "10.0.1.6:8080 ejected for 60s: 5 consecutive refused (2nd time), 2 of 3 usable". `next`: the
 * address of the backend that a connect went on to, "" when it is not known any more. Returns buf;
 * for an event that is no story but one connect, what its reason means. */
const char *sentence_format(const struct sn_event *e, const struct sn_policy *rules,
			    const char *next, char buf[static SENTENCE_TEXT]);
/* Names the type in JSON: "ejected". */
const char *sentence_type(uint16_t type);
/* Whether the event is about one connect, with a destination. */
bool sentence_is_connect(uint16_t type);
