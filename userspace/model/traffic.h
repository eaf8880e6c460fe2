/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What the kernel counted, as plain numbers: one backend, one service, the node.
 */
#pragma once

#include <sinew/event.h>
#include <sinew/flow.h>
#include <sinew/health.h>
#include <sinew/meta.h>
#include <stdbool.h>
#include <stdint.h>

struct traffic {
	uint64_t attempts;
	uint64_t outcome[SN_R_BACKEND_MAX];
	uint64_t refused_here[SN_R_SERVICE_COUNT]; /* by SN_SERVICE_REASONS; 0 for a backend */
	uint64_t connect_ns;
	uint64_t latency[SN_LATENCY_BUCKETS];
	uint32_t active;
};

/* Connect time in ns below which `q` (0..1) of the connects stayed, interpolated inside its
 * bucket; 0: nothing was measured. */
uint64_t traffic_quantile(const struct traffic *t, double q);
void traffic_add(struct traffic *sum, const struct traffic *t);
uint64_t traffic_failed(const struct traffic *t); /* sum of the outcomes blamed on the backend */

struct backend_traffic {
	uint32_t index;
	uint16_t incarnation;
	uint32_t state; /* enum sn_backend_state */
	uint64_t last_failure_ns;
	uint32_t consecutive;
	struct traffic traffic; /* refused_here unused */
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
