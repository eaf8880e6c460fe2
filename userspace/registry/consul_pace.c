/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * See consul_pace.h. A bucket of two tokens (the generic cell rate algorithm). It must never let a
 * server that answers at once make us ask at once for ever.
 */
#include "registry/consul_pace.h"

void consul_pace_answer(struct consul_pace *p, uint64_t index, bool is_news)
{
	if (is_news)
		p->idle = 0;
	else if (p->idle < CONSUL_PACE_FREE + CONSUL_PACE_DOUBLINGS)
		p->idle++;
	if (!index)
		index = 1;
	p->index = index < p->index ? 0 : index;
}

void consul_pace_reset(struct consul_pace *p)
{
	p->index = 0;
}

uint64_t consul_pace_take(struct consul_pace *p, uint64_t now_ms)
{
	uint64_t full = p->full_ms > now_ms ? p->full_ms : now_ms, cost = CONSUL_PACE_MS;

	/* A query that waited in earnest is no idle one. */
	if (now_ms >= p->full_ms + ((uint64_t)CONSUL_PACE_MS << CONSUL_PACE_DOUBLINGS))
		p->idle = 0;
	if (p->idle > CONSUL_PACE_FREE)
		cost <<= p->idle - CONSUL_PACE_FREE;
	p->full_ms = full + cost;
	return full > now_ms + cost ? full - cost - now_ms : 0;
}
