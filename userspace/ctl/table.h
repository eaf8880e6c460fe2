/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Rows under a heading, aligned, no wider than they may be. Cells are escaped as they come in. The
 * table keeps everything until it is printed; it fetches nothing and decides no words.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

#include "base/cleanup.h"
#include "ctl/print.h"

struct table_column {
	const char *title;      /* "" for a remark at the end of a line */
	bool right;             /* numbers stand at the right */
	bool wide;              /* only with -o wide */
	bool optional;          /* left out where there is no room, the last one first */
	unsigned int shrink_to; /* may be cut with "..." down to this; 0: never cut */
};

struct table_layout {
	const char *indent; /* before each line; NULL: none */
	unsigned int width; /* columns of the whole; 0: no bound */
	bool wide;
	bool colour;
	bool no_header;
};

struct table;

/* `columns` is borrowed. NULL: no memory. */
struct table *table_new(const struct table_column *columns, size_t n);
struct table *table_free(struct table *t);
DEFINE_CLEANUP(struct table *, table_free);

/* The next cell, row by row. Empty text is shown as "-", except under an empty title. Running out
 * of memory is remembered and told by table_print. */
__attribute__((format(printf, 2, 3))) void table_add(struct table *t, const char *format, ...);
/* As table_add, of plain text (NULL as ""). */
void table_add_text(struct table *t, const char *text);
/* The style of the cell added last. */
void table_style(struct table *t, enum print_style style);
size_t table_rows(const struct table *t);
/* 0; -ENOMEM when a cell could not be kept: nothing was printed then. */
int table_print(const struct table *t, FILE *f, const struct table_layout *layout);
