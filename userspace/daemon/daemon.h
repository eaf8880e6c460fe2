/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * sinewd as one value: what main.c starts, what the loop's callbacks and the control API's
 * functions share.
 */
#pragma once

#include <uv.h>

#include "control/control.h"
#include "daemon/holds.h"
#include "daemon/inspect.h"
#include "daemon/interfaces.h"
#include "daemon/listeners.h"
#include "daemon/persist.h"
#include "daemon/report.h"
#include "daemon/setting.h"
#include "kernel/evict.h"
#include "kernel/kernel.h"
#include "kernel/publish.h"
#include "model/store.h"

#define DAEMON_CHECKS 16

struct workload {
	char *path;
	uint64_t id; /* 0: the cgroup does not exist now */
};

struct daemon {
	uv_loop_t loop;
	struct settings settings;
	struct config config;
	char *config_file;
	bool config_must;          /* the file was named on the command line */
	struct settings overrides; /* from the command line; they win again after SIGHUP */

	struct kernel kernel;
	struct publish *publish;
	struct store *store;
	struct evict evict;
	struct inspect inspect;
	struct interfaces interfaces;
	struct listeners listeners;
	struct persist persist;
	struct holds holds;
	struct report report;
	struct control *control;
	struct control_ops ops;
	struct workload *workloads;
	size_t n_workloads;
	char *cgroup; /* the configured one, or the host's cgroup v2 mount */
	char *cgroup_mount;

	uv_signal_t term, interrupt, hangup;
	uv_timer_t tick;   /* heartbeat, watchdog, links, workloads */
	uv_timer_t sweep;  /* stale datagram sockets */
	uv_timer_t listen; /* events that did not wake us */
	uv_poll_t events_poll, evict_poll;
	uv_prepare_t prepare;
	bool events_open, evict_open;
	unsigned int sweeps_left; /* after a change: one at once, one for connects that raced it */
	bool sweep_running;
	bool sweep_streams;     /* of TCP connections, too */
	bool evict_lost;        /* the helper was there and is gone */
	uint64_t ended_by_diag; /* stale sockets that no program counted */
	bool sweep_failed; /* last answer had namespaces that could not be swept; logged once */

	uint64_t started_ms;           /* CLOCK_REALTIME */
	uint64_t busy_ns, turn_max_ns; /* time awake when the loop last slept; longest turn */
	bool uninstall;
	bool stopping;
	bool cgroup_lost; /* told once */
	struct control_check checks[DAEMON_CHECKS];
	struct map_fill fills[8];
	struct program_run runs[_HOOK_MAX];
};

/* Reads the settings, which must be done first: file, environment, overrides. What is wrong is
 * logged, by its place. */
int daemon_configure(struct daemon *d);
/* Everything up to the loop, in order; what fails is logged. */
int daemon_start(struct daemon *d);
/* Runs until told to stop. The datapath goes on without us. */
int daemon_run(struct daemon *d);
void daemon_done(struct daemon *d);
/* Without running: detaches, removes pins and state that a stopped sinewd left. */
int daemon_uninstall(struct daemon *d);

/* watch.c: timers, signals and what they look after. */
int watch_start(struct daemon *d);
void watch_stop(struct daemon *d);
/* The kernel's programs were loaded anew: take up the event ring by its new descriptor. */
void watch_rebind(struct daemon *d);
/* Backends went: ends the datagram sockets that hold on to them. */
void watch_sweep_soon(struct daemon *d);
/* Resolves the configured workloads' cgroups again; writes the map when something changed. */
int watch_workloads(struct daemon *d);
int watch_read_workloads(struct daemon *d);
uint32_t watch_levels(const struct daemon *d);

/* Timer callback: the last step of an uninstall that a client asked for. */
void watch_on_uninstall(uv_timer_t *timer);

/* ops.c: the control API's questions. */
void ops_init(struct daemon *d);
/* Begins to know who listens. */
int ops_start_listeners(struct daemon *d);
/* Begins with what is held by hand. */
int ops_start_holds(struct daemon *d);
/* doctor.c */
size_t doctor_run(struct daemon *d);
/* Loads settings again and swaps the programs if a knob changed. */
int daemon_reload(struct daemon *d);
/* Loads the programs anew, with what the settings and policies say now. */
int daemon_swap(struct daemon *d);
void daemon_kernel_config(const struct daemon *d, struct kernel_config *ret);
