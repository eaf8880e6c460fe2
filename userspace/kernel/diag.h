/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Ending stale connected datagram sockets by sock_diag, where the kernel has no bpf_sock_destroy
 * (before Linux 6.5): user space finds them by the flows and asks for each by its cookie.
 * linux/inet_diag.h, linux/sock_diag.h; needs CONFIG_INET_DIAG_DESTROY.
 */
#pragma once

#include <sinew/flow.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct diag_maps {
	int flows_fd, backends_fd, health_fd, services_fd, policies_fd;
	uint32_t flow_entries;
};

/* Flows of connected datagram sockets whose backend is gone or draining, by hand or not; returns
 * how many (at most max), sorted by cookie. Flows in socket storage cannot be listed and are not
 * among them. `streams`: and of established TCP connections whose backend has left a service that
 * ends them then. */
int diag_find_stale(const struct diag_maps *maps, bool streams, struct sn_flow *ret, size_t max);
/* Is that one of the maps' descriptors? */
bool diag_uses(const struct diag_maps *maps, int fd);
/* Ends, in the network namespace of the calling thread, those sockets of the list that are still
 * connected to the backend of their flow; the list is sorted. *ret_ended: how many. -EOPNOTSUPP:
 * the kernel cannot. */
int diag_end(const struct sn_flow *stale, size_t n, uint32_t *ret_ended);
/* 0: this kernel answers sock_diag for datagram sockets; whether it ends them shows in diag_end. */
int diag_probe(void);
