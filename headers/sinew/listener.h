/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * sn_listeners: TCP sockets that listen, by their cookies. An entry is there from listen() until
 * the socket closes, however that comes about; sockets that listened before the programs were
 * attached have none.
 */
#pragma once

#include <sinew/abi.h>

struct sn_listener {
	__u64 netns;     /* cookie of its network namespace */
	__u64 cgroup_id; /* in which it was made */
	__u64 since_ns;  /* CLOCK_MONOTONIC */
	struct sn_addr addr;
	__be16 port_be;
	__u16 family; /* AF_INET, AF_INET6 */
	__u32 reserved;
};
SN_LAYOUT(struct sn_listener, 48);
