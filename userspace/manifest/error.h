/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What is wrong with a manifest, and where: a bounded list, sorted by place at the end. Only this
 * room includes it; the door is manifest.h.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "manifest/manifest.h"

struct place {
	size_t line, column; /* from 1 */
};

struct error_list {
	struct manifest_error *items;
	size_t n, more;
	bool no_memory;
};

__attribute__((format(printf, 3, 4))) void error_add(struct error_list *list, struct place place,
						     const char *format, ...);
/* Errors behind the end of a line, or on a line behind the last one, where libfyaml puts some, are
 * told where that line ends. */
void error_clamp(struct error_list *list, const char *text, size_t length);
/* By line and column; equal places stay in the order in which they were added. */
void error_sort(struct error_list *list);
void error_list_done(struct error_list *list);
