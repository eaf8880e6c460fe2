/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Giving up what is no longer needed, right after start.
 */
#pragma once

/* The daemon: CAP_BPF, CAP_NET_ADMIN, CAP_PERFMON, no new privileges, and a filter of system calls
 * that knows no network sockets, no exec, no setns. Before any thread starts. */
int lockdown_daemon(void);
/* The evict helper: also CAP_SYS_ADMIN and what finding namespaces needs. */
int lockdown_helper(void);
