/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What the pods of this node are called, told to sinewd (PUT /v1/pods), so that it shows names
 * beside the uids that cgroups tell: while somebody wants pods, and told again and again, since
 * sinewd keeps them in memory and only for so long.
 */
#pragma once

#include "agent/agent.h"

int push_pods_new(struct agent *a, struct push_pods **ret);
/* Others are known, or wanted. */
void push_pods_kick(struct push_pods *p);
/* Sends nothing more; sinewd forgets them by itself. Memory is given back once the loop has closed
 * its handles; NULL is fine. */
void push_pods_close(struct push_pods *p);
