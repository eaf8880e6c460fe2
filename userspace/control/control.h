/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The control API: HTTP/1.1 with JSON on two unix sockets. Bytes from clients come in here and
 * leave as calls of struct control_ops; nothing a client sends ends the daemon.
 */
#pragma once

#include <uv.h>

#include "control/ops.h"

struct control;

struct control_config {
	const char *control_path; /* read and write: 0660, group "sinew" when it exists */
	const char *status_path;  /* reads only: 0660, group "sinew-view" when it exists */
	uint64_t series_budget;   /* series of one metric before services fold into "other" */
	bool backend_label;       /* opt in: one series per backend */
	/* 0: as server.h has it; tests have less patience */
	uint32_t receive_ms, answer_s, heartbeat_ms, pods_ms;
};

/* Binds and listens; refuses (-EADDRINUSE) when a live server answers on the path, replaces a dead
 * socket file. The loop is borrowed and must outlive the control. */
int control_new(uv_loop_t *loop, const struct control_config *config, const struct control_ops *ops,
		struct control **ret);
/* Stops serving; the sockets' files are removed. done(arg) is called when the loop holds nothing of
 * it any more, after which it is freed. */
void control_close(struct control *c, void (*done)(void *arg), void *arg);

/* What ops.hold did is on disk (or failed to get there: -errno). */
void control_hold_written(struct control *c, int result);

/* Tells event subscribers. Kernel event: */
void control_publish_event(struct control *c, const struct sn_event *e);
/* Something the daemon did or noticed: "service.changed", "cgroup.lost" ...; text is one sentence.
 */
/* What ops.inspect began is over: requests that waited for it go on. */
void control_inspected(struct control *c);
/* A socket listens (and is among those that ops.listeners visits by now), or does so no more. */
void control_publish_listener(struct control *c, bool is_there, const struct listener *l);
/* All namespaces have been looked at; ops.listeners says so, too, from now on. */
void control_listeners_synced(struct control *c);
void control_publish_note(struct control *c, const char *type, const char *object,
			  const char *text);
