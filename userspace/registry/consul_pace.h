/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * With which index a blocking query is asked next, and when it may be. Pure; clocks are arguments.
 * (Consul, "Blocking queries": an index may go backwards, one of 0 would not block, and a return is
 * no sign of a change.)
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#define CONSUL_PACE_MS 100 /* for each query; two may follow each other at once */
#define CONSUL_PACE_DOUBLINGS 4
#define CONSUL_PACE_FREE 2 /* one change may move an index several times */

struct consul_pace {
	uint64_t index;    /* to ask with; 0: not to block */
	uint64_t full_ms;  /* when the bucket is full again */
	unsigned int idle; /* answers in a row without news */
};

/* An answer with this X-Consul-Index came, and was or was not news. An index that went backwards
 * says that the server has another state: the next query does not block. */
void consul_pace_answer(struct consul_pace *p, uint64_t index, bool is_news);
/* The query failed: it may be another server next time, whose index means nothing here. */
void consul_pace_reset(struct consul_pace *p);
/* Takes a token. How long to wait before the query; from the third answer without news it costs
 * more, up to 2^DOUBLINGS as much. now_ms never falls. */
uint64_t consul_pace_take(struct consul_pace *p, uint64_t now_ms);
