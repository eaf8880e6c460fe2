/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Completion scripts from the table of option.h, for bash, zsh and fish. The scripts hold the
 * table itself, so that a key press starts no process unless names of live objects are wanted.
 */
#include <errno.h>
#include <string.h>

#include "base/option.h"

/* Inside single quotes of a shell. */
static void print_quoted(FILE *f, const char *text)
{
	fputc('\'', f);
	for (; *text; text++) {
		if (*text == '\'')
			fputs("'\\''", f);
		else
			fputc(*text, f);
	}
	fputc('\'', f);
}

static void print_words(FILE *f, const char *const *words)
{
	for (size_t i = 0; words && words[i]; i++)
		fprintf(f, "%s%s", i ? " " : "", words[i]);
}

static void print_names(FILE *f, const struct option_group *group)
{
	for (size_t i = 0; i < group->n; i++) {
		fprintf(f, " --%s", group->items[i].name);
		if (group->items[i].letter)
			fprintf(f, " -%c", group->items[i].letter);
	}
}

static bool is_file(const struct option_item *item)
{
	return item->value && (strstr(item->value, "FILE") || strstr(item->value, "PATH") ||
			       strstr(item->value, "DIR"));
}

/* --- bash --------------------------------------------------------------------------------- */

/* One case arm: what may follow an option that takes a value. */
static void bash_values(FILE *f, const struct option_group *group)
{
	for (size_t i = 0; i < group->n; i++) {
		const struct option_item *item = &group->items[i];

		if (item->type == OPTION_FLAG)
			continue;
		fprintf(f, "\t--%s", item->name);
		if (item->letter)
			fprintf(f, "|-%c", item->letter);
		fputs(") ", f);
		if (item->words) {
			fputs("words='", f);
			print_words(f, item->words);
			fputs("'", f);
		} else {
			fputs(is_file(item) ? "files=1" : ":", f);
		}
		fputs("; value=1 ;;\n", f);
	}
}

/* The options that take a value. */
static void bash_takes(FILE *f, const struct option_group *group)
{
	for (size_t i = 0; i < group->n; i++) {
		struct option_group one = {&group->items[i], 1};

		if (group->items[i].type != OPTION_FLAG)
			print_names(f, &one);
	}
}

static void bash_pattern(FILE *f, const struct option_command *command)
{
	fputs(command->name, f);
	for (const char *p = command->aliases; p && *p; p += strspn(p, " ")) {
		size_t n = strcspn(p, " ");

		fprintf(f, "|%.*s", (int)n, p);
		p += n;
	}
}

static void bash_commands(FILE *f, const struct option_program *program)
{
	for (size_t i = 0; i < program->n_commands; i++) {
		const struct option_command *command = &program->commands[i];

		fputs("\t", f);
		bash_pattern(f, command);
		fputs(")\n\t\toptions='", f);
		print_names(f, &command->options);
		fputs("'\n\t\tcase \"$previous\" in\n", f);
		bash_values(f, &command->options);
		fputs("\t\tesac\n", f);
		if (command->words) {
			fputs("\t\t[ \"$operands$value\" = 0 ] && words=\"$words ", f);
			print_words(f, command->words);
			fputs("\"\n", f);
		}
		if (command->complete && strcmp(command->complete, "FILE") == 0)
			fputs("\t\t[ -n \"$value\" ] || files=1\n", f);
		else if (command->complete)
			fprintf(f,
				"\t\t[ -z \"$value\" ] && [ \"$operands\" -gt 0 ] && "
				"words=\"$words $(%s)\"\n",
				command->complete);
		fputs("\t\t;;\n", f);
	}
}

static const char bash_head[] =
	"\tlocal word=\"${COMP_WORDS[COMP_CWORD]}\" previous=\"${COMP_WORDS[COMP_CWORD-1]}\"\n"
	"\tlocal verb='' noun='' operands=0 words='' options='' files='' value='' i\n";

/* What stands before the word: the verb, its operands; not the values of options. */
static const char bash_scan[] =
	"\tfor ((i = 1; i < COMP_CWORD; i++)); do\n"
	"\t\tcase \"${COMP_WORDS[i]}\" in\n"
	"\t\t-*)\tcase \"$takes \" in *\" ${COMP_WORDS[i]} \"*) i=$((i + 1)) ;; esac ;;\n"
	"\t\t*)\tif [ -z \"$verb\" ]; then\n"
	"\t\t\t\tverb=\"${COMP_WORDS[i]}\"\n"
	"\t\t\t\tcase \"$verb\" in\n";
static const char bash_scanned[] =
	"\t\t\t\tesac\n"
	"\t\t\telse [ \"$operands\" = 0 ] && noun=\"${COMP_WORDS[i]}\"; operands=$((operands + 1)); fi ;;\n"
	"\t\tesac\n"
	"\tdone\n"
	"\tcase \"$previous\" in\n";

static const char bash_tail[] =
	"\tesac\n"
	"\tif [ -n \"$value\" ] && [ -z \"$files\" ]; then options=''; fi\n"
	"\tcase \"$word\" in -*) words=\"$options $common\" ;; esac\n"
	"\tCOMPREPLY=()\n"
	"\t[ -n \"$files\" ] && mapfile -t COMPREPLY < <(compgen -f -- \"$word\")\n"
	"\tmapfile -t -O \"${#COMPREPLY[@]}\" COMPREPLY < <(compgen -W \"$words\" -- \"$word\")\n"
	"}\n";

static void complete_bash(FILE *f, const struct option_program *program)
{
	fprintf(f, "# bash completion of %s, made by \"%s completion bash\"\n_%s()\n{\n",
		program->name, program->name, program->name);
	fputs(bash_head, f);
	fputs("\tlocal takes='", f);
	bash_takes(f, &program->options);
	fputs("'\n", f);
	fputs(bash_scan, f);
	for (size_t i = 0; i < program->n_commands; i++) {
		fputs("\t\t\t\t", f);
		bash_pattern(f, &program->commands[i]);
		fputs(") takes=\"$takes", f);
		bash_takes(f, &program->commands[i].options);
		fputs("\" ;;\n", f);
	}
	fputs(bash_scanned, f);
	bash_values(f, &program->options);
	fputs("\tesac\n\tlocal common='", f);
	print_names(f, &program->options);
	fputs("'\n\t[ -n \"$value\" ] || case \"$verb\" in\n\t'') words='", f);
	for (size_t i = 0; i < program->n_commands; i++)
		fprintf(f, "%s%s", i ? " " : "", program->commands[i].name);
	fputs("' ;;\n", f);
	bash_commands(f, program);
	fputs(bash_tail, f);
	fprintf(f, "complete -o filenames -F _%s %s\n", program->name, program->name);
}

/* --- zsh ---------------------------------------------------------------------------------- */

/* In an _arguments specification, inside single quotes: brackets, colons and quotes are syntax. */
static void zsh_text(FILE *f, const char *text)
{
	for (; *text; text++) {
		if (*text == '\'')
			fputs("'\\''", f);
		else if (strchr("[]:\\", *text))
			fprintf(f, "\\%c", *text);
		else
			fputc(*text, f);
	}
}

static void zsh_value(FILE *f, const struct option_item *item)
{
	fprintf(f, ":%s:", item->value ? item->value : "VALUE");
	if (item->words) {
		fputs("(", f);
		print_words(f, item->words);
		fputs(")", f);
	} else if (is_file(item)) {
		fputs("_files", f);
	}
}

static void zsh_group(FILE *f, const struct option_group *group)
{
	for (size_t i = 0; i < group->n; i++) {
		const struct option_item *item = &group->items[i];
		char names[2][64] = {"", ""};

		(void)snprintf(names[0], sizeof(names[0]), "--%s", item->name);
		if (item->letter)
			(void)snprintf(names[1], sizeof(names[1]), "-%c", item->letter);
		for (size_t k = 0; k < 2 && names[k][0]; k++) {
			fprintf(f, "\t\t\t'*%s[", names[k]);
			zsh_text(f, item->help);
			fputs("]", f);
			if (item->type != OPTION_FLAG)
				zsh_value(f, item);
			fputs("' \\\n", f);
		}
	}
}

static void zsh_command(FILE *f, const struct option_program *program,
			const struct option_command *command)
{
	fputs("\t\t", f);
	bash_pattern(f, command);
	fputs(")\n\t\t\tlocal noun=${words[3]}\n\t\t\t_arguments \\\n", f);
	zsh_group(f, &command->options);
	zsh_group(f, &program->options);
	if (command->words) {
		fputs("\t\t\t'2:what:(", f);
		print_words(f, command->words);
		fputs(")' \\\n", f);
	}
	if (command->complete && strcmp(command->complete, "FILE") == 0)
		fputs("\t\t\t'*:file:_files' \\\n", f);
	else if (command->complete)
		fprintf(f, "\t\t\t\"*:name:($(%s))\" \\\n", command->complete);
	fputs("\t\t\t'1: :' ;;\n", f);
}

static void complete_zsh(FILE *f, const struct option_program *program)
{
	fprintf(f, "#compdef %s\n# zsh completion, made by \"%s completion zsh\"\n_%s() {\n",
		program->name, program->name, program->name);
	fputs("\tlocal -a verbs=(\n", f);
	for (size_t i = 0; i < program->n_commands; i++) {
		fprintf(f, "\t\t'%s:", program->commands[i].name);
		zsh_text(f, program->commands[i].summary);
		fputs("'\n", f);
	}
	fputs("\t)\n\tif (( CURRENT == 2 )); then\n\t\t_describe command verbs\n\telse\n"
	      "\t\tcase ${words[2]} in\n",
	      f);
	for (size_t i = 0; i < program->n_commands; i++)
		zsh_command(f, program, &program->commands[i]);
	fprintf(f, "\t\tesac\n\tfi\n}\ncompdef _%s %s\n", program->name, program->name);
}

/* --- fish --------------------------------------------------------------------------------- */

static void fish_group(FILE *f, const char *program, const char *verb,
		       const struct option_group *group)
{
	for (size_t i = 0; i < group->n; i++) {
		const struct option_item *item = &group->items[i];

		fprintf(f, "complete -c %s", program);
		if (verb)
			fprintf(f, " -n '__fish_seen_subcommand_from %s'", verb);
		fprintf(f, " -l %s", item->name);
		if (item->letter)
			fprintf(f, " -s %c", item->letter);
		if (item->type != OPTION_FLAG)
			fputs(is_file(item) ? " -rF" : " -x", f);
		if (item->words) {
			fputs(" -a '", f);
			print_words(f, item->words);
			fputs("'", f);
		}
		fputs(" -d ", f);
		print_quoted(f, item->help);
		fputc('\n', f);
	}
}

static void complete_fish(FILE *f, const struct option_program *program)
{
	fprintf(f, "# fish completion, made by \"%s completion fish\"\ncomplete -c %s -f\n",
		program->name, program->name);
	for (size_t i = 0; i < program->n_commands; i++) {
		const struct option_command *command = &program->commands[i];

		fprintf(f, "complete -c %s -n __fish_use_subcommand -a %s -d ", program->name,
			command->name);
		print_quoted(f, command->summary);
		fputc('\n', f);
		if (command->words) {
			fprintf(f, "complete -c %s -n '__fish_seen_subcommand_from %s' -a '",
				program->name, command->name);
			print_words(f, command->words);
			fputs("'\n", f);
		}
		if (command->complete && strcmp(command->complete, "FILE") == 0)
			fprintf(f, "complete -c %s -n '__fish_seen_subcommand_from %s' -F\n",
				program->name, command->name);
		fish_group(f, program->name, command->name, &command->options);
	}
	fish_group(f, program->name, NULL, &program->options);
}

int option_complete(FILE *f, const struct option_program *program, const char *shell)
{
	static const struct {
		const char *shell;
		void (*write)(FILE *f, const struct option_program *program);
	} writers[] = {{"bash", complete_bash}, {"zsh", complete_zsh}, {"fish", complete_fish}};

	for (size_t i = 0; i < sizeof(writers) / sizeof(writers[0]); i++) {
		if (strcmp(writers[i].shell, shell) == 0) {
			writers[i].write(f, program);
			return 0;
		}
	}
	return -EINVAL;
}
