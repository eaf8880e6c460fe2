/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The part of a URI behind the question mark, strictly: known names only, each once unless it may
 * repeat, percent-encoding that means text. Private to control/.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "model/problem.h"

#define QUERY_ARGS 24

struct query {
	struct query_arg {
		char *name, *value; /* point into text */
	} args[QUERY_ARGS];
	size_t n;
	char *text; /* owned */
};

/* Decodes %XX (and + as a blank when `plus`) in place; -EINVAL: bad escape or a control character.
 */
int query_unescape(char *text, bool plus);
/* `allowed`: names separated by blanks; "label*" may repeat. -EINVAL with problems; -ENOMEM. */
int query_parse(const char *text, const char *allowed, struct problems *problems,
		struct query *ret);
void query_done(struct query *q);
/* NULL: not given. */
const char *query_get(const struct query *q, const char *name);
/* true/false (or the bare name); -EINVAL with a problem. ret is false when not given. */
int query_bool(const struct query *q, const char *name, struct problems *problems, bool *ret);
struct query_range {
	uint64_t min, max;
};
/* *ret keeps its value when not given. */
int query_number(const struct query *q, const char *name, struct query_range range,
		 struct problems *problems, uint64_t *ret);
/* Decimal or 0x hexadecimal digits only, no sign, no blank. -EINVAL, -ERANGE. */
int number_parse(const char *text, uint64_t *ret);
