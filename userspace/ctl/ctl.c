/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * From a command line to a verb: defaults and environment, options before and after the verb,
 * suggestions for what is not known, and the exit code.
 */
#include <errno.h>
#include <string.h>
#include <strings.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "ctl/ctl.h"
#include "ctl/report.h"

#define WIDTH_DEFAULT 120
#define WIDTH_LEAST 40

int ctl_exit_code(int r)
{
	if (r >= 0)
		return 0;
	switch (r) {
	case -EINVAL:
		return 2;
	case -ENOTCONN:
		return 3;
	case -ENOENT:
		return 4;
	case -EACCES:
		return 5;
	case -ETIMEDOUT:
		return 6;
	default:
		return 1;
	}
}

static unsigned int terminal_width(FILE *out)
{
	struct winsize size = {0};
	const char *columns = getenv("COLUMNS");
	unsigned long n = columns ? strtoul(columns, NULL, 10) : 0;

	if (ioctl(fileno(out), TIOCGWINSZ, &size) == 0 && size.ws_col > 0)
		n = size.ws_col;
	if (n == 0 || n > 10000)
		return WIDTH_DEFAULT;
	return n < WIDTH_LEAST ? WIDTH_LEAST : (unsigned int)n;
}

static void init(struct ctl *c, FILE *out, FILE *err)
{
	const char *no_color = getenv("NO_COLOR");
	const char *socket = getenv("SINEW_SOCKET"), *agent = getenv("SINEW_AGENT_SOCKET");

	*c = (struct ctl){.program = ctl_program(), .out = out, .err = err};
	c->terminal = fileno(out) >= 0 && isatty(fileno(out));
	c->colour = c->terminal && !(no_color && *no_color);
	c->width = c->terminal ? terminal_width(out) : WIDTH_DEFAULT;
	c->o.timeout_ms = 10000;
	c->o.interval_ms = 2000;
	c->o.limit = 1000;
	c->o.socket = socket && *socket ? socket : NULL;
	c->o.agent_socket = agent && *agent ? agent : NULL;
}

/* Mistakes in the command line are told in JSON, too, when JSON was asked for anywhere in it. */
static bool wants_json(int argc, char **argv)
{
	for (int i = 1; i < argc; i++) {
		if (strcmp(argv[i], "-ojson") == 0 || strcmp(argv[i], "-o=json") == 0 ||
		    strcmp(argv[i], "--output=json") == 0)
			return true;
		if (i + 1 < argc && strcmp(argv[i + 1], "json") == 0 &&
		    (strcmp(argv[i], "-o") == 0 || strcmp(argv[i], "--output") == 0))
			return true;
	}
	return false;
}

/* Options in front of the verb. 0 and the verb's place in argv. */
static int parse_common(struct ctl *c, int argc, char **argv, int *ret_verb)
{
	struct option_parser parser = {
		.groups = &c->program->options, .n_groups = 1, .stop = true, .target = &c->o};
	struct option_error error;
	int r;

	r = option_parse(&parser, argc, argv, ret_verb, &error);
	if (r < 0)
		return report_usage(c, "%s", error.text);
	return 0;
}

static int find_verb(struct ctl *c, const char *word)
{
	const char *near;

	c->command = option_find_command(c->program, word);
	if (c->command)
		return 0;
	near = option_suggest_command(c->program, word);
	if (near)
		return report_usage(c, "unknown command \"%s\"; did you mean \"%s\"?", word, near);
	return report_usage(c, "unknown command \"%s\"", word);
}

static int parse_verb(struct ctl *c, int argc, char **argv)
{
	const struct option_group groups[] = {c->command->options, c->program->options};
	struct option_parser parser = {.groups = groups, .n_groups = 2, .target = &c->o};
	struct option_error error;
	int first, r;

	r = option_parse(&parser, argc, argv, &first, &error);
	if (r < 0)
		return report_usage(c, "%s: %s", c->command->name, error.text);
	c->operands = argv + first;
	c->n_operands = argc - first;
	if (c->o.help)
		return 0;
	r = option_check_operands(c->command, c->n_operands, &error);
	if (r < 0)
		return report_usage(c, "%s", error.text);
	return 0;
}

static int run(struct ctl *c, int argc, char **argv)
{
	int verb, r;

	r = parse_common(c, argc, argv, &verb);
	if (r < 0)
		return r;
	if (verb >= argc) {
		option_help_program(c->o.help ? c->out : c->err, c->program);
		return c->o.help ? 0 : -EINVAL;
	}
	r = find_verb(c, argv[verb]);
	if (r < 0)
		return r;
	r = parse_verb(c, argc - verb, argv + verb);
	if (r < 0)
		return r;
	if (c->o.help) {
		option_help_command(c->out, c->program, c->command);
		return 0;
	}
	return c->command->run(c);
}

int ctl_main(int argc, char **argv, FILE *out, FILE *err)
{
	struct ctl c;
	int r;

	init(&c, out, err);
	if (wants_json(argc, argv))
		c.o.format = FORMAT_JSON;
	r = run(&c, argc, argv);
	c.http = http_close(c.http);
	if (fflush(out) != 0 && r >= 0)
		r = report_error(&c, -EIO, "writing the output: %s", strerror(errno));
	return ctl_exit_code(r);
}
