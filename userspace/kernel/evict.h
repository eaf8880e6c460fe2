/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Ending stale connected datagram sockets, in every network namespace. Entering a namespace needs
 * CAP_SYS_ADMIN, which the daemon gives up: a forked helper with fixed verbs keeps it. It also
 * does what else the daemon may not: the name of a program and a connect to the canary for the
 * doctor, who listens in all namespaces, and the path of a cgroup. Both talk over a socket pair,
 * one fixed-size request, one fixed-size answer (of listeners: several, the last one with
 * EVICT_OVER).
 */
#pragma once

#include <sinew/abi.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

struct kernel;

/* How: the program sn_evict over the sockets of a namespace, or requests by sock_diag, which older
 * kernels know. */
enum evict_method { EVICT_AUTO, EVICT_ITERATOR, EVICT_DIAG, EVICT_OFF };

enum evict_verb {
	EVICT_SWEEP = 1,
	EVICT_PROGRAM_NAME = 2,
	EVICT_CANARY = 3,
	EVICT_LISTENERS = 4,
	EVICT_CGROUP = 5,
};

/* How far a sweep for listeners is. */
enum evict_part {
	EVICT_MORE,      /* of this namespace follows */
	EVICT_NAMESPACE, /* that was all of this namespace */
	EVICT_OVER,      /* that was all */
};
#define EVICT_FOUND 32  /* listeners in one answer */
#define EVICT_PATH 1280 /* bytes of a path, its end included */

/* A TCP socket that listens. */
struct evict_found {
	uint64_t cookie, cgroup_id;
	struct sn_addr addr;
	uint16_t port; /* host order */
	uint16_t told; /* 1: the programs know it, too */
	uint32_t reserved;
};

struct evict_request {
	uint32_t verb; /* enum evict_verb */
	uint32_t id;   /* of a program */
	uint32_t address_be;
	uint16_t port_be; /* of a canary */
	uint16_t streams; /* of a sweep: 1, TCP connections that their policy ends, too; of one for
			     listeners: 1, in every namespace, not only where some were untold */
	uint64_t cgroup_id;
};

struct evict_answer {
	uint32_t verb;
	int32_t r;           /* 0, or -errno of the first namespace that failed, or of the verb */
	uint32_t namespaces; /* that were swept */
	uint32_t failed;     /* that could not be entered or read */
	uint32_t more;       /* 1: some are left for another sweep; of listeners: namespaces that
				want to be looked at again, and are kept alive until then */
	uint32_t ended;      /* sockets, by sock_diag; the program counts its own */
	uint32_t id;         /* of the program, as asked */
	char name[16];       /* of the program */
	int32_t connected;   /* errno of a connect() to the canary from inside the served cgroup */
	uint64_t subject;    /* the cgroup's id; or the namespace's cookie */
	uint32_t part;       /* enum evict_part */
	uint32_t n_found;
	union {
		struct evict_found found[EVICT_FOUND];
		char path[EVICT_PATH]; /* of the cgroup, as the helper sees it */
	};
};

struct evict {
	pid_t pid;                /* 0: no helper */
	int fd;                   /* our end, CLOEXEC */
	enum evict_method method; /* EVICT_ITERATOR, EVICT_DIAG, or EVICT_OFF: it ends none */
};

static inline bool evict_ends(const struct evict *e)
{
	return e->fd >= 0 && e->method != EVICT_OFF;
}

/* Forks the helper. `lockdown` runs in the child before it serves, to give up what it does not
 * need. Call before any thread exists. -EOPNOTSUPP: the kernel cannot end sockets that way, or no
 * way; the helper is there for the rest. Other errors: it is not. */
int evict_start(struct evict *e, const struct kernel *k, enum evict_method method,
		int (*lockdown)(void));
/* Asks; the answer is read by evict_receive when fd is readable. */
int evict_send(struct evict *e, const struct evict_request *request);
int evict_receive(struct evict *e, struct evict_answer *ret);
/* Closes our end; the helper then ends. evict_reap, called now and then, leaves no zombie. */
void evict_stop(struct evict *e);
void evict_reap(struct evict *e);
