/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * See eureka_plan.h. A server remembers changes for three minutes, and answers from a cache that is
 * up to 30 s old: deltas that are not further apart than the difference miss nothing. A hash code
 * that differs is no error, since real servers send wrong ones for a while; it is a reason to ask
 * for everything, and when that does not help, ever more rarely.
 */
#include "registry/eureka_plan.h"

#define GAP_MS 150000u
#define FULL_WAIT_MOST_MS 300000u
#define REFUSED_POLLS 20

bool eureka_plan_is_full(const struct eureka_plan *p, uint64_t now_ms)
{
	if (!p->known || p->refused || now_ms - p->news_ms > GAP_MS)
		return true;
	return p->differs && now_ms - p->full_ms >= p->full_wait_ms;
}

uint64_t eureka_plan_full(struct eureka_plan *p, uint64_t now_ms)
{
	if (p->differs) {
		uint64_t wait = p->full_wait_ms ? p->full_wait_ms * 2 : p->interval_ms * 2;

		p->full_wait_ms = wait < FULL_WAIT_MOST_MS ? wait : FULL_WAIT_MOST_MS;
	}
	if (p->refused)
		p->refused--;
	p->known = true;
	p->differs = false;
	p->news_ms = p->full_ms = now_ms;
	return p->interval_ms;
}

uint64_t eureka_plan_delta(struct eureka_plan *p, uint64_t now_ms, bool same)
{
	p->news_ms = now_ms;
	p->differs = !same;
	if (same)
		p->full_wait_ms = 0;
	return eureka_plan_is_full(p, now_ms) ? 0 : p->interval_ms;
}

uint64_t eureka_plan_refused(struct eureka_plan *p)
{
	p->refused = REFUSED_POLLS;
	return 0;
}

void eureka_plan_doubt(struct eureka_plan *p)
{
	p->differs = true;
}
