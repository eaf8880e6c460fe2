/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What a plain YAML scalar means, by the core schema of YAML 1.2 (10.3.2): null, true, false and
 * numbers in the forms listed there; everything else, "no", "on", "12:30:45" and "1_000" too, is
 * text. And what single quotes hold.
 */
#pragma once

#include <stddef.h>
#include <yyjson.h>

/* NULL: no memory. An integer beyond 64 bits becomes a real. */
yyjson_mut_val *scalar_resolve(yyjson_mut_doc *doc, const char *text, size_t length);

/* What stands between single quotes (7.3.2), of `length` bytes, as text: doubled quotes are one,
 * lines are folded. `ret` has room for `length` bytes; returns how many were written. */
size_t scalar_unquote(const char *text, size_t length, char *ret);
