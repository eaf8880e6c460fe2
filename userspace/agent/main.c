/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * sinew-agent: the command line. Everything else begins in agent.c.
 */
#include <malloc.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "agent/agent.h"
#include "base/cleanup.h"
#include "base/log.h"
#include "base/notify.h"
#include "base/option.h"
#include "base/version.h"

#define DEFAULT_FILE SINEW_SYSCONFDIR "/sinew/agent.yaml"
#define FILES 65536 /* as its unit has it */

struct arguments {
	const char *config;
	struct option_list set;
	bool check, version, help;
};

#define MEMBER(m) offsetof(struct arguments, m)
static const struct option_item items[] = {
	{"config", 'c', OPTION_TEXT, "FILE", "settings, default " DEFAULT_FILE,
	 .offset = MEMBER(config)},
	{"set", 's', OPTION_LIST, "KEY=VALUE", "any setting of agent.yaml(5)",
	 .offset = MEMBER(set)},
	{"check", 0, OPTION_FLAG, NULL, "read the settings, tell what is wrong with them, and exit",
	 .offset = MEMBER(check)},
	{"version", 'V', OPTION_FLAG, NULL, "print the version and exit",
	 .offset = MEMBER(version)},
	{"help", 'h', OPTION_FLAG, NULL, "print this and exit", .offset = MEMBER(help)},
};
static const struct option_group group = {items, ARRAY_SIZE(items)};

static const struct option_command command = {
	.name = "sinew-agent",
	.summary = "follow service registries",
	.description = "Tells sinewd which services the registries of agent.yaml have. Runs as a "
		       "user of its own; needs no capability, only the group of sinewd's control "
		       "socket.",
	.options = {items, ARRAY_SIZE(items)},
};
static const struct option_program program = {
	.name = "sinew-agent",
	.summary = "follow service registries",
	.commands = &command,
	.n_commands = 1,
};

static int load(struct agent *a, const struct arguments *args)
{
	char error[AGENT_CONFIG_ERROR];
	int r;

	a->file = args->config ?: DEFAULT_FILE;
	a->must = args->config != NULL || access(a->file, F_OK) == 0;
	a->overrides = args->set;
	r = agent_read(a, &a->config, &a->dns, error);
	if (r >= 0)
		log_init("sinew-agent", agent_config_level(&a->config),
			 (enum log_format)a->config.log_format);
	return r;
}

/* Each registry and each client has connections, and a shell allows 1,024 files; what may be had
 * without asking is taken, as far as is of use. */
static void allow_files(void)
{
	struct rlimit files;

	if (getrlimit(RLIMIT_NOFILE, &files) < 0 || files.rlim_cur >= FILES)
		return;
	files.rlim_cur = files.rlim_max < FILES ? files.rlim_max : FILES;
	(void)setrlimit(RLIMIT_NOFILE, &files);
}

static int run(struct agent *a)
{
	int r = names_bind(&a->dns); /* it may take a capability, which goes now */

	if (r < 0) {
		agent_config_done(&a->config);
		return r;
	}
	r = agent_sandbox();
	if (r < 0)
		(void)log_warn_r(r, "cannot give up what is not needed");
	r = agent_start(a);
	if (r >= 0)
		r = agent_run(a);
	agent_done(a);
	return r;
}

static int parse(int argc, char **argv, struct arguments *args)
{
	struct option_parser parser = {.groups = &group, .n_groups = 1, .target = args};
	struct option_error error = {};
	int first, r = option_parse(&parser, argc, argv, &first, &error);

	if (r >= 0 && first >= argc)
		return 0;
	(void)fprintf(stderr, "sinew-agent: %s\n",
		      r < 0 ? error.text : "takes no operands; see sinew-agent --help");
	return -1;
}

int main(int argc, char **argv)
{
	static struct agent a; /* zeroed */
	struct arguments args = {};

	log_init("sinew-agent", LOG_INFO, LOG_FORMAT_AUTO);
	if (parse(argc, argv, &args) < 0)
		return 2;
	if (args.help) {
		option_help_command(stdout, &program, &command);
		return 0;
	}
	if (args.version) {
		(void)printf("sinew-agent %s (%s)\n", SINEW_VERSION, version_revision());
		return 0;
	}
	(void)mallopt(M_ARENA_MAX, 1);
	(void)umask(0077);
	(void)signal(SIGPIPE, SIG_IGN);
	if (load(&a, &args) < 0)
		return 2;
	if (args.check) {
		agent_config_done(&a.config);
		return 0;
	}
	notify_init();
	allow_files();
	return run(&a) < 0 ? 1 : 0;
}
