/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A program's command line as one table: from it come parsing (over getopt_long), help, the
 * options' section of the man page and shell completion, so that these cannot disagree.
 *
 * Before it: main's argv. After it: a plain struct with the values. It prints nothing unless asked
 * to and never ends the program. Parsing uses getopt's process-wide state: one thread only.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#define OPTION_LIST_MAX 64  /* times that one OPTION_LIST may be given */
#define OPTION_ITEMS_MAX 64 /* options that one command line can know */

enum option_type {
	OPTION_FLAG,     /* bool: true when given */
	OPTION_TEXT,     /* const char *: points into argv */
	OPTION_LIST,     /* struct option_list: may be given again */
	OPTION_CHOICE,   /* unsigned int: index in words */
	OPTION_DURATION, /* uint64_t: milliseconds, written "250ms", "30s", "5m", "2h" */
	OPTION_NUMBER,   /* uint64_t: decimal, within minimum..maximum */
};

struct option_list {
	const char *items[OPTION_LIST_MAX];
	size_t n;
};

struct option_item {
	const char *name; /* long name without dashes */
	char letter;      /* 0: none */
	enum option_type type;
	const char *value;        /* "FILE", for help and the kind of completion; NULL for a flag */
	const char *help;         /* one line, lower case, no full stop */
	const char *const *words; /* OPTION_CHOICE, ends with NULL; OPTION_TEXT: for completion */
	uint64_t minimum, maximum; /* OPTION_NUMBER, OPTION_DURATION; maximum 0: no bound */
	size_t offset;             /* of the member in the target struct */
};

struct option_group {
	const struct option_item *items;
	size_t n;
};

struct option_command {
	const char *name;        /* the verb; the program's name when it has no verbs */
	const char *aliases;     /* separated by spaces; NULL: none */
	const char *operands;    /* "NOUN [NAME...]", for help; NULL: none are taken */
	const char *summary;     /* one line */
	const char *description; /* paragraphs separated by empty lines; NULL: none */
	const char *examples;    /* one command per line, without the prompt; NULL: none */
	const char *const
		*words;       /* possible first operands, ends with NULL; NULL: not a closed list */
	const char *complete; /* shell command that prints further operands, "$noun" is the first
			       * one; "FILE": files; NULL: nothing */
	int min_operands, max_operands; /* max -1: no bound */
	struct option_group options;
	int (*run)(void *context); /* carried for the caller; not called from here */
};

struct option_program {
	const char *name;
	const char *summary;
	const char *notes;           /* printed below the commands: exit codes, environment */
	struct option_group options; /* understood by every command, before and after the verb */
	const struct option_command
		*commands; /* a program without verbs has one, of its own name */
	size_t n_commands;
};

struct option_error {
	char text[320]; /* one sentence: what was wrong, and what may have been meant */
};

/*
 * Parses argv[1..]; argv is permuted so that operands come last. With `stop`, parsing ends at the
 * first operand (a verb). Values go into `target`, which holds the defaults; on failure it may be
 * partly changed. 0 and the index of the first operand; -EINVAL with ret_error set.
 */
struct option_parser {
	const struct option_group *groups;
	size_t n_groups;
	bool stop;
	void *target;
};
int option_parse(const struct option_parser *parser, int argc, char **argv, int *ret_first,
		 struct option_error *ret_error);

/* The command of that name or alias; NULL: none. */
const struct option_command *option_find_command(const struct option_program *program,
						 const char *name);
/* The word most like `word`, for "did you mean"; NULL when none is near. `words` ends with NULL. */
const char *option_suggest(const char *word, const char *const *words);
/* As option_suggest, over the names of the commands. */
const char *option_suggest_command(const struct option_program *program, const char *word);
/* Checks the number of operands. 0; -EINVAL with ret_error set. */
int option_check_operands(const struct option_command *command, int n,
			  struct option_error *ret_error);
/* "250ms", "30s", "5m", "2h", "1d", "0" to milliseconds. -EINVAL; -ERANGE when it does not fit. */
int option_parse_duration(const char *text, uint64_t *ret_ms);

/* What the program does, its commands and common options. */
void option_help_program(FILE *f, const struct option_program *program);
/* One command: usage, description, its own and the common options, examples. */
void option_help_command(FILE *f, const struct option_program *program,
			 const struct option_command *command);
/* The commands and options as scdoc text, for the man page. */
void option_help_man(FILE *f, const struct option_program *program);

/* The completion script of `shell`: "bash", "zsh" or "fish". -EINVAL: another shell. */
int option_complete(FILE *f, const struct option_program *program, const char *shell);
