/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Giving up what is no longer needed, right after start.
 */
#pragma once

#include <stdbool.h>

/* Do we have the three capabilities that loading and attaching needs? */
bool lockdown_may_start(void);

/* Before the event loop is made: newer libuv would make a ring for it (io_uring), whose requests no
 * filter sees; it does without when the kernel seems to have none. */
int lockdown_loop(void);

/* The daemon: CAP_BPF, CAP_NET_ADMIN, CAP_PERFMON, no new privileges, and a filter of system calls
 * that knows no network sockets, no exec, no setns. Before any thread starts. */
int lockdown_daemon(void);
/* The evict helper: also CAP_SYS_ADMIN and what finding namespaces needs, and in the filter setns,
 * IPv4 sockets for the canary and sock_diag. */
int lockdown_helper(void);
