/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Labels of containers, asked of the engine that agent.yaml names (a registry of type docker), once
 * for each container: they do not change while it lives. Without an engine nothing is known.
 */
#pragma once

#include <uv.h>

#include "model/label.h"
#include "net/fetch.h"
#include "registry/registry.h"

struct labels;

struct labels_host {
	void *arg;
	void (*changed)(void *arg); /* a container's labels are known now */
};

/* `engine` may be NULL; a reference is taken. */
int labels_new(uv_loop_t *loop, struct fetcher *fetcher, struct registry_config *engine,
	       const struct labels_host *host, struct labels **ret);
/* Another engine, or none, is asked from now on; what is known of containers stays. -ENOMEM: the
 * former one is. */
int labels_set_engine(struct labels *l, struct registry_config *engine);
/* Whether the container has all of these: 1, 0; -EAGAIN: not known, and asked for. */
int labels_match(struct labels *l, const char *container, const struct label *wanted, size_t n);
/* Memory is given back once the loop has closed its handles; NULL is fine. */
void labels_close(struct labels *l);

/* Of GET /containers/{id}/json: an array for free(), texts in it. -EBADMSG, -ENOMEM. Pure. */
int labels_decode(const char *text, size_t length, struct label **ret, size_t *ret_n);
