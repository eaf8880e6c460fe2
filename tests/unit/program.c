/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * See program.h.
 */
#include "program.h"

#include <stddef.h>

#include "base/cleanup.h"

#define AT(member) offsetof(struct program_values, member)

static const char *const outputs[] = {"table", "json", "yaml", NULL};
static const char *const colours[] = {"auto", "never", NULL};
static const char *const nouns[] = {"services", "policies", NULL};

static const struct option_item common[] = {
	{"verbose", 'v', OPTION_FLAG, NULL, "say more", NULL, 0, 0, AT(verbose)},
	{"timeout", 0, OPTION_DURATION, "DURATION", "give up after it", NULL, 100, 60000,
	 AT(timeout)},
	{"colour", 0, OPTION_TEXT, "WHEN", "it's [colour]: or not", colours, 0, 0, AT(colour)},
};
static const struct option_item get_items[] = {
	{"output", 'o', OPTION_CHOICE, "FORMAT", "how to print", outputs, 0, 0, AT(output)},
	{"limit", 0, OPTION_NUMBER, "N", "at most so many", NULL, 1, 500, AT(limit)},
	{"label", 'l', OPTION_LIST, "KEY=VALUE", "only with that label", NULL, 0, 0, AT(labels)},
	{"all", 'A', OPTION_FLAG, NULL, "of every namespace", NULL, 0, 0, AT(all)},
};
static const struct option_item apply_items[] = {
	{"file", 'f', OPTION_TEXT, "FILE", "a manifest", NULL, 0, 0, AT(file)},
};
static const struct option_command commands[] = {
	{.name = "get",
	 .aliases = "list ls",
	 .operands = "NOUN [NAME...]",
	 .summary = "list what is there",
	 .description = "Lists *objects* of a kind.\n\nThe second paragraph.",
	 .examples = "sinewctl get services\nsinewctl get policies -o json\n",
	 .words = nouns,
	 .complete = "sinewctl get \"$noun\" -o name",
	 .min_operands = 1,
	 .max_operands = -1,
	 .options = {get_items, ARRAY_SIZE(get_items)}},
	{.name = "apply",
	 .summary = "declare",
	 .complete = "FILE",
	 .options = {apply_items, ARRAY_SIZE(apply_items)}},
	{.name = "explain",
	 .operands = "ADDRESS",
	 .summary = "say why",
	 .min_operands = 1,
	 .max_operands = 1},
};

const struct option_program program = {
	.name = "sinewctl",
	.summary = "talk to sinewd",
	.notes = "Exit codes: 0 ok.",
	.options = {common, ARRAY_SIZE(common)},
	.commands = commands,
	.n_commands = ARRAY_SIZE(commands),
};
