/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The agent's wiring: registries speak to the merge, the merge to sinewd (push), to files
 * (lastgood), and to whoever asks (show, over export/serve.h). Everything on one loop.
 */
#pragma once

#include "agent/config.h"
#include "agent/names.h"
#include "agent/push.h"
#include "agent/registrations.h"
#include "base/option.h"
#include "export/serve.h"
#include "model/limits.h"
#include "registry/merge.h"

struct agent_registry; /* registries.h */
struct push_pods;      /* push_pods.h */

/* What became of agent.yaml since the start. */
struct agent_reloads {
	uint64_t taken, failed;
	uint64_t last_ms;               /* CLOCK_REALTIME; 0: never */
	char error[AGENT_CONFIG_ERROR]; /* of the last one; "": it was taken */
	char fixed[300]; /* settings that wait for a restart, with ", " between; "": none */
};

struct agent {
	uv_loop_t loop;
	const char *file;             /* agent.yaml */
	bool must;                    /* it has to be there */
	struct option_list overrides; /* of the command line; they win again after a reload */
	struct agent_config config;   /* registries are taken from it */
	struct agent_reloads reloads;
	struct fetcher *fetcher;
	struct merge *merge;
	struct push *push;
	struct push_pods *push_pods;
	struct names_config dns; /* read and bound before agent_start() */
	struct names *names;     /* NULL: no DNS is wanted */
	struct serve *serve;
	struct registrations *registrations;
	struct agent_registry *registries[LIMIT_REGISTRIES]; /* by precedence */
	size_t n_registries;
	size_t n_open; /* sources, those that are being closed with them */
	uv_signal_t term, interrupt, hangup;
	uv_timer_t tick, due;
	uint64_t started_ms, written_ms; /* loop time */
	uint64_t started_at_ms;          /* CLOCK_REALTIME */
	struct scrape *scrapes;          /* requests that wait for sinewd's metrics */
	bool leaving; /* registrations are taken out; another signal does not wait for that */
	bool stopping;
	bool pods_wanted; /* by Registrations */
};

/* agent.yaml and the command line above it; nothing is bound or opened by that. -errno, logged, and
 * the first error. */
int agent_read(const struct agent *a, struct agent_config *ret, struct names_config *ret_dns,
	       char ret_error[static AGENT_CONFIG_ERROR]);
/* Reads it anew, and takes over what may change while running (reload.c). An error changes nothing,
 * but a->reloads. */
int agent_reload(struct agent *a);
/* Opens everything; agent_run() then follows the registries until a signal. Errors are logged. */
int agent_start(struct agent *a);
int agent_run(struct agent *a);
void agent_done(struct agent *a);

/* Something may have changed: it is told, and time is kept for what the guard holds. */
void agent_poke(struct agent *a);
/* Telling begins once the registries have spoken. */
void agent_start_push(struct agent *a);
/* An operator believes what a registry says: what is held is let go. Number let go; -ENOENT. */
int agent_confirm(struct agent *a, const char *name);
/* Whether what the registries say is in sinewd, and names are known. */
bool agent_is_ready(const struct agent *a);

/* Answers one request of the HTTP server (show.c). */
void agent_show(void *agent, struct serve_request *q);
/* Answers what still waits (show.c). */
void agent_show_stop(struct agent *a);
/* Gives up what an agent does not need: capabilities, core dumps, system calls (sandbox.c). */
int agent_sandbox(void);
