/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Which objects a command line means: "services", "service shop/payments", "service/shop/payments",
 * "payments -n shop"; and their fetching as one list.
 */
#pragma once

#include "ctl/noun.h"

#define SELECT_NAMES_MAX 256

struct select_name {
	char namespace[64]; /* "": not given */
	char name[192];
};

struct select {
	const struct noun *noun;
	struct select_name names[SELECT_NAMES_MAX];
	size_t n; /* 0: all */
};

/* Reads the operands of the command line. < 0: told. */
int select_parse(struct ctl *c, struct select *ret);
/* Fetches a list: {"kind", "items": [...]} with the pages joined and only what was selected. A
 * selected name that does not exist is -ENOENT, told. The caller frees the document. */
int select_fetch(struct ctl *c, const struct select *s, yyjson_doc **ret);
/* As select_fetch for one name: the object itself. */
int select_fetch_one(struct ctl *c, const struct select *s, const struct select_name *name,
		     yyjson_doc **ret);
/* "service shop/payments", for messages. */
#define SELECT_SUBJECT 320
const char *select_subject(const struct noun *n, const struct select_name *name,
			   char buf[static SELECT_SUBJECT]);
