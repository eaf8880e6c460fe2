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
	char *dns_address; /* "127.0.0.153:53"; "": none */
	char *dns_domain;
	uint64_t dns_ttl_ms;
	char **dns_aliases; /* "*.service.consul"; what these lists hold is for names.c to judge */
	size_t n_dns_aliases;
	char **dns_forward; /* "refuse", or resolvers; none: as "refuse" */
	size_t n_dns_forward;
	char *node_name;    /* of this host in registries; "": the host's own */
	char *node_address; /* what is announced of a socket that listens at all; "": nothing */
	struct registry_config *registries; /* in order of precedence */
	size_t n_registries;
};

#define AGENT_CONFIG_ERROR 512

/* Defaults, and what the file says; it may be missing unless `must`. What is wrong with it is
 * logged as file:line:column, the first error is in ret_error, too: -EINVAL then; -errno of open,
 * -ENOMEM. */
int agent_config_load(const char *file, bool must, struct agent_config *ret,
		      char ret_error[static AGENT_CONFIG_ERROR]);
/* One setting over the file's, "control.socket=/run/x.sock"; `origin` is for the log. -EINVAL,
 * logged. */
int agent_config_set(struct agent_config *c, const char *assignment, const char *origin);
/* Names of the settings that differ and are only looked at when the agent starts, with ", " between
 * them; "": none. */
void agent_config_list_fixed(const struct agent_config *a, const struct agent_config *b, char *ret,
			     size_t size);
void agent_config_done(struct agent_config *c);
enum log_level agent_config_level(const struct agent_config *c);
