/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A TCP socket that listens, and who that is: what the daemon knows and the control API shows.
 */
#pragma once

#include <sinew/abi.h>
#include <stdbool.h>
#include <stdint.h>

#include "model/identity.h"

/* A cgroup by its id. */
struct cgroup_name {
	uint64_t id;
	char *path; /* from the mount on: "/system.slice/payments.service"; NULL: not known */
	struct identity identity;
};

struct listener {
	uint64_t cookie;   /* of the socket; unique until the host starts again */
	uint64_t netns;    /* its network namespace's cookie */
	uint64_t since_ms; /* CLOCK_REALTIME: of listen(), or when a sweep found it */
	struct sn_addr addr;
	uint16_t port; /* host order */
	bool swept;    /* it listened before the programs saw it; its end is seen by a sweep, too */
	const struct cgroup_name *cgroup; /* never NULL */
};
