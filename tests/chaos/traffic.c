/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The two ends of the traffic that a chaos run goes through. Started by chaos.py; nothing else uses
 * it.
 *
 *   traffic serve ADDRESS PORT            "ready", then answers one byte of each connection
 *   traffic load ADDRESS PORT SECONDS SEED THREADS
 *                                         connects until the time is over, then prints what became
 *                                         of each connect() as one line of JSON
 *
 * connect() blocks, so that the kernel alone says how it ended: a caller's own patience would race
 * the answer, and the sums could not be exact.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define THREADS_MAX 64
#define PAUSE_NS 2000000

enum outcome { CONNECTED, RESET, REFUSED, TIMED_OUT, UNREACHABLE, LIMITED, OTHER, OUTCOMES };

static const char *const names[OUTCOMES] = {"connected",   "reset",   "refused", "timeout",
					    "unreachable", "limited", "other"};

struct worker {
	pthread_t thread;
	struct sockaddr_in6 to;
	uint64_t until_ns, state;
	uint64_t counts[OUTCOMES], answered, other_errno, longest_ns;
};

static uint64_t now_ns(void)
{
	struct timespec t;

	(void)clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

/* xorshift64 (G. Marsaglia, "Xorshift RNGs", 2003): the same seed, the same calls. */
static uint32_t draw(struct worker *w)
{
	w->state ^= w->state << 13;
	w->state ^= w->state >> 7;
	w->state ^= w->state << 17;
	return (uint32_t)(w->state >> 32);
}

static int parse_address(const char *text, const char *port, struct sockaddr_in6 *ret)
{
	struct sockaddr_in *v4 = (struct sockaddr_in *)ret;

	memset(ret, 0, sizeof(*ret));
	if (inet_pton(AF_INET6, text, &ret->sin6_addr) == 1) {
		ret->sin6_family = AF_INET6;
		ret->sin6_port = htons((uint16_t)strtoul(port, NULL, 10));
		return 0;
	}
	v4->sin_family = AF_INET;
	v4->sin_port = htons((uint16_t)strtoul(port, NULL, 10));
	return inet_pton(AF_INET, text, &v4->sin_addr) == 1 ? 0 : -EINVAL;
}

static socklen_t address_length(const struct sockaddr_in6 *a)
{
	return a->sin6_family == AF_INET6 ? sizeof(*a) : sizeof(struct sockaddr_in);
}

static enum outcome outcome_of(int error)
{
	switch (error) {
	case 0:
		return CONNECTED;
	case ECONNRESET:
	case ECONNABORTED:
		return RESET;
	case ECONNREFUSED:
		return REFUSED;
	case ETIMEDOUT:
		return TIMED_OUT;
	case EHOSTUNREACH:
	case ENETUNREACH:
		return UNREACHABLE;
	case EAGAIN:
		return LIMITED;
	default:
		return OTHER;
	}
}

/* One byte there and back, if the other end lives that long. */
static bool is_answered(int fd)
{
	struct pollfd p = {.fd = fd, .events = POLLIN};
	char byte = 'x';

	return send(fd, &byte, 1, MSG_NOSIGNAL) == 1 && poll(&p, 1, 1000) == 1 &&
	       recv(fd, &byte, 1, 0) == 1;
}

/* Some connections are reset by the caller, some are left at once: every way must be booked. */
static void leave(struct worker *w, int fd)
{
	const struct linger at_once = {.l_onoff = 1, .l_linger = 0};

	if (draw(w) % 8 == 0)
		(void)setsockopt(fd, SOL_SOCKET, SO_LINGER, &at_once, sizeof(at_once));
	(void)close(fd);
}

static void connect_once(struct worker *w)
{
	int fd = socket(w->to.sin6_family, SOCK_STREAM | SOCK_CLOEXEC, 0), error = 0;
	uint64_t begun = now_ns(), took;
	enum outcome outcome;

	if (fd < 0)
		return;
	if (connect(fd, (struct sockaddr *)&w->to, address_length(&w->to)) < 0)
		error = errno;
	took = now_ns() - begun;
	outcome = outcome_of(error);
	w->counts[outcome]++;
	if (outcome == OTHER)
		w->other_errno = (uint64_t)error;
	if (took > w->longest_ns)
		w->longest_ns = took;
	if (!error && draw(w) % 16)
		w->answered += is_answered(fd);
	leave(w, fd);
}

static void *work(void *arg)
{
	const struct timespec pause = {.tv_nsec = PAUSE_NS};
	struct worker *w = arg;

	while (now_ns() < w->until_ns) {
		connect_once(w);
		(void)nanosleep(&pause, NULL);
	}
	return NULL;
}

static void print_sums(const struct worker *workers, unsigned int n)
{
	uint64_t sum, answered = 0, other = 0, longest = 0;

	printf("{");
	for (int o = 0; o < OUTCOMES; o++) {
		sum = 0;
		for (unsigned int i = 0; i < n; i++)
			sum += workers[i].counts[o];
		printf("\"%s\": %llu, ", names[o], (unsigned long long)sum);
	}
	for (unsigned int i = 0; i < n; i++) {
		answered += workers[i].answered;
		other = workers[i].other_errno ?: other;
		longest = workers[i].longest_ns > longest ? workers[i].longest_ns : longest;
	}
	printf("\"answered\": %llu, \"other_errno\": %llu, \"longest_ms\": %llu}\n",
	       (unsigned long long)answered, (unsigned long long)other,
	       (unsigned long long)longest / 1000000);
}

static int load(char **argv)
{
	static struct worker workers[THREADS_MAX];
	unsigned int n = (unsigned int)strtoul(argv[6], NULL, 10);
	uint64_t until = now_ns() + strtoull(argv[4], NULL, 10) * 1000000000u;

	if (!n || n > THREADS_MAX)
		return 2;
	for (unsigned int i = 0; i < n; i++) {
		if (parse_address(argv[2], argv[3], &workers[i].to) < 0)
			return 2;
		workers[i].until_ns = until;
		workers[i].state = strtoull(argv[5], NULL, 10) * 0x9e3779b97f4a7c15u + i + 1;
		if (pthread_create(&workers[i].thread, NULL, work, &workers[i]))
			return 1;
	}
	for (unsigned int i = 0; i < n; i++)
		(void)pthread_join(workers[i].thread, NULL);
	print_sums(workers, n);
	return 0;
}

static void *answer(void *arg)
{
	int fd = (int)(intptr_t)arg;
	char byte;

	if (recv(fd, &byte, 1, 0) == 1)
		(void)send(fd, &byte, 1, MSG_NOSIGNAL);
	(void)close(fd);
	return NULL;
}

/* Accepted connections have small threads of their own: a caller may keep one waiting. */
static int serve(char **argv)
{
	struct sockaddr_in6 at;
	pthread_attr_t attributes;
	pthread_t thread;
	int one = 1, fd, client;

	if (parse_address(argv[2], argv[3], &at) < 0)
		return 2;
	fd = socket(at.sin6_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one)) < 0 ||
	    bind(fd, (struct sockaddr *)&at, address_length(&at)) < 0 || listen(fd, 512) < 0)
		return 1;
	(void)pthread_attr_init(&attributes);
	(void)pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
	(void)pthread_attr_setstacksize(&attributes, 65536);
	printf("ready\n");
	(void)fflush(stdout);
	while ((client = accept4(fd, NULL, NULL, SOCK_CLOEXEC)) >= 0 || errno == ECONNABORTED)
		if (client >= 0 &&
		    pthread_create(&thread, &attributes, answer, (void *)(intptr_t)client))
			(void)close(client);
	return 1;
}

int main(int argc, char **argv)
{
	if (argc == 4 && !strcmp(argv[1], "serve"))
		return serve(argv);
	if (argc == 7 && !strcmp(argv[1], "load"))
		return load(argv);
	(void)fprintf(stderr,
		      "traffic serve ADDRESS PORT | load ADDRESS PORT SECONDS SEED THREADS\n");
	return 2;
}
