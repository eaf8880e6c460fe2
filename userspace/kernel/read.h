/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Maps -> numbers. Reads memory that the kernel writes at the same time: each word is whole, the
 * sum of several is a moment apart.
 */
#pragma once

#include "kernel/publish.h"

/* Counters of one backend index. */
void read_backend(const struct kernel *k, uint32_t backend, struct traffic *ret);
/* One endpoint of a service at one of its ports. -ENOENT: not published. */
int read_endpoint(const struct publish *p, const struct service *s, size_t endpoint, size_t port,
		  struct backend_traffic *ret);
/* Visits the backends of a service at one of its ports and addresses. -ENOENT: not published. */
struct read_door {
	const struct service *service;
	size_t port;
	struct sn_addr addr;
};
int read_members(const struct publish *p, const struct read_door *door,
		 void (*visit)(void *arg, const struct member_traffic *m), void *arg);
/* Sums over the service's ports, families and past backends. */
int read_service(const struct publish *p, const struct service *s, struct traffic *ret);
/* Endpoints with a backend that is usable now. */
size_t read_usable(const struct publish *p, const struct service *s);
int read_state(const struct publish *p, const struct service *s, struct service_state *ret);
/* What is remembered of a caller's failures at a service. -ENOENT. */
int read_memory(const struct kernel *k, uint32_t service, uint32_t workload, struct sn_memory *ret);
const struct service *read_backend_owner(const struct publish *p, uint32_t backend,
					 uint16_t incarnation, size_t *ret_endpoint,
					 size_t *ret_port);
const struct service *read_service_owner(const struct publish *p, uint32_t service,
					 size_t *ret_port);
/* Live flows, at most max; the callback returns < 0 to stop. Returns how many were seen. */
int read_flows(const struct kernel *k, size_t max,
	       int (*visit)(void *arg, const struct sn_flow *flow), void *arg);
uint64_t read_node_count(const struct kernel *k, unsigned int reason);
size_t read_map_fills(const struct publish *p, struct map_fill *ret, size_t max);
size_t read_program_runs(const struct kernel *k, struct program_run *ret, size_t max);
/* Asks the kernel's own selection code. */
int read_explain(const struct kernel *k, struct sn_explain *e);
