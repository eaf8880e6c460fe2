/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Backends set aside by hand: what the programs read of it, and taking it back. A hold ends by the
 * kernel's time, whoever lives then; who asked for it, and why, is the daemon's to remember.
 */
#pragma once

#include "kernel/publish.h"

/* One endpoint of a service at one of its ports: a backend for each of the service's addresses. */
struct hold_place {
	const struct service *service;
	size_t endpoint, port;
};

/* SN_HOLD_NONE ends it. How many backends that is; -ENOENT: none is published. */
int hold_set(struct publish *p, struct hold_place at, enum sn_hold held, uint64_t until_ns);
/* Ends a hold and the kernel's own ejection: the backend is in use at once. As hold_set. */
int hold_restore(struct publish *p, struct hold_place at);
