/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * sinewd: the command line. Everything else begins in daemon.c.
 */
#include <malloc.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/log.h"
#include "base/notify.h"
#include "base/option.h"
#include "base/version.h"
#include "daemon/daemon.h"
#include "daemon/lockdown.h"
#include "kernel/kernel.h"

#define DEFAULT_FILE SINEW_SYSCONFDIR "/sinew/sinewd.yaml"

struct arguments {
	const char *config, *socket, *status_socket, *bpffs, *cgroup, *state, *log_level,
		*log_format;
	struct option_list set;
	bool uninstall, version, help;
};

#define MEMBER(m) offsetof(struct arguments, m)
static const struct option_item items[] = {
	{"config", 'c', OPTION_TEXT, "FILE", "settings, default " DEFAULT_FILE,
	 .offset = MEMBER(config)},
	{"socket", 0, OPTION_TEXT, "PATH", "control socket (control.socket)",
	 .offset = MEMBER(socket)},
	{"status-socket", 0, OPTION_TEXT, "PATH", "read-only socket (status.socket)",
	 .offset = MEMBER(status_socket)},
	{"bpffs", 0, OPTION_TEXT, "DIR", "folder for pins (bpffs.dir)", .offset = MEMBER(bpffs)},
	{"cgroup", 0, OPTION_TEXT, "DIR", "cgroup v2 folder to serve (cgroup.path)",
	 .offset = MEMBER(cgroup)},
	{"state", 0, OPTION_TEXT, "DIR", "folder for what was declared (state.dir)",
	 .offset = MEMBER(state)},
	{"log-level", 0, OPTION_TEXT, "LEVEL", "error, warning, notice, info or debug (log.level)",
	 .offset = MEMBER(log_level)},
	{"log-format", 0, OPTION_TEXT, "FORMAT", "auto, text or json (log.format)",
	 .offset = MEMBER(log_format)},
	{"set", 's', OPTION_LIST, "KEY=VALUE", "any setting of sinewd(8)", .offset = MEMBER(set)},
	{"uninstall", 0, OPTION_FLAG, NULL,
	 "detach, remove pins and state of a stopped sinewd, and exit",
	 .offset = MEMBER(uninstall)},
	{"version", 'V', OPTION_FLAG, NULL, "print the version and exit",
	 .offset = MEMBER(version)},
	{"help", 'h', OPTION_FLAG, NULL, "print this and exit", .offset = MEMBER(help)},
};
static const struct option_group group = {items, ARRAY_SIZE(items)};

static const struct option_command command = {
	.name = "sinewd",
	.summary = "resolve service addresses inside the kernel",
	.description =
		"Loads programs onto the sockets of a cgroup and keeps their maps true. Programs and maps "
		"stay when sinewd stops: traffic does not notice.",
	.options = {items, ARRAY_SIZE(items)},
};
static const struct option_program program = {
	.name = "sinewd",
	.summary = "resolve service addresses inside the kernel",
	.commands = &command,
	.n_commands = 1,
};

static int override(struct settings *s, enum setting_key key, const char *text, const char *flag)
{
	return text ? setting_set(s, key, text, flag) : 0;
}

static int fail_set(const char *assignment, const char *equals)
{
	_cleanup_free_ char *key =
		equals ? strndup(assignment, (size_t)(equals - assignment)) : NULL;
	const char *near = key ? setting_suggest(key) : NULL;

	(void)fprintf(stderr,
		      "sinewd: --set %s: expected KEY=VALUE with a setting of sinewd(8)%s%s%s\n",
		      assignment, near ? "; did you mean \"" : "", near ?: "", near ? "\"?" : "");
	return -EINVAL;
}

static int override_any(struct settings *s, const char *assignment)
{
	const char *equals = strchr(assignment, '=');

	for (int i = 0; equals && i < _SETTING_MAX; i++)
		if (strlen(setting_table[i].key) == (size_t)(equals - assignment) &&
		    !strncmp(setting_table[i].key, assignment, (size_t)(equals - assignment)))
			return setting_set(s, (enum setting_key)i, equals + 1, "--set");
	return fail_set(assignment, equals);
}

static int take_arguments(struct daemon *d, const struct arguments *a)
{
	struct settings *s = &d->overrides;
	int r = override(s, SETTING_CONTROL_SOCKET, a->socket, "--socket");

	if (r >= 0)
		r = override(s, SETTING_STATUS_SOCKET, a->status_socket, "--status-socket");
	if (r >= 0)
		r = override(s, SETTING_BPFFS, a->bpffs, "--bpffs");
	if (r >= 0)
		r = override(s, SETTING_CGROUP, a->cgroup, "--cgroup");
	if (r >= 0)
		r = override(s, SETTING_STATE, a->state, "--state");
	if (r >= 0)
		r = override(s, SETTING_LOG_LEVEL, a->log_level, "--log-level");
	if (r >= 0)
		r = override(s, SETTING_LOG_FORMAT, a->log_format, "--log-format");
	for (size_t i = 0; r >= 0 && i < a->set.n; i++)
		r = override_any(s, a->set.items[i]);
	d->config_file = strdup(a->config ?: DEFAULT_FILE);
	d->config_must = a->config != NULL;
	return r < 0 ? r : d->config_file ? 0 : -ENOMEM;
}

static int run(struct daemon *d, bool uninstall)
{
	int r;

	if (uninstall)
		return daemon_uninstall(d);
	r = lockdown_loop();
	if (r < 0)
		return log_err_r(r, "cannot filter system calls");
	r = uv_loop_init(&d->loop);
	if (r < 0)
		return r;
	r = daemon_start(d);
	if (r >= 0)
		r = daemon_run(d);
	daemon_done(d);
	return r;
}

/* What a large change took is given back to the machine when it is done: one arena also for the
 * thread that writes state files, and large blocks by mmap, however often there was one. */
static void memory_init(void)
{
	(void)mallopt(M_ARENA_MAX, 1);
	(void)mallopt(M_MMAP_THRESHOLD, 256 << 10);
	(void)mallopt(M_TRIM_THRESHOLD, 256 << 10);
}

int main(int argc, char **argv)
{
	static struct daemon d; /* large; zeroed */
	struct option_parser parser = {.groups = &group, .n_groups = 1};
	struct option_error error = {};
	struct arguments a = {};
	int first, r;

	parser.target = &a;
	log_init("sinewd", LOG_INFO, LOG_FORMAT_AUTO);
	r = option_parse(&parser, argc, argv, &first, &error);
	if (r < 0 || first < argc) {
		(void)fprintf(stderr, "sinewd: %s\n",
			      r < 0 ? error.text : "takes no operands; see sinewd --help");
		return 2;
	}
	if (a.help) {
		option_help_command(stdout, &program, &command);
		return 0;
	}
	if (a.version) {
		(void)printf("sinewd %s (%s), abi %u\n", SINEW_VERSION, version_revision(),
			     SN_ABI_VERSION);
		return 0;
	}
	memory_init();
	(void)umask(0077);
	notify_init();
	if (take_arguments(&d, &a) < 0 || daemon_configure(&d) < 0)
		return 2;
	return run(&d, a.uninstall) < 0 ? 1 : 0;
}
