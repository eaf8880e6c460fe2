/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Flows that outlived their backend: what a sweep ends. Beside promise; changes nothing.
 */
#pragma once

#include "maps.bpf.h"
#include "stage/grade.h"

/* Set by hand to be left by those, too, who have it already. */
static __always_inline int sn_is_drained(__u32 index)
{
	const struct sn_health *health = sn_health_at(index);

	return health && health->held == SN_HOLD_DRAIN && sn_is_held(health, bpf_ktime_get_ns());
}

/* Does this connected datagram socket hold on to a backend that it should leave? */
static __always_inline int sn_flow_is_stale(const struct sn_flow *flow)
{
	struct sn_backend *backend = sn_backend_at(flow->backend);

	return flow->state == SN_FLOW_UDP_CONNECTED &&
	       (!backend || backend->incarnation != flow->incarnation ||
		backend->state != SN_BACKEND_ACTIVE || sn_is_drained(flow->backend));
}
