/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * When to ask a Eureka server for what. Pure: clocks are arguments, CLOCK_BOOTTIME in ms, which
 * goes on while the host sleeps, as the server does.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

struct eureka_plan {
	uint64_t interval_ms;
	uint64_t news_ms;      /* of the last answer since when nothing was missed */
	uint64_t full_ms;      /* of the last full one */
	uint64_t full_wait_ms; /* so long after it a further one may be asked for */
	bool known;            /* there was a full one */
	bool differs;          /* the last delta did not lead to what the server has */
	unsigned int refused;  /* polls until deltas are tried again; 0: they are answered */
};

/* Whether the next request is for everything. */
bool eureka_plan_is_full(const struct eureka_plan *p, uint64_t now_ms);
/* What was answered; how long to wait for the next request. `same`: the hash code is ours. */
uint64_t eureka_plan_full(struct eureka_plan *p, uint64_t now_ms);
uint64_t eureka_plan_delta(struct eureka_plan *p, uint64_t now_ms, bool same);
/* Deltas are denied (403, 404), which a server may be set to do. */
uint64_t eureka_plan_refused(struct eureka_plan *p);
/* The server has something that its answers lack: soon everything is asked for. */
void eureka_plan_doubt(struct eureka_plan *p);
