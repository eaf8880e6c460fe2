/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Parsing by the table: builds getopt's arrays from it, stores values into the target, and turns
 * getopt's terse answers into sentences. Nothing here prints; help and completion are the rooms
 * next door (option_help.c, option_complete.c).
 */
#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <stdarg.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/option.h"

#define LONG_BASE                                                                                  \
	256 /* getopt values of items; above every letter, so that both can be told apart */

/* getopt's view of the table. */
struct view {
	const struct option_item *items[OPTION_ITEMS_MAX];
	size_t n;
	struct option longs[OPTION_ITEMS_MAX + 1];
	char letters[2 * OPTION_ITEMS_MAX + 3];
};

__attribute__((format(printf, 2, 3))) static int fail(struct option_error *error,
						      const char *format, ...)
{
	va_list args;

	va_start(args, format);
	(void)vsnprintf(error->text, sizeof(error->text), format, args);
	va_end(args);
	return -EINVAL;
}

/* `at` is where the next letter goes; so is what it returns. */
static size_t view_add(struct view *v, const struct option_item *item, size_t at)
{
	bool has_value = item->type != OPTION_FLAG;

	v->longs[v->n] = (struct option){
		.name = item->name,
		.has_arg = has_value ? required_argument : no_argument,
		.val = LONG_BASE + (int)v->n,
	};
	if (item->letter) {
		v->letters[at++] = item->letter;
		if (has_value)
			v->letters[at++] = ':';
	}
	v->items[v->n++] = item;
	return at;
}

static void view_init(struct view *v, const struct option_parser *parser)
{
	size_t at = 0;

	memset(v, 0, sizeof(*v));
	if (parser->stop)
		v->letters[at++] = '+';
	v->letters[at++] = ':';
	for (size_t g = 0; g < parser->n_groups; g++) {
		for (size_t i = 0; i < parser->groups[g].n && v->n < OPTION_ITEMS_MAX; i++)
			at = view_add(v, &parser->groups[g].items[i], at);
	}
}

static const struct option_item *view_find(const struct view *v, int value)
{
	if (value >= LONG_BASE && (size_t)(value - LONG_BASE) < v->n)
		return v->items[value - LONG_BASE];
	for (size_t i = 0; i < v->n; i++)
		if (v->items[i]->letter && v->items[i]->letter == value)
			return v->items[i];
	return NULL;
}

int option_parse_duration(const char *text, uint64_t *ret_ms)
{
	static const struct {
		const char *unit;
		uint64_t ms;
	} units[] = {{"ms", 1}, {"s", 1000}, {"m", 60000}, {"h", 3600000}, {"d", 86400000}};
	size_t digits = strspn(text, "0123456789");
	uint64_t n, ms;

	if (digits == 0 || digits > 19)
		return digits == 0 ? -EINVAL : -ERANGE;
	errno = 0;
	n = strtoull(text, NULL, 10);
	if (errno)
		return -ERANGE;
	if (n == 0 && text[digits] == '\0') {
		*ret_ms = 0;
		return 0;
	}
	for (size_t i = 0; i < ARRAY_SIZE(units); i++) {
		if (strcmp(text + digits, units[i].unit) != 0)
			continue;
		if (__builtin_mul_overflow(n, units[i].ms, &ms))
			return -ERANGE;
		*ret_ms = ms;
		return 0;
	}
	return -EINVAL;
}

static int store_number(const struct option_item *item, const char *text, uint64_t *ret,
			struct option_error *error)
{
	uint64_t maximum = item->maximum ? item->maximum : UINT64_MAX;
	uint64_t n;
	int r = 0;

	if (item->type == OPTION_DURATION) {
		r = option_parse_duration(text, &n);
		if (r < 0)
			return fail(error,
				    "--%s: \"%s\" is not a duration such as 250ms, 30s or 5m",
				    item->name, text);
	} else {
		errno = 0;
		n = strtoull(text, NULL, 10);
		if (text[0] == '\0' || text[strspn(text, "0123456789")] != '\0' || errno)
			return fail(error, "--%s: \"%s\" is not a whole number", item->name, text);
	}
	if (n < item->minimum || n > maximum)
		return fail(error, "--%s: %s is out of range (%" PRIu64 " to %" PRIu64 "%s)",
			    item->name, text, item->minimum, maximum,
			    item->type == OPTION_DURATION ? " ms" : "");
	*ret = n;
	return 0;
}

static int store_choice(const struct option_item *item, const char *text, unsigned int *ret,
			struct option_error *error)
{
	char known[160] = "";
	const char *near;

	for (unsigned int i = 0; item->words[i]; i++) {
		size_t at = strlen(known);

		if (strcmp(item->words[i], text) == 0) {
			*ret = i;
			return 0;
		}
		(void)snprintf(known + at, sizeof(known) - at, "%s%s", i ? ", " : "",
			       item->words[i]);
	}
	near = option_suggest(text, item->words);
	if (near)
		return fail(error, "--%s: unknown value \"%s\"; did you mean \"%s\"? (%s)",
			    item->name, text, near, known);
	return fail(error, "--%s: unknown value \"%s\"; it is one of %s", item->name, text, known);
}

static int store_list(const struct option_item *item, const char *text, struct option_list *list,
		      struct option_error *error)
{
	if (list->n >= OPTION_LIST_MAX)
		return fail(error, "--%s was given more than %d times", item->name,
			    OPTION_LIST_MAX);
	list->items[list->n++] = text;
	return 0;
}

static int store(const struct option_item *item, const char *text, void *target,
		 struct option_error *error)
{
	void *member = (char *)target + item->offset;

	switch (item->type) {
	case OPTION_FLAG:
		*(bool *)member = true;
		return 0;
	case OPTION_TEXT:
		*(const char **)member = text;
		return 0;
	case OPTION_LIST:
		return store_list(item, text, member, error);
	case OPTION_CHOICE:
		return store_choice(item, text, member, error);
	case OPTION_DURATION:
	case OPTION_NUMBER:
		return store_number(item, text, member, error);
	}
	return fail(error, "--%s: has no type", item->name);
}

/* getopt said '?': an unknown letter or name, an ambiguous name, or a value for a flag. */
static int fail_unknown(const struct view *v, const char *word, struct option_error *error)
{
	const char *names[OPTION_ITEMS_MAX + 1] = {NULL};
	const struct option_item *flag = optopt ? view_find(v, optopt) : NULL;
	char name[64];
	const char *near;
	size_t matches = 0;

	if (flag)
		return fail(error, "option --%s takes no value", flag->name);
	if (optopt)
		return fail(error, "unknown option -%c", optopt);
	(void)snprintf(name, sizeof(name), "%.*s", (int)strcspn(word + 2, "="), word + 2);
	for (size_t i = 0; i < v->n; i++) {
		names[i] = v->items[i]->name;
		matches += strncmp(names[i], name, strlen(name)) == 0;
	}
	if (matches > 1)
		return fail(error, "option --%s could mean more than one thing", name);
	near = option_suggest(name, names);
	if (near)
		return fail(error, "unknown option --%s; did you mean --%s?", name, near);
	return fail(error, "unknown option --%s", name);
}

int option_parse(const struct option_parser *parser, int argc, char **argv, int *ret_first,
		 struct option_error *ret_error)
{
	struct view v;
	int c, r;

	view_init(&v, parser);
	optind = 0; /* glibc: start afresh, and forget what an earlier parse left half-read */
	opterr = 0;
	while ((c = getopt_long(argc, argv, v.letters, v.longs, NULL)) != -1) {
		const struct option_item *item;

		if (c == '?')
			return fail_unknown(&v, argv[optind - 1], ret_error);
		item = view_find(&v, c == ':' ? optopt : c);
		if (!item)
			return fail(ret_error, "unknown option -%c", optopt);
		if (c == ':')
			return fail(ret_error, "option --%s needs a value: %s", item->name,
				    item->value ? item->value : "VALUE");
		r = store(item, optarg, parser->target, ret_error);
		if (r < 0)
			return r;
	}
	*ret_first = optind;
	return 0;
}

static bool has_alias(const char *aliases, const char *name)
{
	size_t length = strlen(name);

	for (const char *p = aliases; p && *p; p += strspn(p, " ")) {
		size_t word = strcspn(p, " ");

		if (word == length && strncmp(p, name, length) == 0)
			return true;
		p += word;
	}
	return false;
}

const struct option_command *option_find_command(const struct option_program *program,
						 const char *name)
{
	for (size_t i = 0; i < program->n_commands; i++)
		if (strcmp(program->commands[i].name, name) == 0 ||
		    has_alias(program->commands[i].aliases, name))
			return &program->commands[i];
	return NULL;
}

int option_check_operands(const struct option_command *command, int n,
			  struct option_error *ret_error)
{
	if (n < command->min_operands)
		return fail(ret_error, "%s needs %s", command->name,
			    command->operands ? command->operands : "an operand");
	if (command->max_operands >= 0 && n > command->max_operands && command->max_operands == 0)
		return fail(ret_error, "%s takes no operands", command->name);
	if (command->max_operands >= 0 && n > command->max_operands)
		return fail(ret_error, "too many operands: %s takes %s", command->name,
			    command->operands);
	return 0;
}
