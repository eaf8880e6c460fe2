/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * One question that is put to a Consul server over and over: as a query that blocks until there is
 * news, or that does not. Whether an answer may be believed is decided here, and what to say when
 * it may not; what it says is its owner's. For consul.c and consul_follow.c alone.
 */
#pragma once

#include "registry/consul_pace.h"
#include "registry/registry.h"

#define CONSUL_TEXT 160

struct consul_poll;

/* The server, as all polls of a registry share it. */
struct consul_link {
	struct registry *r;
	char *base;       /* "http://127.0.0.1:8500/v1/"; of a socket "http://localhost/v1/" */
	const char *path; /* of the socket; NULL: TCP */
	size_t n_failing;
	bool has_failed; /* the last answer, to whichever poll, was none */
	/* A poll that could not reach the server was answered: others may be asked at once. */
	void (*on_back)(struct consul_link *l);
};

struct consul_poll_ops {
	const char *permission; /* what a token needs for it, as in a rule */
	/*
	 * Takes a believable answer in; `missing`: there is nothing of that name (keys). 0, or 1:
	 * it is news; -EACCES, -EBADMSG, -E2BIG with a text; -ENOMEM.
	 */
	int (*take)(struct consul_poll *p, const struct fetch_result *result, bool missing,
		    char ret_text[static CONSUL_TEXT]);
	/* It was taken in: what next? */
	void (*on_taken)(struct consul_poll *p);
	/* It failed, or was refused; to be asked again after wait_ms. */
	void (*on_failed)(struct consul_poll *p, uint64_t wait_ms);
	/* The time of consul_poll_later() has come. */
	void (*on_due)(struct consul_poll *p);
	bool may_miss; /* 404 is an answer */
};

struct consul_poll {
	struct consul_link *link;
	const struct consul_poll_ops *ops;
	const char *what; /* "service pay"; borrowed */
	char *target;     /* "health/service/pay", percent-encoded, with a ? when there is a query;
			     owned */
	struct consul_pace pace;
	struct fetch *fetch;
	uv_timer_t timer;
	uint64_t wait_ms;    /* the last wait between tries */
	uint64_t asked_ms;   /* how long the query may block; 0: not */
	unsigned int status; /* of the last failure; 0: it was not reached */
	bool failing;        /* the last answer was none */
	bool streamed;       /* the answer is an agent's own copy, see consul_poll.c */
	bool leader;         /* the next query is for the leader: the server is behind */
};

/* The timer is the caller's to close. `target` is taken over. */
void consul_poll_init(struct consul_poll *p, struct consul_link *link,
		      const struct consul_poll_ops *ops, const char *what, char *target);
/* Asks, blocking for at most `block_ms` if it has an index; 0: not at all. */
void consul_poll_ask(struct consul_poll *p, uint64_t block_ms);
/* on_due() after so long, whatever was to come before; what is under way goes on. */
void consul_poll_later(struct consul_poll *p, uint64_t ms);
/* It waits for a server that could not be reached, or could not answer anybody. */
bool consul_poll_is_cut_off(const struct consul_poll *p);
/* Ends what is under way or was to come; frees the target. */
void consul_poll_stop(struct consul_poll *p);

/* text, percent-encoded, after `prefix`; NULL: no memory. */
char *consul_poll_target(const char *prefix, const char *text, const char *suffix);
