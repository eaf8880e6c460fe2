/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Telling the service manager: the sd_notify(3) protocol, which is one datagram of text.
 */
#pragma once

#include <stdint.h>

/* Reads and removes NOTIFY_SOCKET and WATCHDOG_USEC, so that children do not inherit them. */
void notify_init(void);
/* "READY=1\nSTATUS=..."; silently nothing without a service manager. */
__attribute__((format(printf, 1, 2))) void notify_send(const char *format, ...);
/* Milliseconds between signs of life that the manager wants; 0: none. */
uint64_t notify_watchdog_ms(void);
