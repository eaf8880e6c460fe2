/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The manifests of -f: files, folders and standard input, read whole and bounded, parsed, and their
 * errors told all at once. After it: one set of objects, each knowing the file it came from.
 */
#pragma once

#include "ctl/ctl.h"
#include "manifest/manifest.h"

#define INPUT_FILES_MAX 1024 /* of all -f together, folders opened */

struct input {
	struct manifest *manifests;
	char **names; /* of the files, as errors show them */
	size_t n;
	size_t n_objects; /* over all files */
	const char *done; /* what errors say was not done: "applied", "deleted" */
};

/* Reads and parses every file of c->o.files. < 0 (told) when one cannot be read (-EIO, -ENOENT ...)
 * or has errors (-EINVAL): nothing is to be done then. The caller: input_done. */
int input_read(struct ctl *c, const char *done, struct input *ret);
void input_done(struct input *in);
/* The file of the i-th object over all; ret_at is its index there. NULL: no such object. */
const struct manifest *input_find(const struct input *in, size_t i, size_t *ret_at);
