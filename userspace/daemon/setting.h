/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The settings of sinewd: one table of keys; four layers, each over the one before: default, file,
 * environment, command line. Every value remembers which layer it came from.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/log.h"
#include "model/address.h"

enum setting_key {
	SETTING_CONTROL_SOCKET,
	SETTING_STATUS_SOCKET,
	SETTING_REPORT_SOCKET,
	SETTING_BPFFS,
	SETTING_CGROUP,
	SETTING_STATE,
	SETTING_ALLOW,
	SETTING_POOL4,
	SETTING_POOL6,
	SETTING_BYPASS_MARK,
	SETTING_BYPASS_CGROUPS,
	SETTING_KERNEL_SOCKETS,
	SETTING_DATAGRAMS_END,
	SETTING_FAILOVER_INTERFACES,
	SETTING_FAILOVER_ATTACH,
	SETTING_FLOWS,
	SETTING_NODE_NAME,
	SETTING_NODE_ZONE,
	SETTING_SERIES,
	SETTING_BACKEND_LABEL,
	SETTING_RUN_TIME,
	SETTING_LOG_LEVEL,
	SETTING_LOG_FORMAT,
	_SETTING_MAX
};

struct setting {
	const char *key;     /* in the file: "control.socket" */
	const char *env;     /* "SINEWD_CONTROL_SOCKET" */
	const char *initial; /* default, as text */
	bool reloads;        /* SIGHUP takes a new value over */
	const char *help;
};

extern const struct setting setting_table[_SETTING_MAX];

struct settings {
	char *text[_SETTING_MAX];
	char origin[_SETTING_MAX]
		   [160]; /* "default", "/etc/sinew/sinewd.yaml:3", "SINEWD_X", "--socket" */
};

/* The key most like a mistyped one; NULL: none is near. */
const char *setting_suggest(const char *key);
/* Sets one value; takes a copy. */
int setting_set(struct settings *s, enum setting_key key, const char *text, const char *origin);
/* Defaults, then the file (which may be missing unless `must`), then the environment. Errors are
 * logged with file:line:column; -EINVAL then. */
int setting_load(struct settings *s, const char *file, bool must);
void setting_done(struct settings *s);

/* The same, parsed. */
struct config {
	char *report_socket; /* "": none */
	const char *control_socket, *status_socket, *bpffs, *cgroup,
		*state; /* borrowed from settings */
	struct prefix *allow;
	size_t n_allow;
	struct prefix pool4, pool6;
	uint32_t bypass_mark;
	char **bypass_cgroups; /* absolute paths */
	size_t n_bypass_cgroups;
	bool kernel_sockets;
	unsigned int datagrams_end; /* enum evict_method */
	char **failover;            /* names of interfaces, with * and ?; none: all */
	size_t n_failover;
	bool failover_off;
	unsigned int failover_attach; /* enum tc_how */
	uint32_t flows;
	char *node;       /* never empty */
	const char *zone; /* borrowed; "": none */
	uint64_t series;
	bool backend_label, run_time;
	enum log_level log_level;
	enum log_format log_format;
};

/* Logs what is wrong, with the origin of the value. -EINVAL, -ENOMEM. */
int config_parse(const struct settings *s, struct config *ret);
void config_done(struct config *c);
/* The cgroup v2 mount of this host, from /proc/mounts; caller frees. -ENOENT. */
int config_find_cgroup2(char **ret);
