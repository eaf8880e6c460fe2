/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What listens on this host, followed on sinewd's control socket (GET /v1/listeners?watch=true).
 * What was known stays known while sinewd is away: it goes when a whole new list is without it.
 */
#pragma once

#include <uv.h>

#include "net/fetch.h"
#include "register/listener.h"

struct listeners;

struct listeners_host {
	void *arg;
	void (*changed)(void *arg); /* the table, or listeners_is_whole() */
};

struct listeners_status {
	bool connected;                      /* a stream is open, and has told everything */
	char error[200];                     /* why not; "": nothing is wrong */
	uint64_t streams, failures, skipped; /* opened; that failed; lines not understood */
};

int listeners_new(uv_loop_t *loop, struct fetcher *fetcher, const char *socket,
		  const struct listeners_host *host, struct listeners **ret);
const struct listener_table *listeners_table(const struct listeners *l);
/* Whether the table was everything, once: from then on what is not in it does not listen, as far as
 * anybody knows. */
bool listeners_is_whole(const struct listeners *l);
const struct listeners_status *listeners_status(const struct listeners *l);
/* Memory is given back once the loop has closed its handles; NULL is fine. */
void listeners_close(struct listeners *l);
