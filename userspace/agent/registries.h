/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The registries of an agent: each is followed, what it says goes to the merge under a number that
 * stays with it while others come and go, and another agent.yaml may be put in place of the first.
 */
#pragma once

#include "agent/agent.h"

struct agent_registry {
	struct agent *agent;
	unsigned int source;            /* its number in the merge and the registrar */
	struct registry_config *config; /* a reference */
	struct registry_host host;
	struct registry *registry;  /* NULL: it did not start */
	char failure[200];          /* why it did not; "": it did */
	uint64_t retry_ms, wait_ms; /* loop time of the next try to; the last wait before one */
	char tag[128];
	bool heard;  /* it has said what it has, or its last good state was read */
	bool spoken; /* it has, itself, since it was begun */
	bool partly; /* it has said something, perhaps not all */
	bool stale;
	bool dirty;               /* it said more than its file */
	uint64_t contact_ms;      /* loop time of the last answer */
	uint64_t told_contact_ms; /* status.contact_ms that was seen then */
	enum registry_error told; /* what was logged last */
	enum registry_error told_pods;
};

/* Follows those of `config`, whose texts are taken. -ENOMEM: none. */
int registries_open(struct agent *a);
/* Tells a->registrations which there are. */
void registries_register(struct agent *a);
/*
 * Follows those of `fresh`, whose texts are taken: one that is as it was goes on, one that is
 * another is begun anew with what it said before, one that is missing goes with all that it said.
 * -ENOMEM: nothing has changed.
 */
int registries_replace(struct agent *a, struct agent_config *fresh);
/* NULL: there is none. */
struct agent_registry *registries_find(const struct agent *a, const char *name);
/* Silence, and tries to begin what did not. */
void registries_tick(struct agent *a);
/* Last good states of those that said more. */
void registries_write(struct agent *a);
/* They are closed once a->n_open is 0. */
void registries_close(struct agent *a);
void registries_done(struct agent *a);
