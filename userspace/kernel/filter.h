/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Filters on the clsact qdisc of an interface: which there are, and whose. Only looks.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "kernel/netlink.h"

#define FILTER_NAME 32

struct filter {
	uint32_t handle;
	uint16_t priority;
	uint32_t program;       /* 0: no BPF program */
	char name[FILTER_NAME]; /* of the program, as its owner gave it; else the filter's kind */
};

/* False: this message tells of no filter. */
bool filter_parse(const struct netlink_message *m, struct filter *ret);
/* Those of one direction, in the order in which they run; at most max, and how many. -ENODEV. */
int filter_list(uint32_t ifindex, bool egress, struct filter *ret, size_t max);
