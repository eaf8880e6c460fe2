/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * YAML (or JSON) documents to objects, every error at file:line:column. Uses the model's codec for
 * all meaning; this room only knows YAML and where things stood.
 */
#pragma once

#include <stddef.h>

#include "model/codec.h"

struct manifest_error {
	size_t line, column; /* from 1; 0: the whole file */
	char *message;
};

struct manifest {
	char *name;          /* file name for errors; "-" is standard input */
	yyjson_mut_doc *doc; /* holds one JSON value per document, as sent to the API */
	yyjson_mut_val **items;
	struct object *objects; /* decoded, same length */
	size_t *lines;          /* on which they are named, same length */
	size_t n;
	struct manifest_error
		*errors; /* sorted by place; objects are not to be used if there are any */
	size_t n_errors, more_errors;
};

/* Parses text. 0 even when the text has errors (they are in ret->errors); -E2BIG over
 * LIMIT_MANIFEST; -ENOMEM. */
int manifest_parse(const char *name, const char *text, size_t length, struct manifest *ret);
void manifest_done(struct manifest *m);
