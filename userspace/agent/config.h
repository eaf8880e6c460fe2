/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * agent.yaml: which registries are followed, and the agent's own settings. Credentials are never in
 * it, only the names of files that hold them.
 */
#pragma once

#include "base/log.h"
#include "registry/registry.h"

struct agent_config {
	char *control_socket;               /* sinewd's */
	char *agent_socket;                 /* ours */
	char *state;                        /* folder of last good states */
	char *metrics;                      /* "127.0.0.1:9464"; "": none */
	unsigned int log_level, log_format; /* as they stand in the lists of words */
	uint64_t coalesce_ms;
	struct registry_config *registries; /* in order of precedence */
	size_t n_registries;
};

/* Defaults, and what the file says; it may be missing unless `must`. What is wrong with it is
 * logged as file:line:column: -EINVAL then; -errno of open, -ENOMEM. */
int agent_config_load(const char *file, bool must, struct agent_config *ret);
/* One setting over the file's, "control.socket=/run/x.sock"; `origin` is for the log. -EINVAL,
 * logged. */
int agent_config_set(struct agent_config *c, const char *assignment, const char *origin);
void agent_config_done(struct agent_config *c);
enum log_level agent_config_level(const struct agent_config *c);
