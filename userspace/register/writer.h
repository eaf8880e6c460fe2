/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The shape of a registry that is written to. A kind (writer_consul.c, ...) says which requests an
 * operation takes and what their answers mean, both pure; writer.c carries them out.
 *
 *   registrar.c -> writer_begin(op) -> kind->request -> net/fetch.h -> kind->answer -> op->on_done
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "net/fetch.h"
#include "register/instance.h"
#include "register/owned.h"
#include "registry/registry.h"

enum writer_verb {
	WRITER_PUT,  /* it is there, as `instance` says */
	WRITER_KEEP, /* it lives */
	WRITER_DROP, /* it is gone */
	WRITER_LIST, /* which ones are there that we wrote */
};

enum writer_outcome {
	WRITER_DONE,
	WRITER_GONE,    /* of KEEP: it is not there; PUT it */
	WRITER_STALE,   /* of KEEP: it lives, by credentials that were changed since; PUT it */
	WRITER_REFUSED, /* the registry is well, and does not take this one */
	WRITER_FAILED,  /* the registry could not be asked: what it has is not known */
};

struct writer_answer {
	enum writer_outcome outcome;
	enum registry_error error; /* of REFUSED and FAILED */
	char text[200];            /* for people; "": nothing is wrong */
	uint64_t retry_after_ms;   /* 0: not said */
	struct owned_list owned;   /* of a LIST that is DONE; the taker's */
};

struct writer;

struct writer_op {
	enum writer_verb verb;
	struct instance *instance; /* of PUT */
	const char *id, *service;  /* of KEEP and DROP */
	uint64_t lease;            /* etcd: given by KEEP and DROP, changed by PUT and KEEP */
	/* Once, on the loop, never from within writer_begin(); not after writer_cancel(). */
	void (*on_done)(struct writer_op *op, struct writer_answer *answer);
	void *arg;
	/* The writer's own. */
	struct writer *writer;
	struct fetch *fetch;
	unsigned int step, tries;
	unsigned int base;       /* of the writer's, where it asked last */
	uint64_t used, put_with; /* hashes of credentials: of this exchange, of the last PUT */
};

/* The next request of an operation. */
struct writer_request {
	const char *method;
	char *path; /* after the base; owned */
	char *body; /* NULL: none; owned */
	size_t length;
	bool is_secret; /* the body is to be wiped, and so is the answer */
};

struct writer_kind {
	const char *type;    /* as registry_kind has it */
	bool is_bound;       /* what was PUT goes on only as long as the credentials it came with */
	const char *address; /* default */
	/* Checks the config, and sets bases. -EINVAL with a sentence; -ENOMEM. */
	int (*start)(struct writer *w, char ret_text[static 200]);
	/* The request of op->step. -EALREADY: there is nothing to ask; the operation is done.
	 * -errno of a credential's file; -ENOMEM. */
	int (*request)(struct writer_op *op, struct writer_request *ret);
	/* What a 2xx, or another status, means: true: *ret is the answer; false: op->step says
	 * what to ask next. Only called when there is a status. */
	bool (*answer)(struct writer_op *op, const struct fetch_result *result,
		       struct writer_answer *ret);
	/* "Name: value" with the credentials; *ret NULL: there are none. -errno of the file. */
	int (*authorize)(struct writer *w, char **ret);
};

#define WRITER_BASES 3

struct writer {
	const struct writer_kind *kind;
	const struct registry_config *config; /* borrowed */
	struct fetcher *fetcher;
	const char *node;          /* borrowed */
	char *bases[WRITER_BASES]; /* what comes before a path */
	unsigned int n_bases, base;
	char *unix_socket; /* NULL: TCP */
	char *token;       /* etcd's, of its login; NULL: none yet */
	bool is_open;      /* etcd: it has no users, a login is of no use */
};

extern const struct writer_kind writer_consul, writer_eureka, writer_etcd;
/* NULL: a node does not write to such a registry. */
const struct writer_kind *writer_kind_find(const char *type);

/* There must be a kind for config->type. -EINVAL with a sentence, -ENOMEM; then there is nothing to
 * close. */
int writer_open(struct writer *w, const struct registry_config *config, struct fetcher *fetcher,
		const char *node, char ret_text[static 200]);
void writer_close(struct writer *w); /* no operation is under way */
/* Begins op, which stays where it is until on_done. -ENOMEM, -EALREADY (nothing to do: it is done),
 * or another -errno with a sentence: then on_done is not called. */
int writer_begin(struct writer *w, struct writer_op *op, char ret_text[static 200]);
void writer_cancel(struct writer_op *op); /* fine when it is not under way */

/* --- for the kinds ---------------------------------------------------------------------------- */

/* Outcome, error and text by the status: 2xx is DONE; 401, 429 and 5xx FAILED; the rest REFUSED. */
void writer_classify(const struct writer_op *op, const struct fetch_result *result,
		     struct writer_answer *ret);
/* Adds to the text. */
void writer_hint(struct writer_answer *a, const char *hint);
int writer_add_base(struct writer *w, const char *address, size_t n, const char *path);
/* Appends text with everything but unreserved characters percent-encoded. */
struct text_buffer;
void writer_escape(struct text_buffer *b, const char *text);
/* "http(s)://HOST..." without credentials, a query or a fragment; else a sentence. NULL: it is
 * well. */
const char *writer_complain(const char *address);
