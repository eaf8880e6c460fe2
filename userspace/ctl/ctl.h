/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * One invocation of sinewctl: what was asked, where output goes, and the connection. Every verb
 * gets it and nothing else.
 *
 * Errors: a function that takes a struct ctl and returns < 0 has already told the person why. The
 * value says only what kind of failure it was, and ctl_exit_code makes the exit code of it.
 */
#pragma once

#include <stdbool.h>
#include <stdio.h>

#include "base/http.h"
#include "base/option.h"

#define CTL_SOCKET_DEFAULT "/run/sinew/control.sock"
#define CTL_STATUS_SOCKET_DEFAULT "/run/sinew/status.sock"
#define CTL_AGENT_SOCKET_DEFAULT "/run/sinew-agent/agent.sock"

enum ctl_format {
	FORMAT_TABLE,
	FORMAT_WIDE,
	FORMAT_JSON,
	FORMAT_YAML,
	FORMAT_NAME,
	FORMAT_DIFF,
};

/* Who is asked: sinewd, or sinew-agent about what it follows. */
enum ctl_peer { PEER_DAEMON, PEER_AGENT };

struct ctl_options {
	const char *socket, *agent_socket; /* NULL: nobody named one */
	uint64_t timeout_ms;
	unsigned int format; /* enum ctl_format */
	const char *namespace;
	bool all_namespaces;
	bool help;
	bool watch;
	uint64_t interval_ms; /* between two pictures of --watch */
	uint64_t limit;       /* flows */
	uint64_t count;       /* events; 0: no bound */
	uint64_t recent;      /* events from before; 0: those to come */
	uint64_t duration_ms; /* of events; 0: no bound */
	struct option_list files;
	bool dry_run;
	bool prune;
	bool follow;
	bool origin;
	bool yes;
	bool ignore_missing;
	bool man;
	const char *hold_for; /* text of a duration; NULL: the daemon's default */
	const char *reason;
	const char *source;
	uint64_t mark;
	const char *protocol;
};

struct ctl {
	const struct option_program *program;
	const struct option_command *command;
	struct ctl_options o;
	char **operands;
	int n_operands;
	FILE *out, *err;
	bool colour;        /* out is a terminal and nobody said no */
	bool terminal;      /* out is a terminal */
	unsigned int width; /* columns that a table may take */
	struct http *http;  /* opened by the first request; owned */
	const char *socket; /* the one that http uses */
	enum ctl_peer peer; /* of http, and of what is asked next */
};

/* The exit code for a verb's result: 0 ok; -EINVAL 2 usage, -ENOTCONN 3 unreachable, -ENOENT 4 not
 * found, -EACCES 5 not permitted, -ETIMEDOUT 6; anything else 1. */
int ctl_exit_code(int r);
/* The table of verbs. */
const struct option_program *ctl_program(void);
/* Runs one command line; returns the exit code. Streams are borrowed. */
int ctl_main(int argc, char **argv, FILE *out, FILE *err);
