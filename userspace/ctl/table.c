/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Column widths from the cells, the widest shrinkable column cut until the whole fits, and no
 * blanks at the ends of lines. See table.h.
 */
#include <errno.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "ctl/table.h"

#define GAP 2
#define COLUMNS_MAX 24

struct cell {
	char *text; /* escaped */
	enum print_style style;
};

struct table {
	const struct table_column *columns;
	size_t n_columns;
	struct cell *cells;
	size_t n, capacity;
	bool no_memory;
};

struct table *table_new(const struct table_column *columns, size_t n)
{
	struct table *t = calloc(1, sizeof(*t));

	if (!t)
		return NULL;
	t->columns = columns;
	t->n_columns = n < COLUMNS_MAX ? n : COLUMNS_MAX;
	return t;
}

struct table *table_free(struct table *t)
{
	if (!t)
		return NULL;
	for (size_t i = 0; i < t->n; i++)
		free(t->cells[i].text);
	free(t->cells);
	free(t);
	return NULL;
}

static bool grow(struct table *t)
{
	size_t capacity = t->capacity ? 2 * t->capacity : 64;
	struct cell *cells;

	if (t->n < t->capacity)
		return true;
	cells = reallocarray(t->cells, capacity, sizeof(*cells));
	if (!cells)
		return false;
	t->cells = cells;
	t->capacity = capacity;
	return true;
}

void table_add_text(struct table *t, const char *text)
{
	const struct table_column *column = &t->columns[t->n % t->n_columns];
	char *copy;

	if ((!text || !*text) && *column->title)
		text = "-";
	copy = print_escape(text ? text : "");
	if (!copy || !grow(t)) {
		free(copy);
		t->no_memory = true;
		return;
	}
	t->cells[t->n++] = (struct cell){.text = copy};
}

void table_add(struct table *t, const char *format, ...)
{
	_cleanup_free_ char *text = NULL;
	va_list args;
	int n;

	va_start(args, format);
	n = vasprintf(&text, format, args);
	va_end(args);
	if (n < 0) {
		text = NULL;
		t->no_memory = true;
		return;
	}
	table_add_text(t, text);
}

void table_style(struct table *t, enum print_style style)
{
	if (t->n > 0)
		t->cells[t->n - 1].style = style;
}

size_t table_rows(const struct table *t)
{
	return t->n / t->n_columns;
}

static bool is_shown(const struct table *t, size_t column, const struct table_layout *layout)
{
	return !t->columns[column].wide || layout->wide;
}

static size_t measure(const struct table *t, const struct table_layout *layout, size_t *widths)
{
	size_t total = layout->indent ? print_width(layout->indent) : 0;
	size_t shown = 0;

	for (size_t c = 0; c < t->n_columns; c++) {
		widths[c] = 0;
		if (!is_shown(t, c, layout))
			continue;
		if (!layout->no_header)
			widths[c] = print_width(t->columns[c].title);
		for (size_t i = c; i < t->n; i += t->n_columns) {
			size_t w = print_width(t->cells[i].text);

			widths[c] = w > widths[c] ? w : widths[c];
		}
		total += widths[c] + (shown++ > 0 && widths[c] > 0 ? GAP : 0);
	}
	return total;
}

/* Takes from the widest column that may still give, until the line fits or none can. Returns the
 * width that is left. */
static size_t shrink(const struct table *t, size_t total, size_t bound, size_t *widths)
{
	while (bound > 0 && total > bound) {
		size_t widest = t->n_columns;

		for (size_t c = 0; c < t->n_columns; c++) {
			unsigned int least = t->columns[c].shrink_to;

			if (least == 0 || widths[c] <= least)
				continue;
			if (widest == t->n_columns || widths[c] > widths[widest])
				widest = c;
		}
		if (widest == t->n_columns)
			break;
		widths[widest]--;
		total--;
	}
	return total;
}

/* Bytes of the first `columns` characters. */
static size_t prefix(const char *text, size_t columns)
{
	size_t n = 0;

	while (text[n]) {
		if (((unsigned char)text[n] & 0xc0) != 0x80 && columns-- == 0)
			break;
		n++;
	}
	return n;
}

static void put_text(FILE *f, const char *text, size_t width)
{
	if (print_width(text) <= width)
		fputs(text, f);
	else if (width > 3)
		fprintf(f, "%.*s...", (int)prefix(text, width - 3), text);
	else
		fprintf(f, "%.*s", (int)prefix(text, width), text);
}

/* One line; `cells` NULL is the heading. Blanks are owed until something follows them. */
static void put_line(const struct table *t, const struct cell *cells, const size_t *widths, FILE *f,
		     const struct table_layout *layout)
{
	size_t owed = 0;

	fputs(layout->indent ? layout->indent : "", f);
	for (size_t c = 0; c < t->n_columns; c++) {
		const char *text = cells ? cells[c].text : t->columns[c].title;
		enum print_style style = cells ? cells[c].style : STYLE_PLAIN;
		size_t used = print_width(text);

		if (widths[c] == 0)
			continue;
		used = used < widths[c] ? used : widths[c];
		if (t->columns[c].right)
			owed += widths[c] - used;
		if (used > 0) {
			fprintf(f, "%*s", (int)owed, "");
			owed = 0;
			print_style_on(f, layout->colour, style);
			put_text(f, text, widths[c]);
			print_style_off(f, layout->colour, style);
		}
		if (!t->columns[c].right)
			owed += widths[c] - used;
		owed += GAP;
	}
	fputc('\n', f);
}

/* Cutting was not enough: whole columns go. A column of no width is not shown. */
static size_t leave_out(const struct table *t, size_t total, size_t bound, size_t *widths)
{
	for (size_t c = t->n_columns; c > 0 && bound > 0 && total > bound; c--) {
		if (!t->columns[c - 1].optional || widths[c - 1] == 0)
			continue;
		total -= widths[c - 1] + GAP;
		widths[c - 1] = 0;
	}
	return total;
}

int table_print(const struct table *t, FILE *f, const struct table_layout *layout)
{
	size_t widths[COLUMNS_MAX];
	size_t total;

	if (t->no_memory)
		return -ENOMEM;
	total = shrink(t, measure(t, layout, widths), layout->width, widths);
	(void)leave_out(t, total, layout->width, widths);
	if (!layout->no_header)
		put_line(t, NULL, widths, f, layout);
	for (size_t i = 0; i + t->n_columns <= t->n; i += t->n_columns)
		put_line(t, &t->cells[i], widths, f, layout);
	return 0;
}
