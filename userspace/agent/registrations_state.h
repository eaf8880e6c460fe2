/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What registrations.c (does) and registrations_show.c (tells) know together; nobody else's.
 */
#pragma once

#include "agent/labels.h"
#include "agent/listeners.h"
#include "agent/registrations.h"
#include "model/registration.h"
#include "register/registrar.h"

struct registrations {
	uv_loop_t *loop;
	struct fetcher *fetcher;
	const struct agent_config *config;
	struct registrations_pods pods;
	struct listeners *listeners;
	struct labels *labels;
	struct registrar *registrar;
	struct sn_addr address; /* node.address */
	bool has_address;
	char node[256];
	struct registration **list; /* by namespace, then name; references */
	size_t n;
	bool known;          /* sinewd has told them, once */
	bool settled;        /* what is not matched has been taken out, once */
	uint64_t started_ms; /* loop time */
	char etag[80];
	char error[200]; /* why they cannot be read; "": nothing is wrong */
	struct match match;
	struct fetch *fetch;
	uv_timer_t poll, late;
	void (*left)(void *arg);
	void *left_arg;
};
