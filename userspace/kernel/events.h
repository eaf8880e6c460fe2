/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The kernel's event ring. Records are copied out one by one; what found the ring full was counted
 * in the kernel (SN_R_EVENT_LOST).
 */
#pragma once

#include "kernel/kernel.h"

typedef void (*events_fn)(void *arg, const struct sn_event *event);

/* Opens the ring; ret_fd is readable when there is something. */
int events_open(struct kernel *k, events_fn on_event, void *arg, int *ret_fd);
/* Hands out what is there, at most `max` records so that a flood does not hold the loop; returns
 * how many. */
int events_drain(struct kernel *k, int max);
