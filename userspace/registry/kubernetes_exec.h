/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * One run of a credential plugin, bounded in time and bytes. It inherits none of our descriptors,
 * and of our environment only what any program needs; what it says on standard error is nobody's.
 */
#pragma once

#include <uv.h>

#include "registry/kubernetes_plugin.h"

#define KUBERNETES_EXEC_MS 30000
#define KUBERNETES_EXEC_BYTES (256u << 10)

struct kubernetes_exec;

/* `error`: 0 and what it said, good for the call; else -errno: -ETIMEDOUT, -EMSGSIZE, -ECHILD (it
 * ended with another status than 0), and one line about it. */
typedef void kubernetes_exec_done(void *arg, int error, const char *said, size_t length,
				  const char *text);

/* on_done comes later, on the loop, once. -errno: it cannot be run; on_done never comes then. */
int kubernetes_exec_begin(uv_loop_t *loop, const struct kubernetes_plugin *p,
			  kubernetes_exec_done *on_done, void *arg, struct kubernetes_exec **ret);
/* Kills it; on_done does not come. It gives back its memory once the loop has seen its end. NULL is
 * fine; returns NULL. */
struct kubernetes_exec *kubernetes_exec_cancel(struct kubernetes_exec *e);
