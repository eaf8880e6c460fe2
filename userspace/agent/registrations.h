/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Registrations at work: what sinewd has of them (GET /v1/registrations) and what really listens
 * (listeners.h) become instances in registries (register/registrar.h).
 */
#pragma once

#include <uv.h>
#include <yyjson.h>

#include "agent/config.h"
#include "base/text.h"
#include "model/pod.h"
#include "net/fetch.h"

struct registrations;

/* Who knows this node's pods. */
struct registrations_pods {
	void *arg;
	/* Borrowed for the call; NULL: not known (yet). */
	const struct pod *(*find)(void *arg, const char *uid);
	/* Some Registration selects by pod, or none does any more. */
	void (*want)(void *arg, bool wanted);
};

/* `config` is borrowed, for what is not about registries: those are set one by one. */
int registrations_new(uv_loop_t *loop, struct fetcher *fetcher, const struct agent_config *config,
		      const struct registrations_pods *pods, struct registrations **ret);
/* What pods there are has changed. */
void registrations_on_pods(struct registrations *s);
/* As registrar_set(). */
int registrations_set(struct registrations *s, unsigned int registry,
		      struct registry_config *config);
/* Which engine knows labels of containers; NULL: none does. Then what is wanted is told to
 * registries anew. `doubt`: somebody who knows whose sockets those are was begun anew, so that for
 * a while nothing is taken out for want of that. Call it after registrations_set(). */
void registrations_settle(struct registrations *s, struct registry_config *engine, bool doubt);
/* Takes everything out of the registries, for at most LEAVE_MS (registrations.c); `left` is called
 * once it is done, perhaps from within. */
void registrations_leave(struct registrations *s, void (*left)(void *arg), void *arg);
/* Memory is given back once the loop has closed its handles; NULL is fine. */
void registrations_close(struct registrations *s);

/* {"kind": "RegistrationStatusList", ...} as members of `root`, in registrations_show.c. */
void registrations_show(const struct registrations *s, yyjson_mut_doc *doc, yyjson_mut_val *root);
/* sinew_agent_registrations and others, in Prometheus' text format. */
void registrations_metrics(const struct registrations *s, struct text_buffer *b);
