/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * See problem.h. Before: codec and store. After: the control API's errors and the manifest's
 * places. Never prints.
 */
#include "model/problem.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "model/limits.h"

static struct problem *problem_next(struct problems *p)
{
	if (p->n >= LIMIT_PROBLEMS) {
		p->more++;
		return NULL;
	}
	if (!p->items)
		p->items = calloc(LIMIT_PROBLEMS, sizeof(*p->items));
	if (!p->items)
		p->no_memory = true;
	return p->items ? &p->items[p->n] : NULL;
}

__attribute__((format(printf, 3, 0))) static void
problem_write(struct problems *p, const char *pointer, const char *format, va_list ap)
{
	_cleanup_free_ char *where = NULL, *message = NULL;
	struct problem *item = problem_next(p);

	if (!item)
		return;
	where = strdup(pointer);
	if (vasprintf(&message, format, ap) < 0)
		message = NULL;
	if (!where || !message) {
		p->no_memory = true;
		return;
	}
	*item = (struct problem){.pointer = TAKE_PTR(where), .message = TAKE_PTR(message)};
	p->n++;
}

void problem_add(struct problems *p, const char *pointer, const char *format, ...)
{
	va_list ap;

	va_start(ap, format);
	problem_write(p, pointer, format, ap);
	va_end(ap);
}

void problem_add_key(struct problems *p, const char *pointer, const char *format, ...)
{
	size_t before = p->n;
	va_list ap;

	va_start(ap, format);
	problem_write(p, pointer, format, ap);
	va_end(ap);
	if (p->n > before)
		p->items[before].at_key = true;
}

void problem_add_limit(struct problems *p, const char *pointer, const struct problem_limit *limit,
		       const char *format, ...)
{
	size_t before = p->n;
	va_list ap;

	va_start(ap, format);
	problem_write(p, pointer, format, ap);
	va_end(ap);
	if (p->n > before)
		p->items[before].limit = *limit;
}

bool problems_any(const struct problems *p)
{
	return p->n || p->more || p->no_memory;
}

void problems_done(struct problems *p)
{
	for (size_t i = 0; i < p->n; i++) {
		free(p->items[i].pointer);
		free(p->items[i].message);
	}
	free(p->items);
	*p = (struct problems){};
}
