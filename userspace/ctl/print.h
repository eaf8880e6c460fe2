/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Text that somebody else wrote, made fit for a terminal: names, labels and messages come from
 * registries and may hold anything. Control characters and those that turn the direction of text
 * are shown as escapes, so that they cannot move the cursor, hide a line or lie about a name.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

enum print_style { STYLE_PLAIN, STYLE_GOOD, STYLE_WARN, STYLE_BAD, STYLE_DIM, STYLE_BOLD };

/* One character of UTF-8 at `text` (not its end). Returns its length; 1 and *ret UINT32_MAX for a
 * byte that is not UTF-8. */
size_t print_decode(const char *text, uint32_t *ret);
/* True for what must not reach a terminal: C0, DEL, C1, direction marks, line separators, bad
 * UTF-8. */
bool print_is_unsafe(uint32_t c);
/* A copy with the unsafe escaped (\n, \x1b, \u202e); the caller frees. NULL: no memory. */
char *print_escape(const char *text);
/* Writes `text` escaped; NULL prints nothing. Returns the number of columns, one per character. */
size_t print_text(FILE *f, const char *text);
size_t print_width(const char *escaped);
/* Start and end of a style; nothing when `colour` is false. */
void print_style_on(FILE *f, bool colour, enum print_style style);
void print_style_off(FILE *f, bool colour, enum print_style style);
