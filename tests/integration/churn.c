/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Connections that come and go, and connections that stay, while something is done to sinewd.
 *
 * Before it: a test, which places it in a cgroup and a network namespace, and waits for "ready".
 * After it: SIGTERM ends it, and one line of JSON says what it saw. It must never retry or hide
 * what failed: every failure is counted and the first one is named.
 *
 *   churn serve ADDRESS:PORT...            a byte for each connection, then its end
 *   churn echo ADDRESS:PORT...             sends back what it gets
 *   churn connect THREADS ADDRESS:PORT...  connect, getpeername, read to the end, close
 *   churn hold COUNT ADDRESS:PORT          opens COUNT, then sends and reads on all, again and
 * again
 */
#include <arpa/inet.h>
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/cleanup.h"

#define TARGETS_MAX 64
#define THREADS_MAX 64
#define HELD_MAX 256
#define HOLD_PAUSE_US 20000
#define BOUND_S 5 /* what takes longer is a failure */

struct target {
	struct sockaddr_in at;
	_Atomic uint64_t done;
};

static struct {
	struct target target[TARGETS_MAX];
	unsigned int n_targets;
	_Atomic uint64_t failed;
	atomic_bool told, stop;
	char first[128]; /* the first failure; written by who sets told */
	unsigned int held;
	_Atomic uint64_t rounds;
	pthread_t threads[THREADS_MAX];
	unsigned int n_threads;
} churn;

static void fail(const char *call, int error)
{
	atomic_fetch_add(&churn.failed, 1);
	if (!atomic_exchange(&churn.told, true))
		(void)snprintf(churn.first, sizeof(churn.first), "%s: %s", call, strerror(error));
}

static void bound(int fd)
{
	struct timeval limit = {.tv_sec = BOUND_S};

	(void)setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
	(void)setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof(limit));
}

static bool is_peer(int fd, const struct sockaddr_in *want)
{
	struct sockaddr_in peer = {};
	socklen_t length = sizeof(peer);

	return getpeername(fd, (struct sockaddr *)&peer, &length) == 0 &&
	       peer.sin_addr.s_addr == want->sin_addr.s_addr && peer.sin_port == want->sin_port;
}

static int open_connection(const struct target *t)
{
	_cleanup_close_ int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	if (fd < 0) {
		fail("socket", errno);
		return -1;
	}
	bound(fd);
	if (connect(fd, (const struct sockaddr *)&t->at, sizeof(t->at)) < 0) {
		fail("connect", errno);
		return -1;
	}
	if (!is_peer(fd, &t->at)) {
		fail("getpeername", EADDRNOTAVAIL);
		return -1;
	}
	return TAKE_FD(fd);
}

/* --- connect ------------------------------------------------------------------------------ */

static void connect_once(struct target *t)
{
	struct linger linger = {.l_onoff = 1};
	_cleanup_close_ int fd = open_connection(t);
	char byte;
	ssize_t n;

	if (fd < 0)
		return;
	n = recv(fd, &byte, 1, 0);
	if (n != 1) {
		fail("recv", n < 0 ? errno : ECONNRESET);
		return;
	}
	/* No port waits: there are more connections to come than ports. */
	(void)setsockopt(fd, SOL_SOCKET, SO_LINGER, &linger, sizeof(linger));
	atomic_fetch_add(&t->done, 1);
}

static void *connect_main(void *arg)
{
	unsigned int at = (unsigned int)(uintptr_t)arg;

	while (!atomic_load(&churn.stop))
		connect_once(&churn.target[at++ % churn.n_targets]);
	return NULL;
}

/* --- hold --------------------------------------------------------------------------------- */

static bool ping(int fd)
{
	char byte = 'x';

	return send(fd, &byte, 1, MSG_NOSIGNAL) == 1 && recv(fd, &byte, 1, 0) == 1;
}

static void *hold_main(void *arg)
{
	int fds[HELD_MAX];

	for (unsigned int i = 0; i < churn.held; i++)
		fds[i] = open_connection(&churn.target[0]);
	while (!atomic_load(&churn.stop)) {
		for (unsigned int i = 0; i < churn.held; i++)
			if (fds[i] >= 0 && !ping(fds[i])) {
				fail("ping", errno);
				(void)close(fds[i]);
				fds[i] = -1;
			}
		atomic_fetch_add(&churn.rounds, 1);
		(void)usleep(HOLD_PAUSE_US);
	}
	for (unsigned int i = 0; i < churn.held; i++)
		if (fds[i] >= 0 && !is_peer(fds[i], &churn.target[0].at))
			fail("getpeername of a held connection", EADDRNOTAVAIL);
	return NULL;
}

/* --- serve and echo ----------------------------------------------------------------------- */

static int listen_on(const struct target *t)
{
	_cleanup_close_ int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	int one = 1;

	if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one)) < 0 ||
	    bind(fd, (const struct sockaddr *)&t->at, sizeof(t->at)) < 0 || listen(fd, 1024) < 0) {
		perror("churn: listen");
		exit(1);
	}
	return TAKE_FD(fd);
}

static void *serve_main(void *arg)
{
	int fd = (int)(intptr_t)arg;

	for (;;) {
		_cleanup_close_ int client = accept4(fd, NULL, NULL, SOCK_CLOEXEC);

		if (client >= 0)
			(void)send(client, "x", 1, MSG_NOSIGNAL);
	}
	return NULL;
}

static void *echo_client(void *arg)
{
	_cleanup_close_ int fd = (int)(intptr_t)arg;
	char byte;

	while (recv(fd, &byte, 1, 0) == 1 && send(fd, &byte, 1, MSG_NOSIGNAL) == 1)
		continue;
	return NULL;
}

static void *echo_main(void *arg)
{
	int fd = (int)(intptr_t)arg;
	pthread_t thread;

	for (;;) {
		int client = accept4(fd, NULL, NULL, SOCK_CLOEXEC);

		if (client >= 0 &&
		    !pthread_create(&thread, NULL, echo_client, (void *)(intptr_t)client))
			(void)pthread_detach(thread);
	}
	return NULL;
}

/* --- main --------------------------------------------------------------------------------- */

static int parse_target(char *text)
{
	struct target *t = &churn.target[churn.n_targets];
	char *colon = strrchr(text, ':');

	if (!colon || churn.n_targets == TARGETS_MAX)
		return -EINVAL;
	*colon = '\0';
	t->at.sin_family = AF_INET;
	t->at.sin_port = htons((uint16_t)strtoul(colon + 1, NULL, 10));
	if (inet_pton(AF_INET, text, &t->at.sin_addr) != 1)
		return -EINVAL;
	churn.n_targets++;
	return 0;
}

static int start(void *(*function)(void *), void *arg)
{
	if (churn.n_threads == THREADS_MAX)
		return -E2BIG;
	return -pthread_create(&churn.threads[churn.n_threads++], NULL, function, arg);
}

static int start_mode(const char *mode, unsigned int count)
{
	bool is_echo = !strcmp(mode, "echo");
	int r = 0;

	if (!strcmp(mode, "hold")) {
		churn.held = count < HELD_MAX ? count : HELD_MAX;
		return start(hold_main, NULL);
	}
	if (!strcmp(mode, "connect")) {
		for (unsigned int i = 0; r >= 0 && i < count; i++)
			r = start(connect_main, (void *)(uintptr_t)i);
		return r;
	}
	for (unsigned int i = 0; r >= 0 && i < churn.n_targets; i++)
		r = start(is_echo ? echo_main : serve_main,
			  (void *)(intptr_t)listen_on(&churn.target[i]));
	return r;
}

static void report(void)
{
	printf("{\"failed\": %lu, \"first\": \"%s\", \"rounds\": %lu, \"done\": [",
	       (unsigned long)churn.failed, churn.first, (unsigned long)churn.rounds);
	for (unsigned int i = 0; i < churn.n_targets; i++)
		printf("%s%lu", i ? ", " : "", (unsigned long)churn.target[i].done);
	printf("]}\n");
}

int main(int argc, char **argv)
{
	bool counts = argc > 2 && (!strcmp(argv[1], "connect") || !strcmp(argv[1], "hold"));
	sigset_t set;
	int number;

	(void)prctl(PR_SET_PDEATHSIG, SIGKILL);
	(void)sigemptyset(&set);
	(void)sigaddset(&set, SIGTERM);
	(void)pthread_sigmask(SIG_BLOCK, &set, NULL);
	for (int i = counts ? 3 : 2; i < argc; i++)
		if (parse_target(argv[i]) < 0)
			return 2;
	if (!churn.n_targets ||
	    start_mode(argv[1], counts ? (unsigned int)strtoul(argv[2], NULL, 10) : 0) < 0)
		return 2;
	printf("ready\n");
	(void)fflush(stdout);
	(void)sigwait(&set, &number);
	atomic_store(&churn.stop, true);
	if (counts) {
		for (unsigned int i = 0; i < churn.n_threads; i++)
			(void)pthread_join(churn.threads[i], NULL);
		report();
	}
	return 0;
}
