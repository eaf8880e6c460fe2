/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Backends set aside by hand: who asked for it, why, since and until when. The kernel holds and
 * lets go by itself; this is what people want to know of it, kept in <state>/holds.json, and what
 * holds again after a reboot.
 */
#pragma once

#include <uv.h>

#include "control/ops.h"
#include "kernel/publish.h"
#include "model/limits.h"

/* What is remembered of one backend: an endpoint of a service at one of its ports. */
struct hold {
	char namespace[LIMIT_NAME + 1], name[LIMIT_NAME + 1];
	struct sn_addr addr;
	uint16_t port; /* of the endpoint */
	enum sn_hold held;
	uint64_t since_ms, until_ms; /* CLOCK_REALTIME; until 0: until taken back */
	char reason[LIMIT_HOLD_REASON * 4 + 1];
	char by[48];
};

/* Pure: the file's text. */
struct hold_list {
	struct hold *items;
	size_t n;
};
/* NULL: no memory. */
char *holds_encode(const struct hold_list *list, size_t *ret_length);
/* Entries that make no sense are left out. -EINVAL: no list at all; -ENOMEM. */
int holds_decode(const char *text, size_t length, struct hold_list *ret);

struct holds {
	uv_loop_t *loop;
	const struct store *store;
	struct publish *publish; /* borrowed */
	const char *state;       /* folder */
	struct hold_list list;
	bool dirty, writing, failing;
	uv_work_t work;
	char *text; /* being written */
	size_t length;
	int r;             /* of the last write */
	uint64_t failures; /* writes that failed; tried again by itself */
	void (*written)(void *arg, int r);
	void (*ended)(void *arg, const struct hold *hold, const char *why);
	void *arg;
};

/* Reads the file. What the kernel forgot (a reboot) is held again for the time that is left. */
int holds_start(struct holds *h);
/* As ops.hold; written() is called when it is on disk. */
int holds_order(struct holds *h, const struct control_hold *order);
/* NULL: nothing is remembered. */
const struct hold *holds_find(const struct holds *h, const struct service *s, size_t endpoint,
			      size_t port);
/* Forgets what has ended, or whose backend is gone; ended() tells of it. */
void holds_tick(struct holds *h);
/* Services have changed: what has come to a held endpoint (another address or port of the service)
 * is held, too. */
void holds_refresh(struct holds *h);
/* After the loop has ended: what is not on disk yet. */
void holds_done(struct holds *h);
