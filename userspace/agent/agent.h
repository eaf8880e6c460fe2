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
#include "export/serve.h"
#include "registry/merge.h"

struct agent_registry {
	struct agent *agent;
	const struct registry_config *config;
	struct registry *registry;  /* NULL: it did not start, or has stopped */
	char failure[200];          /* why it did not; "": it did */
	uint64_t retry_ms, wait_ms; /* loop time of the next try to; the last wait before one */
	char tag[128];
	bool heard;  /* it has said what it has, or its last good state was read */
	bool spoken; /* it has, itself */
	bool partly; /* it has said something, perhaps not all */
	bool stale;
	bool dirty;               /* it said more than its file */
	uint64_t contact_ms;      /* loop time of the last answer */
	uint64_t told_contact_ms; /* status.contact_ms that was seen then */
	enum registry_error told; /* what was logged last */
	enum registry_error told_pods;
};

struct agent {
	uv_loop_t loop;
	struct agent_config config;
	struct fetcher *fetcher;
	struct merge *merge;
	struct push *push;
	struct names_config dns; /* read and bound before agent_start() */
	struct names *names;     /* NULL: no DNS is wanted */
	struct serve *serve;
	struct registrations *registrations;
	struct agent_registry *registries; /* config.n_registries */
	size_t n_open;
	uv_signal_t term, interrupt;
	uv_timer_t tick, due;
	uint64_t started_ms, written_ms; /* loop time */
	uint64_t started_at_ms;          /* CLOCK_REALTIME */
	struct scrape *scrapes;          /* requests that wait for sinewd's metrics */
	bool leaving; /* registrations are taken out; another signal does not wait for that */
	bool stopping;
	bool pods_wanted; /* by Registrations */
};

/* Opens everything; agent_run() then follows the registries until a signal. Errors are logged. */
int agent_start(struct agent *a);
int agent_run(struct agent *a);
void agent_done(struct agent *a);

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
