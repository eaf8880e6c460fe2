/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What the fake daemon's kernel has counted: made up from the names of services, the same in each
 * run. The signatures are those of struct control_ops.
 */
#pragma once

#include "control/control.h"

#define FIGURES_SECOND 1000000000ull
/* A service whose name begins so is in panic, and its endpoints are, one after the other: well,
 * ejected, half-open, ejected by hand, drained by hand, starting slowly. */
#define FIGURES_AILING "ailing"

uint64_t figures_now_ns(void); /* CLOCK_MONOTONIC */
int figures_backend_traffic(void *arg, const struct service *s, size_t endpoint, size_t port,
			    struct backend_traffic *ret);
int figures_service_traffic(void *arg, const struct service *s, struct traffic *ret);
size_t figures_service_usable(void *arg, const struct service *s);
int figures_members(void *arg, const struct control_door *door,
		    void (*visit)(void *visit_arg, const struct member_traffic *m),
		    void *visit_arg);
int figures_service_state(void *arg, const struct service *s, struct service_state *ret);
/* Tells of a backend of the service with this datapath index, "127.128.0.1:80" to "10.0.0.1:8080":
 * each type of event once. */
void figures_story(struct control *c, uint32_t service);
