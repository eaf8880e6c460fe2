/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * YAML text, document by document, to JSON values and to where each of them stood. Knows YAML and
 * nothing of Sinew. Everything is bounded: depth, values, keys, what aliases expand to.
 */
#pragma once

#include <stdint.h>
#include <yyjson.h>

#include "manifest/error.h"

/* One value of a document. Nodes lie in the order of the text: a node's parts follow it directly,
 * and its next sibling follows those. */
struct yaml_node {
	struct place place, key_place;
	uint32_t size;   /* nodes, itself included */
	uint32_t depth;  /* 0: the document's value */
	const char *key; /* NULL: element of a list, or the document's value */
	size_t key_length;
	yyjson_mut_val *value;
};

struct yaml;

/* Reads `text`, which must stay, into values of `doc`; errors go to `errors`. -ENOMEM. */
int yaml_open(const char *text, size_t length, yyjson_mut_doc *doc, struct error_list *errors,
	      struct yaml **ret);
struct yaml *yaml_close(struct yaml *y); /* NULL is fine; returns NULL */
DEFINE_CLEANUP(struct yaml *, yaml_close);

/*
 * The next document. 1: its nodes are in ret, valid until the next call; 0: there are no more;
 * -EBADMSG: it cannot be read on, an error was added; -ENOMEM. Smaller errors (a key given twice)
 * are added and the document is delivered all the same.
 */
int yaml_next(struct yaml *y, const struct yaml_node **ret);

/* The node that a JSON pointer leads to below `root`, or the last one on the way that exists. */
const struct yaml_node *yaml_find(const struct yaml_node *root, const char *pointer);
