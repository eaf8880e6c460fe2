/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Service -> backend: one draw in proportion to the weights, in constant time (alias method, see
 * struct sn_slot). After admit, before promise. `draw` is 32 random bits, so that tests can choose.
 */
#pragma once

#include "maps.bpf.h"

struct sn_pick {
	struct sn_backend *backend;
	__u32 index;
	__u32 set;
	__u32 count;
};

/* The product's upper half is the member, its lower half the fraction left inside it: one draw
 * serves both decisions. */
static __always_inline __u32 sn_pick_member(const struct sn_slot *slot, __u32 fraction)
{
	return fraction <= slot->cut ? slot->backend : slot->alias;
}

static __always_inline int sn_pick_once(__u32 service, __u32 set, __u32 draw, struct sn_pick *ret)
{
	const struct sn_set *header = (const void *)sn_slot_at(set);
	const struct sn_slot *slot;
	__u64 product;

	if (!header || header->service != service)
		return SN_R_TORN;
	ret->set = set;
	ret->count = header->count;
	if (!ret->count)
		return SN_R_NO_BACKEND;
	product = (__u64)draw * ret->count;
	slot = sn_slot_at(set + 1 + (__u32)(product >> 32));
	if (!slot || slot->service != service)
		return SN_R_TORN;
	ret->index = sn_pick_member(slot, (__u32)product);
	ret->backend = sn_backend_at(ret->index);
	if (!ret->backend || ret->backend->service != service)
		return SN_R_TORN;
	return SN_R_CONNECTED;
}

/* SN_R_CONNECTED and a backend; SN_R_NO_BACKEND; SN_R_TORN when even the second reading met entries
 * that had been given away. */
static __always_inline int sn_pick(const struct sn_service *service, __u32 index, __u32 draw,
				   struct sn_pick *ret)
{
	int reason = sn_pick_once(index, *(volatile const __u32 *)&service->set, draw, ret);

	if (reason == SN_R_TORN)
		reason = sn_pick_once(index, *(volatile const __u32 *)&service->set, draw, ret);
	return reason;
}
