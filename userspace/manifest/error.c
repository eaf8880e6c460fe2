/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * See error.h. Never prints: the command line does.
 */
#include "manifest/error.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

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
