/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The two sockets of the DNS server, UDP and TCP at one address and port. They are apart from it
 * because port 53 takes a privilege that is given up before anything else is done.
 */
#pragma once

#include <sinew/abi.h>
#include <stdint.h>
#include <sys/socket.h>

#include "base/cleanup.h"

struct dns_door {
	int udp, tcp;  /* non-blocking, close-on-exec; bound, not listening; -1: none */
	uint16_t port; /* host order */
};

/* The address as the kernel wants it; port in host order. */
void dns_door_sockaddr(const struct sn_addr *addr, uint16_t port, struct sockaddr_storage *ret);
/* Port 0: any. -EADDRINUSE, -EACCES (a port below 1024) and other errors of bind(2). */
int dns_door_open(const struct sn_addr *addr, uint16_t port, struct dns_door *ret);
/* Closes what is still there. */
void dns_door_close(struct dns_door *d);
