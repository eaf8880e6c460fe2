/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * See error.h. Never prints: the command line does.
 */
#include "manifest/error.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/text.h"
#include "model/limits.h"

void error_add(struct error_list *list, struct place place, const char *format, ...)
{
	char *message;
	va_list ap;
	int n;

	if (list->n == LIMIT_PROBLEMS) {
		list->more++;
		return;
	}
	if (!list->items)
		list->items = calloc(LIMIT_PROBLEMS, sizeof(*list->items));
	va_start(ap, format);
	n = vasprintf(&message, format, ap);
	va_end(ap);
	if (n >= 0 && list->items)
		list->items[list->n++] = (struct manifest_error){place.line, place.column, message};
	else if (n >= 0)
		free(message);
	list->no_memory = list->no_memory || n < 0 || !list->items;
}

/* Behind the last character of the line that begins at `start`. */
static size_t end_column(const char *text, size_t length, size_t start)
{
	size_t column = 1, n;

	for (size_t i = start; i < length && !strchr("\r\n", text[i]); i += n, column++) {
		n = text_utf8_length(text + i, length - i);
		n = n ? n : 1; /* the byte that is the error */
	}
	return column;
}

static void clamp(struct manifest_error *e, const char *text, size_t length)
{
	size_t line = 1, start = 0, end;

	e->line = e->line ? e->line : 1;
	e->column = e->column ? e->column : 1;
	for (size_t i = 0; i + 1 < length && line < e->line; i++)
		if (text[i] == '\n') {
			line++;
			start = i + 1;
		}
	end = end_column(text, length, start);
	if (line < e->line || e->column > end)
		e->column = end;
	e->line = line;
}

void error_clamp(struct error_list *list, const char *text, size_t length)
{
	for (size_t i = 0; i < list->n; i++)
		clamp(&list->items[i], text, length);
}

static bool is_before(const struct manifest_error *a, const struct manifest_error *b)
{
	return a->line < b->line || (a->line == b->line && a->column < b->column);
}

/* By insertion: there are few, and nearly in order. */
void error_sort(struct error_list *list)
{
	for (size_t i = 1; i < list->n; i++) {
		struct manifest_error e = list->items[i];
		size_t k = i;

		for (; k > 0 && is_before(&e, &list->items[k - 1]); k--)
			list->items[k] = list->items[k - 1];
		list->items[k] = e;
	}
}

void error_list_done(struct error_list *list)
{
	for (size_t i = 0; i < list->n; i++)
		free(list->items[i].message);
	free(list->items);
	*list = (struct error_list){};
}
