/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Which network interfaces carry our programs: follows the kernel's news and the policies.
 */
#pragma once

#include <uv.h>

#include "kernel/interface.h"
#include "kernel/tc.h"

#define INTERFACES_MAX 4096

struct daemon;

enum interface_state {
	IFACE_IDLE,       /* no published policy allows failover */
	IFACE_ADOPTED,    /* carries programs of an earlier run */
	IFACE_CARRIES,    /* both programs are there */
	IFACE_UNLISTED,   /* not one of failover.interfaces */
	IFACE_HEADERLESS, /* its packets begin without a link-layer header */
	IFACE_FAILED,     /* see error; tried again */
};

struct iface {
	struct interface what;
	enum interface_state state;
	enum tc_how how;    /* of one that carries */
	int error;          /* of one that failed; -errno */
	unsigned int round; /* of the last news of it; 0: none yet */
};

struct interfaces {
	uv_poll_t poll;
	bool open;
	int fd;
	char *buffer;
	struct iface *all;
	size_t n, next;     /* the next one to be looked at in turn */
	unsigned int round; /* of asking for all */
	unsigned int wants; /* WANTS_*, as applied */
	unsigned int ticks;
	bool full; /* there are more than INTERFACES_MAX; told once */
};

/* Before privileges are given up. */
int interfaces_start(struct daemon *d);
void interfaces_done(struct daemon *d);
/* After a change of services, policies or settings, and now and then: does what they want. */
void interfaces_refresh(struct daemon *d);
/* Twice a second: makes good what others have taken away. */
void interfaces_tick(struct daemon *d);
/* How it carries them, or why not. */
const char *interfaces_why(const struct iface *i);
