/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Help, and the generated part of the man page, from the table of option.h. Text goes to a stream
 * that the caller chose; nothing is parsed or decided here.
 */
#include <string.h>

#include "base/option.h"

#define HELP_COLUMN 30 /* where the help of an option begins */
#define HELP_WIDTH 100

/* "-n, --namespace NAMESPACE" */
static void format_item(const struct option_item *item, char *buf, size_t size)
{
	(void)snprintf(buf, size, "%s%c%s--%s%s%s", item->letter ? "-" : "   ",
		       item->letter ? item->letter : ' ', item->letter ? ", " : "", item->name,
		       item->value ? " " : "", item->value ? item->value : "");
}

static void print_item(FILE *f, const struct option_item *item)
{
	char left[80];
	int column;

	format_item(item, left, sizeof(left));
	column = fprintf(f, "  %s", left);
	if (column > HELP_COLUMN - 2) {
		fputc('\n', f);
		column = 0;
	}
	fprintf(f, "%*s%s", HELP_COLUMN - column, "", item->help);
	if (item->type == OPTION_CHOICE)
		for (size_t i = 0; item->words[i]; i++)
			fprintf(f, "%s%s", i == 0 ? ": " : ", ", item->words[i]);
	fputc('\n', f);
}

static void print_group(FILE *f, const char *title, const struct option_group *group)
{
	if (group->n == 0)
		return;
	fprintf(f, "\n%s\n", title);
	for (size_t i = 0; i < group->n; i++)
		print_item(f, &group->items[i]);
}

/* Fills lines to HELP_WIDTH; an empty line separates paragraphs. */
static void print_filled(FILE *f, const char *text)
{
	size_t column = 0;

	while (*text) {
		size_t word = strcspn(text, " \n");

		if (column > 0 && column + 1 + word > HELP_WIDTH) {
			fputc('\n', f);
			column = 0;
		}
		if (word > 0) {
			fprintf(f, "%s%.*s", column ? " " : "", (int)word, text);
			column += word + (column > 0);
		}
		text += word;
		if (text[0] == '\n' && text[1] == '\n') {
			fputs("\n\n", f);
			column = 0;
			text++;
		}
		if (*text)
			text++;
	}
	fputc('\n', f);
}

static void print_indented(FILE *f, const char *indent, const char *lines)
{
	while (*lines) {
		size_t n = strcspn(lines, "\n");

		fprintf(f, "%s%.*s\n", indent, (int)n, lines);
		lines += n + (lines[n] == '\n');
	}
}

static bool is_single(const struct option_program *program)
{
	return program->n_commands == 1 && strcmp(program->commands[0].name, program->name) == 0;
}

static void print_usage(FILE *f, const struct option_program *program,
			const struct option_command *command)
{
	fprintf(f, "Usage: %s", program->name);
	if (!is_single(program))
		fprintf(f, " %s", command->name);
	fputs(" [OPTIONS]", f);
	if (command->operands)
		fprintf(f, " %s", command->operands);
	fputc('\n', f);
}

void option_help_program(FILE *f, const struct option_program *program)
{
	if (is_single(program)) {
		option_help_command(f, program, &program->commands[0]);
		return;
	}
	fprintf(f, "Usage: %s COMMAND [OPTIONS] [OPERANDS]\n\n%s\n\nCommands\n", program->name,
		program->summary);
	for (size_t i = 0; i < program->n_commands; i++)
		fprintf(f, "  %-14s%s\n", program->commands[i].name, program->commands[i].summary);
	print_group(f, "Options of every command", &program->options);
	if (program->notes)
		fprintf(f, "\n%s\n", program->notes);
}

void option_help_command(FILE *f, const struct option_program *program,
			 const struct option_command *command)
{
	print_usage(f, program, command);
	fputc('\n', f);
	print_filled(f, command->description ? command->description : command->summary);
	if (command->aliases)
		fprintf(f, "\nAlso: %s\n", command->aliases);
	if (command->words) {
		fputs("\nOne of:", f);
		for (size_t i = 0; command->words[i]; i++)
			fprintf(f, "%s %s", i ? "," : "", command->words[i]);
		fputc('\n', f);
	}
	print_group(f, "Options", &command->options);
	print_group(f, "Options of every command", &program->options);
	if (command->examples) {
		fputs("\nExamples\n", f);
		print_indented(f, "  ", command->examples);
	}
	if (is_single(program) && program->notes)
		fprintf(f, "\n%s\n", program->notes);
}

/* scdoc reads _ and * as emphasis, and a leading character of others as a list or a heading. */
static void print_escaped(FILE *f, const char *text)
{
	for (; *text; text++) {
		if (strchr("_*\\`<>#[]", *text))
			fputc('\\', f);
		fputc(*text, f);
	}
}

static void man_group(FILE *f, const struct option_group *group)
{
	for (size_t i = 0; i < group->n; i++) {
		const struct option_item *item = &group->items[i];

		if (item->letter)
			fprintf(f, "*-%c*, ", item->letter);
		fprintf(f, "*--%s*", item->name);
		if (item->value)
			fprintf(f, " _%s_", item->value);
		fputs("\n\t", f);
		print_escaped(f, item->help);
		if (item->type == OPTION_CHOICE)
			for (size_t w = 0; item->words[w]; w++)
				fprintf(f, "%s*%s*", w == 0 ? ": " : ", ", item->words[w]);
		fputs("\n\n", f);
	}
}

static void man_command(FILE *f, const struct option_command *command)
{
	fprintf(f, "## %s", command->name);
	if (command->operands) /* scdoc takes a heading as it stands */
		fprintf(f, " %s", command->operands);
	fputs("\n\n", f);
	print_escaped(f, command->description ? command->description : command->summary);
	fputs("\n\n", f);
	man_group(f, &command->options);
	if (command->examples) {
		fputs("```\n", f);
		print_indented(f, "", command->examples);
		fputs("```\n\n", f);
	}
}

void option_help_man(FILE *f, const struct option_program *program)
{
	fputs("# OPTIONS\n\n", f);
	man_group(f, &program->options);
	fputs("# COMMANDS\n\n", f);
	for (size_t i = 0; i < program->n_commands; i++)
		man_command(f, &program->commands[i]);
}
