/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * See output.h. The YAML writer is ours because the answer is already a tree in memory, and because
 * what it may leave unquoted is decided here, on the safe side.
 */
#include <ctype.h>
#include <errno.h>
#include <string.h>
#include <strings.h>

#include "ctl/output.h"
#include "ctl/print.h"
#include "ctl/report.h"

bool output_is_data(const struct ctl *c)
{
	return c->o.format == FORMAT_JSON || c->o.format == FORMAT_YAML;
}

static bool is_keyword(const char *text)
{
	static const char *const words[] = {"true", "false", "yes", "no",  "on", "off",
					    "null", "y",     "n",   "nan", "inf"};

	for (size_t i = 0; i < ARRAY_SIZE(words); i++)
		if (strcasecmp(words[i], text) == 0)
			return true;
	return false;
}

/* Dotted IPv4, with or without more dots than a number may have. */
static bool is_dotted(const char *text)
{
	size_t dots = 0;

	for (; *text; text++) {
		if (*text == '.')
			dots++;
		else if (!isdigit((unsigned char)*text))
			return false;
	}
	return dots >= 2;
}

static bool is_plain(const char *text)
{
	size_t n = strlen(text);

	if (n == 0 || text[n - 1] == ':' || is_keyword(text))
		return false;
	if (!isalpha((unsigned char)text[0]) && text[0] != '/')
		return is_dotted(text);
	for (; *text; text++)
		if (!isalnum((unsigned char)*text) && !strchr("_./-:", *text))
			return false;
	return true;
}

static void put_quoted(FILE *f, const char *text)
{
	fputc('"', f);
	while (*text) {
		uint32_t c;
		size_t n = print_decode(text, &c);

		if (c == '"' || c == '\\')
			fprintf(f, "\\%c", (int)c);
		else if (c == '\n')
			fputs("\\n", f);
		else if (print_is_unsafe(c))
			fprintf(f, c <= 0xff ? "\\x%02x" : "\\u%04x", c == UINT32_MAX ? 0xfffd : c);
		else
			(void)fwrite(text, 1, n, f);
		text += n;
	}
	fputc('"', f);
}

static void put_string(FILE *f, const char *text)
{
	if (is_plain(text))
		fputs(text, f);
	else
		put_quoted(f, text);
}

static void put_scalar(FILE *f, yyjson_val *value)
{
	_cleanup_free_ char *text = NULL;

	if (yyjson_is_str(value)) {
		put_string(f, yyjson_get_str(value));
		return;
	}
	text = yyjson_val_write(value, 0,
				NULL); /* numbers, booleans, null, {} and [] are YAML, too */
	fputs(text ? text : "null", f);
}

/* A place in the tree being written: daemons may nest as deep as they like, so there is a stack
 * instead of recursion. */
struct level {
	yyjson_val *container;
	yyjson_arr_iter items;
	yyjson_obj_iter members;
};

#define DEPTH_MAX 64

static bool is_open(yyjson_val *v)
{
	return yyjson_is_ctn(v) && unsafe_yyjson_get_len(v) > 0;
}

static void level_init(struct level *l, yyjson_val *container)
{
	l->container = container;
	if (yyjson_is_arr(container))
		(void)yyjson_arr_iter_init(container, &l->items);
	else
		(void)yyjson_obj_iter_init(container, &l->members);
}

/* Indentation: a list inside a mapping stands as deep as its key, as people write it. */
static unsigned int indent_of(const struct level *stack, size_t depth)
{
	unsigned int n = 0;

	for (size_t i = 1; i < depth; i++)
		n += yyjson_is_obj(stack[i - 1].container) && yyjson_is_arr(stack[i].container) ? 0
												: 2;
	return n;
}

/* The next child, after its "key:" or "-" has been written; NULL: the container is done. */
static yyjson_val *next_child(FILE *f, struct level *l, unsigned int indent, bool *same_line)
{
	yyjson_val *key = NULL;
	bool list = yyjson_is_arr(l->container);

	if (list ? !yyjson_arr_iter_has_next(&l->items) : !yyjson_obj_iter_has_next(&l->members))
		return NULL;
	if (!*same_line)
		fprintf(f, "%*s", (int)indent, "");
	*same_line = false;
	if (list) {
		fputc('-', f);
		return yyjson_arr_iter_next(&l->items);
	}
	key = yyjson_obj_iter_next(&l->members);
	put_string(f, yyjson_get_str(key));
	fputc(':', f);
	return yyjson_obj_iter_get_val(key);
}

void output_yaml(FILE *f, yyjson_val *value)
{
	struct level stack[DEPTH_MAX];
	size_t depth = 1;
	bool same_line = false;

	if (!is_open(value)) {
		put_scalar(f, value);
		fputc('\n', f);
		return;
	}
	level_init(&stack[0], value);
	while (depth > 0) {
		struct level *l = &stack[depth - 1];
		yyjson_val *child = next_child(f, l, indent_of(stack, depth), &same_line);

		if (!child) {
			depth--;
			continue;
		}
		if (is_open(child) && depth < DEPTH_MAX) {
			/* a mapping begins on the line of its dash, everything else on the next */
			same_line = yyjson_is_arr(l->container);
			fputc(same_line ? ' ' : '\n', f);
			level_init(&stack[depth++], child);
			continue;
		}
		fputc(' ', f);
		put_scalar(f, child);
		fputc('\n', f);
	}
}

int output_value(const struct ctl *c, yyjson_val *value)
{
	yyjson_write_flag flags = YYJSON_WRITE_PRETTY_TWO_SPACES;
	_cleanup_free_ char *text = NULL;

	if (c->o.format == FORMAT_YAML) {
		output_yaml(c->out, value);
		return 0;
	}
	if (c->terminal) /* C1 and direction marks as \u escapes: the same JSON, harmless to look at
			  */
		flags |= YYJSON_WRITE_ESCAPE_UNICODE;
	text = yyjson_val_write(value, flags, NULL);
	if (!text)
		return report_error(c, -ENOMEM, "out of memory");
	fprintf(c->out, "%s\n", text);
	return 0;
}
