/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What the kernel counted, as plain numbers: one backend, one service, the node.
 */
#pragma once

#include <sinew/event.h>
#include <sinew/flow.h>
#include <sinew/health.h>
#include <sinew/meta.h>
#include <sinew/service.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct traffic {
	uint64_t attempts;
	uint64_t outcome[SN_R_BACKEND_MAX];
	uint64_t refused_here[SN_R_SERVICE_COUNT]; /* by SN_SERVICE_REASONS; 0 for a backend */
	uint64_t connect_ns;
	uint64_t latency[SN_LATENCY_BUCKETS];
	uint64_t ejections;   /* half-open failures included */
	uint64_t failed_over; /* connects that left a backend for the next one */
	uint32_t active;
};

/* Connect time in ns below which `q` (0..1) of the connects stayed, interpolated inside its
 * bucket; 0: nothing was measured. */
uint64_t traffic_quantile(const struct traffic *t, double q);
void traffic_add(struct traffic *sum, const struct traffic *t);
uint64_t traffic_failed(const struct traffic *t); /* sum of the outcomes blamed on the backend */

/* Every time is CLOCK_MONOTONIC, as in sn_health, which explains the fields of the same name. */
struct backend_traffic {
	uint32_t index;
	uint16_t incarnation;
	uint32_t state; /* enum sn_backend_state */
	uint64_t last_failure_ns;
	uint32_t consecutive;
	uint64_t ejected_until_ns, ejected_ns;
	uint64_t held_until_ns;
	/* What is remembered of a hold, good until the next call; NULL and 0: nothing. */
	const char *held_why; /* what the person said */
	const char *held_by;  /* "uid 0 pid 4711" */
	uint64_t held_ms;     /* since then; CLOCK_REALTIME */
	uint64_t since_ns;
	uint64_t shadow_until_ns;
	uint32_t held;      /* enum sn_hold */
	uint32_t ejections; /* in a row */
	uint32_t trip;      /* enum sn_trip */
	uint32_t reason;    /* enum sn_reason of the outcome that tripped it */
	uint32_t ewma_us;
	uint32_t cost;
	uint64_t cost_ns;
	uint32_t level;         /* of preference, 0 the first; SN_LEVELS: too far away to be used */
	struct traffic traffic; /* refused_here unused */
};

/* A backend, and whose endpoint it is: the service's, or that of a fallback of it. */
struct service;
struct member_traffic {
	const struct service *owner;
	size_t endpoint, port; /* of the owner */
	struct backend_traffic backend;
};

static inline bool backend_is_held(const struct backend_traffic *b, uint64_t now_ns)
{
	return b->held && now_ns < b->held_until_ns;
}

/* Registry-healthy, near enough, and neither ejected (or half-open) nor held by hand. */
static inline bool backend_is_usable(const struct backend_traffic *b, uint64_t now_ns)
{
	return b->state == SN_BACKEND_ACTIVE && b->level < SN_LEVELS && !b->ejected_until_ns &&
	       !backend_is_held(b, now_ns);
}

/* A service's members and load now. Each of its ports and families is a service to the programs:
 * members are summed over them, loads are those of the fullest, as each has the limit for itself.
 */
struct service_state {
	uint32_t ejected; /* or half-open */
	uint32_t held;
	uint32_t active, pending; /* counted against connectionLimits */
	uint32_t fullest;         /* connections of the backend that has most */
	uint64_t panic_ns;        /* since then some port ignores ejection; 0: none does */
};

/* One kernel map as status and metrics show it. */
struct map_fill {
	const char *name;
	uint64_t used;
	uint64_t max;
};

/* One program's run time; zeros unless the kernel counts (bpf_stats). */
struct program_run {
	const char *name;
	uint64_t run_ns;
	uint64_t runs;
	bool attached;
};
