/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The report socket: what applications tell of their own connections, sinew-report(7).
 */
#pragma once

#include <sinew/report.h>
#include <uv.h>

#include "base/rate.h"
#include "control/socket.h"
#include "kernel/kernel.h"

struct report {
	struct socket_file socket; /* fd -1: there is none */
	uv_poll_t poll;
	const struct kernel *kernel; /* borrowed */
	const char *cgroup_mount;    /* borrowed */
	struct rate workloads;       /* by cgroup id */
	struct rate all;             /* one bucket, before anything is looked up */
	uint64_t count[SN_TELL_MAX];
};

/* path "": no socket. */
int report_start(struct report *r, uv_loop_t *loop, const char *path);
void report_stop(struct report *r);
