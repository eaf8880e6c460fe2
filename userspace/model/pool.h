/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Which address of a pool a service gets: decided by its name alone, so that every node and every
 * restart comes to the same one, unless it is taken. Pure.
 */
#pragma once

#include "model/address.h"

/*
 * The `probe`th choice (0, 1, 2 ...) for namespace/name within the pool: never its first address
 * (network, or anycast of the routers) nor its last (broadcast), except in pools of one or two.
 * -ENOSPC when every address of the pool was offered.
 */
int pool_choose(const struct prefix *pool, const char *namespace, const char *name, uint64_t probe,
		struct sn_addr *ret);
