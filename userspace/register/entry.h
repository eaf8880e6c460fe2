/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * One instance in one registry: what it is to be, what the registry has as far as is known, and
 * what is to be done next. Pure: time is the caller's.
 */
#pragma once

#include "register/writer.h"

enum entry_state {
	ENTRY_PENDING,    /* it is to be there, and nothing went wrong */
	ENTRY_REGISTERED, /* it is there, and kept */
	ENTRY_FAILING,    /* the last try went wrong; see text */
	ENTRY_LEAVING,    /* it is to go */
	ENTRY_FOUND,      /* it was there before us; whether it is to stay is not known yet */
	_ENTRY_STATE_MAX
};
const char *entry_state_name(enum entry_state s); /* "registered": a metric's label */

#define ENTRY_UNSURE 1u

struct entry {
	struct writer_op op;
	bool under_way;
	char *id, *service;
	struct instance *wanted; /* NULL: it is to go, unless it is only found */
	struct instance *sent;   /* of a PUT under way */
	uint64_t told; /* hash of what the registry has; 0: nothing; ENTRY_UNSURE: it has one */
	bool maybe;    /* the registry may have it */
	bool found;    /* see ENTRY_FOUND */
	uint64_t lease, ttl_ms;
	uint64_t next_ms;  /* loop time: nothing but KEEP before it */
	uint64_t keep_ms;  /* loop time of the next KEEP */
	uint64_t wait_ms;  /* the last wait after a refusal; 0: all is well */
	uint64_t since_ms; /* CLOCK_REALTIME: of its state */
	enum entry_state state;
	char text[200]; /* of what went wrong; "": nothing */
};

/* Copies the texts. -ENOMEM. */
int entry_new(const char *id, const char *service, struct entry **ret);
struct entry *entry_free(struct entry *e); /* NULL is fine; returns NULL */

/* From now on it is to be like i (a reference is taken), or to go (NULL). Whether that is news. */
bool entry_want(struct entry *e, struct instance *i);

/* What is to be done, and when: -1: nothing ever, forget it; else a verb, and *ret_ms is the time
 * before which it is not to be done. Not while something is under way. */
int entry_next(const struct entry *e, uint64_t *ret_ms);
/* It begins: fills the operation. */
void entry_begin(struct entry *e, enum writer_verb verb);
/* It has ended. */
void entry_end(struct entry *e, const struct writer_answer *a, uint64_t now_ms);
/* A state that follows from all of the above; whether it is another one. */
bool entry_settle(struct entry *e, uint64_t realtime_ms);
