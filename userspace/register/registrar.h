/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * All registries that this node writes to: what match.c says is to be there is brought there, kept
 * and taken away again, each registry at its own pace.
 *
 *   match.c -> registrar_want() -> queue.c, record.c (one registry) -> writer.c -> the registry
 */
#pragma once

#include "register/match.h"
#include "register/record.h"

struct registrar;

/* One instance in one registry, for whoever shows it. */
struct registrar_item {
	const char *registry; /* its name */
	const char *id, *service;
	const struct instance *wanted; /* NULL: it is to go, or is only found */
	enum record_state state;
	uint64_t since_ms; /* CLOCK_REALTIME: of the state */
	const char *text;  /* what went wrong; "": nothing */
};

struct registrar_host {
	void *arg;
	/* It has another state; `gone`: the registry has it no more. */
	void (*changed)(void *arg, const struct registrar_item *item, bool gone);
	/* A registry cannot be asked, and why; NULL: it answers (again). */
	void (*failing)(void *arg, const char *registry, const char *text);
	/* One is written to from now on: registrar_want() it. After registrar_set() alone. */
	void (*opened)(void *arg);
	/* Nothing is left to be removed, after registrar_leave(). */
	void (*left)(void *arg);
};

/* Without registries. `node` is borrowed. -ENOMEM. */
int registrar_new(uv_loop_t *loop, struct fetcher *fetcher, const char *node,
		  const struct registrar_host *host, struct registrar **ret);
/*
 * The registry at this index (< LIMIT_REGISTRIES) is this one from now on, of which a reference is
 * taken; or (NULL) none. Begins to look for what it has of this node. One that cannot be written
 * to, by its kind or its config, is as if it were only read. Where it is the same place as before,
 * what is registered there stays and is taken up; otherwise it is taken out of the former one
 * first, for REMOVE_MS (registrar.c) at most. -ENOMEM: it is none.
 */
int registrar_set(struct registrar *r, unsigned int registry, struct registry_config *config);
/* The name of the one at an index; NULL: there is none. */
const char *registrar_name(const struct registrar *r, unsigned int registry);
/* Index of one that can be written; -ENOENT, -EROFS. */
int registrar_find(const struct registrar *r, const char *name);
/* `whole`: that is all, and the rest is to go; else nothing goes yet. -ENOMEM, -E2BIG: not all. */
int registrar_want(struct registrar *r, const struct match *m, bool whole);
/* Everything is to go. */
void registrar_leave(struct registrar *r);
void registrar_visit(const struct registrar *r,
		     void (*visit)(void *arg, const struct registrar_item *item), void *arg);
/* How many of a registry (index) are in each state. */
void registrar_count(const struct registrar *r, unsigned int registry,
		     size_t ret[static _RECORD_STATE_MAX]);
/* Why a registry cannot be asked; "": it can. */
const char *registrar_failure(const struct registrar *r, unsigned int registry);
/* Why it does not tell what an agent before us left there; "": it does, or was not asked. */
const char *registrar_list_failure(const struct registrar *r, unsigned int registry);
/* Ends what is under way. Memory is given back once the loop has closed its handles; NULL is fine.
 */
void registrar_close(struct registrar *r);
