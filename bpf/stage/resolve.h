/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Destination -> service. After identify (the door), before admit. Never touches a context.
 */
#pragma once

#include <bpf/bpf_endian.h>

#include "knobs.bpf.h"
#include "maps.bpf.h"
#include "stage/account.h"

static __always_inline int sn_addr_equal(const struct sn_addr *a, const struct sn_addr *b)
{
	return a->word_be[3] == b->word_be[3] && a->word_be[2] == b->word_be[2] &&
	       a->word_be[1] == b->word_be[1] && a->word_be[0] == b->word_be[0];
}

/* Only pool addresses may have any-port services, so nobody else pays for the second lookup. */
static __always_inline int sn_pool_contains(const struct sn_addr *addr)
{
	__u64 upper;

	if (!addr->word_be[0] && !addr->word_be[1])
		return (bpf_ntohl(addr->word_be[3]) & sn_pool4_mask) == sn_pool4 &&
		       addr->word_be[2] == bpf_htonl(0xffff);
	upper = (__u64)bpf_ntohl(addr->word_be[0]) << 32 | bpf_ntohl(addr->word_be[1]);
	return (upper & sn_pool6_mask) == sn_pool6;
}

static __always_inline int sn_is_frontend_of(const struct sn_service *service,
					     const struct sn_frontend *key)
{
	return sn_addr_equal(&service->frontend.addr, &key->addr) &&
	       service->frontend.port_be == key->port_be && service->frontend.proto == key->proto;
}

/* Returns the service and its index, or NULL: not ours. An index that was given to another
 * service between the two lookups is noticed by its frontend; one more try, then not ours, and
 * counted: an entry that leads nowhere for longer is damage. */
static __always_inline struct sn_service *sn_resolve_key(const struct sn_frontend *key,
							 __u32 *ret_index)
{
	struct sn_service *service;
	__u32 *index;

#pragma unroll
	for (int i = 0; i < 2; i++) {
		index = bpf_map_lookup_elem(&sn_frontends, key);
		if (!index)
			return NULL;
		*ret_index = *index;
		service = sn_service_at(*ret_index);
		if (service && sn_is_frontend_of(service, key))
			return service;
	}
	sn_count_node(SN_R_BAD_MAP);
	return NULL;
}

/* Out of line for its key's room on the stack: older kernels count a chain of calls generously. */
static __noinline struct sn_service *sn_resolve_any(const struct sn_frontend *dest,
						    __u32 *ret_index)
{
	struct sn_frontend any = *dest;

	any.port_be = SN_PORT_ANY;
	return sn_resolve_key(&any, ret_index);
}

static __always_inline struct sn_service *sn_resolve(const struct sn_frontend *dest,
						     __u32 *ret_index)
{
	struct sn_service *service;

	*ret_index = SN_NONE;
	service = sn_resolve_key(dest, ret_index);
	if (service || !sn_pool_contains(&dest->addr))
		return service;
	return sn_resolve_any(dest, ret_index);
}
