/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * One instance in one registry: what it is to be, what the registry has as far as is known, and
 * what is to be done next. Pure: time is the caller's.
 */
#pragma once

#include "register/writer.h"

enum record_state {
	RECORD_PENDING,    /* it is to be there, and nothing went wrong */
	RECORD_REGISTERED, /* it is there, and kept */
	RECORD_FAILING,    /* the last try went wrong; see text */
	RECORD_LEAVING,    /* it is to go */
	RECORD_FOUND,      /* it was there before us; whether it is to stay is not known yet */
	_RECORD_STATE_MAX
};
const char *record_state_name(enum record_state s); /* "registered": a metric's label */

#define RECORD_UNSURE 1u

struct record {
	struct writer_op op;
	bool under_way;
	char *id, *service;
	struct instance *wanted; /* NULL: it is to go, unless it is only found */
	struct instance *sent;   /* of a PUT under way */
	uint64_t told; /* hash of what the registry has; 0: nothing; RECORD_UNSURE: it has one */
	bool maybe;    /* the registry may have it */
	bool found;    /* see RECORD_FOUND */
	bool renew;    /* it is there, and to be told once more */
	uint64_t lease, ttl_ms;
	uint64_t next_ms;  /* loop time: nothing but KEEP before it */
	uint64_t keep_ms;  /* loop time of the next KEEP */
	uint64_t wait_ms;  /* the last wait after a refusal; 0: all is well */
	uint64_t since_ms; /* CLOCK_REALTIME: of its state */
	enum record_state state;
	char text[200]; /* of what went wrong; "": nothing */
};

/* Copies the texts. -ENOMEM. */
int record_new(const char *id, const char *service, struct record **ret);
struct record *record_free(struct record *e); /* NULL is fine; returns NULL */

/* From now on it is to be like i (a reference is taken), or to go (NULL). Whether that is news. */
bool record_want(struct record *e, struct instance *i);

/* What is to be done, and when: -1: nothing ever, forget it; else a verb, and *ret_ms is the time
 * before which it is not to be done. Not while something is under way. */
int record_next(const struct record *e, uint64_t *ret_ms);
/* It begins: fills the operation. */
void record_begin(struct record *e, enum writer_verb verb);
/* It has ended. */
void record_end(struct record *e, const struct writer_answer *a, uint64_t now_ms);
/* A state that follows from all of the above; whether it is another one. */
bool record_settle(struct record *e, uint64_t realtime_ms);
