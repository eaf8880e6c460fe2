/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Exact limits: a counter that is raised only while it is below its limit, by compare-and-swap. An
 * add that is taken back when it was too much would refuse others meanwhile. Around pick; what was
 * taken is given back by the flow's end.
 */
#pragma once

#include "knobs.bpf.h"
#include "maps.bpf.h"
#include "stage/account.h"

/* The bound is for the verifier: a round that fails means that another CPU has got one. */
SN_ONCE int sn_limit_take(__u32 *counter, __u32 limit)
{
	__u32 old, seen;

	if (!counter)
		return 0;
	seen = *(volatile __u32 *)counter;

#pragma clang loop unroll(disable)
	for (int i = 0; i < 128; i++) {
		old = seen;
		if (old >= limit)
			return 0;
		seen = __sync_val_compare_and_swap(counter, old, old + 1);
		if (seen == old)
			return 1;
	}
	return 0;
}

/* Never below 0: the service's index may have been given on while its last flows ended. */
SN_ONCE int sn_limit_give(__u32 *counter)
{
	__u32 old, seen;

	if (!counter)
		return 0;
	seen = *(volatile __u32 *)counter;

#pragma clang loop unroll(disable)
	for (int i = 0; i < 128 && seen; i++) {
		old = seen;
		seen = __sync_val_compare_and_swap(counter, old, old - 1);
		if (seen == old)
			return 1;
	}
	return 0;
}

/* Takes what the policy limits for the whole service; *ret_flags: SN_FLOW_*, what was taken. 0: a
 * limit is reached, and nothing was taken. */
static __always_inline int sn_service_take(struct sn_svc_state *state,
					   const struct sn_policy *policy, __u8 proto,
					   __u8 *ret_flags)
{
	__u8 flags = 0;

	if (proto == SN_PROTO_TCP && policy->limit_pending) {
		if (!sn_limit_take(&state->pending, policy->limit_pending))
			return 0;
		flags |= SN_FLOW_PENDING;
	}
	if (proto == SN_PROTO_TCP && policy->limit_service) {
		if (!sn_limit_take(&state->active, policy->limit_service)) {
			if (flags)
				sn_limit_give(&state->pending);
			return 0;
		}
		flags |= SN_FLOW_COUNTED;
	}
	*ret_flags = flags;
	return 1;
}

static __always_inline void sn_service_give(__u32 service, __u8 flags)
{
	struct sn_svc_state *state;

	if (!(flags & (SN_FLOW_PENDING | SN_FLOW_COUNTED)))
		return;
	state = sn_svc_state_at(service);
	if (!state)
		return;
	if (flags & SN_FLOW_PENDING)
		sn_limit_give(&state->pending);
	if (flags & SN_FLOW_COUNTED)
		sn_limit_give(&state->active);
}
