/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A service that nobody declared and that has no backend, there for a moment only: a connect to it
 * is refused with EHOSTUNREACH if our programs run, and by nobody else. The proof that they do.
 */
#pragma once

#include "kernel/publish.h"

/* At the last address of the pool, as a datagram service, so that a connect sends no packet.
 * *ret_index: in sn_services, to tell its events by. -EADDRINUSE: somebody's service is there. */
int canary_put(struct publish *p, const struct prefix *pool4, struct sn_frontend *ret,
	       uint32_t *ret_index);
void canary_take(struct publish *p);
