/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Very many connects that end in every way: closed, reset by either side, left in TIME_WAIT,
 * aborted on the way, undone (AF_UNSPEC), made again on the same socket, killed with their process.
 *
 * Before it: a test, which places it in a cgroup and a network namespace. After it: one line of
 * JSON says how many calls of connect() it made, and how they went. It must count a call before it
 * makes it: whatever ends its process, the count is exact.
 *
 *   storm serve ADDRESS:PORT...               a byte for each connection; ended in turn by a close,
 *                                             by a reset, and late
 *   storm connect COUNT ADDRESS:PORT REFUSED:PORT
 *                                             connects to the first address; the second one refuses
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
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/cleanup.h"

#define WORKERS 4
#define ROUNDS 250 /* of one worker's life, each of 1 or 2 connects */
#define KEPT 48    /* sockets that a worker still has when it is killed */
#define LATE 64    /* connections that a server keeps for a while */
#define BOUND_S 5

enum way { CLOSE, RESET, TIME_WAIT, UNDO, UNDO_AGAIN, FAIL_AGAIN, ABORT, KEEP, WAYS };

/* Shared by all workers, and still there when one is killed. */
struct tally {
	_Atomic uint64_t calls, fine, refused, other, refusals;
	_Atomic int first;
};

static struct sockaddr_in target, closed;
static struct tally *tally;

static void end_by_reset(int fd)
{
	struct linger linger = {.l_onoff = 1};

	(void)setsockopt(fd, SOL_SOCKET, SO_LINGER, &linger, sizeof(linger));
}

static int count_call(int fd, const struct sockaddr_in *to)
{
	int error;

	atomic_fetch_add(to == &closed ? &tally->refusals : &tally->calls, 1);
	error = connect(fd, (const struct sockaddr *)to, sizeof(*to)) < 0 ? errno : 0;
	if (to == &closed || error == EINPROGRESS)
		return error;
	if (error && error != ECONNREFUSED)
		atomic_store(&tally->first, error);
	atomic_fetch_add(!error                  ? &tally->fine
			 : error == ECONNREFUSED ? &tally->refused
						 : &tally->other,
			 1);
	return error;
}

static void undo(int fd)
{
	struct sockaddr none = {.sa_family = AF_UNSPEC};

	(void)connect(fd, &none, sizeof(none));
}

/* --- connect ------------------------------------------------------------------------------ */

static int open_socket(bool waits)
{
	struct timeval limit = {.tv_sec = BOUND_S};
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | (waits ? 0 : SOCK_NONBLOCK), 0);

	if (fd < 0)
		exit(3);
	(void)setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
	(void)setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof(limit));
	return fd;
}

/* What is done with a socket that is connected, or not, before its close. */
static void go_way(int fd, enum way way)
{
	char byte;

	switch (way) {
	case TIME_WAIT:
		(void)shutdown(fd, SHUT_WR);
		break;
	case UNDO_AGAIN:
		undo(fd);
		(void)count_call(fd, &target);
		end_by_reset(fd);
		break;
	case UNDO:
		undo(fd);
		break;
	case RESET:
	case FAIL_AGAIN:
		end_by_reset(fd);
		break;
	default:
		(void)recv(fd, &byte, 1, 0);
	}
}

static void connect_once(enum way way, int *kept)
{
	_cleanup_close_ int fd = open_socket(way != ABORT);

	if (way == FAIL_AGAIN)
		(void)count_call(fd, &closed);
	(void)count_call(fd, &target);
	if (way == ABORT)
		return;
	go_way(fd, way);
	if (way != KEEP)
		return;
	if (*kept >= 0)
		(void)close(*kept);
	*kept = TAKE_FD(fd);
}

/* A worker's whole life; it ends by the kernel's hand, with sockets open. */
static void work(unsigned int number)
{
	int kept[KEPT];

	for (unsigned int i = 0; i < KEPT; i++)
		kept[i] = -1;
	for (unsigned int i = 0; i < ROUNDS; i++)
		connect_once((number + i) % WAYS, &kept[i / WAYS % KEPT]);
	(void)raise(SIGKILL);
}

static int storm(uint64_t count)
{
	unsigned int started = 0, alive = 0;

	tally = mmap(NULL, sizeof(*tally), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1,
		     0);
	if (tally == MAP_FAILED)
		return 1;
	while (alive || atomic_load(&tally->calls) < count) {
		if (alive < WORKERS && atomic_load(&tally->calls) < count) {
			pid_t pid = fork();

			if (pid == 0)
				work(started);
			started++;
			alive += pid > 0;
			continue;
		}
		alive -= wait(NULL) > 0;
	}
	printf("{\"calls\": %lu, \"fine\": %lu, \"refused\": %lu, \"other\": %lu, \"errno\": %d, "
	       "\"refusals\": %lu, \"killed\": %u}\n",
	       (unsigned long)tally->calls, (unsigned long)tally->fine,
	       (unsigned long)tally->refused, (unsigned long)tally->other, tally->first,
	       (unsigned long)tally->refusals, started);
	return 0;
}

/* --- serve -------------------------------------------------------------------------------- */

static void *serve(void *arg)
{
	int late[LATE], fd = (int)(intptr_t)arg;

	for (unsigned int i = 0; i < LATE; i++)
		late[i] = -1;
	for (unsigned int i = 0;; i++) {
		_cleanup_close_ int client = accept4(fd, NULL, NULL, SOCK_CLOEXEC);
		int *place = &late[i / 3 % LATE];

		if (client < 0)
			continue;
		(void)send(client, "x", 1, MSG_NOSIGNAL);
		if (i % 3 == 1)
			end_by_reset(client);
		if (i % 3 != 2)
			continue;
		if (*place >= 0)
			(void)close(*place);
		*place = TAKE_FD(client);
	}
	return NULL;
}

static int listen_on(const struct sockaddr_in *at)
{
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), one = 1;

	if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one)) < 0 ||
	    bind(fd, (const struct sockaddr *)at, sizeof(*at)) < 0 || listen(fd, 4096) < 0) {
		perror("storm: listen");
		exit(1);
	}
	return fd;
}

static int serve_all(int count, char **texts, int (*parse)(char *, struct sockaddr_in *))
{
	struct sockaddr_in at;
	pthread_t thread;
	sigset_t set;
	int number;

	(void)sigemptyset(&set);
	(void)sigaddset(&set, SIGTERM);
	(void)pthread_sigmask(SIG_BLOCK, &set, NULL);
	for (int i = 0; i < count; i++)
		if (parse(texts[i], &at) < 0 ||
		    pthread_create(&thread, NULL, serve, (void *)(intptr_t)listen_on(&at)))
			return 2;
	printf("ready\n");
	(void)fflush(stdout);
	(void)sigwait(&set, &number);
	return 0;
}

static int parse_address(char *text, struct sockaddr_in *ret)
{
	char *colon = strrchr(text, ':');

	if (!colon)
		return -EINVAL;
	*colon = '\0';
	*ret = (struct sockaddr_in){.sin_family = AF_INET,
				    .sin_port = htons((uint16_t)strtoul(colon + 1, NULL, 10))};
	return inet_pton(AF_INET, text, &ret->sin_addr) == 1 ? 0 : -EINVAL;
}

int main(int argc, char **argv)
{
	(void)prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (argc > 2 && !strcmp(argv[1], "serve"))
		return serve_all(argc - 2, argv + 2, parse_address);
	if (argc != 5 || strcmp(argv[1], "connect") || parse_address(argv[3], &target) < 0 ||
	    parse_address(argv[4], &closed) < 0)
		return 2;
	return storm(strtoull(argv[2], NULL, 10));
}
