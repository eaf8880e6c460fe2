/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What the bench programs share: a clock, a pinned processor, and the words of a command line.
 *
 * Before it: argv. After it: load.c, serve.c, minimal.c, watch.c. It must never allocate nor print
 * inside what is being timed.
 */
#pragma once

#include <arpa/inet.h>
#include <errno.h>
#include <sched.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

struct endpoint {
	struct sockaddr_storage addr;
	socklen_t len;
};

static inline uint64_t now_ns(void)
{
	struct timespec t;

	(void)clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

/* 0 or -errno. */
static inline int pin_cpu(int cpu)
{
	cpu_set_t set;

	CPU_ZERO(&set);
	CPU_SET((unsigned)cpu, &set);
	return sched_setaffinity(0, sizeof(set), &set) ? -errno : 0;
}

/* A whole decimal number within [min, max], else -EINVAL. */
static inline int number_parse(const char *text, long min, long max, long *ret)
{
	char *end;
	long value;

	errno = 0;
	value = strtol(text, &end, 10);
	if (errno || end == text || *end || value < min || value > max)
		return -EINVAL;
	*ret = value;
	return 0;
}

/* "10.0.0.1:80" or "[::1]:80", else -EINVAL. */
static inline int endpoint_parse(const char *text, struct endpoint *ret)
{
	const char *colon = strrchr(text, ':');
	struct endpoint e = {};
	struct sockaddr_in *in = (struct sockaddr_in *)&e.addr;
	struct sockaddr_in6 *in6 = (struct sockaddr_in6 *)&e.addr;
	char host[INET6_ADDRSTRLEN];
	size_t len;
	long port;
	int v6 = *text == '[';

	if (!colon || number_parse(colon + 1, 0, 65535, &port) < 0)
		return -EINVAL;
	len = (size_t)(colon - text) - (v6 ? 2 : 0);
	if (colon - text < (v6 ? 3 : 1) || len >= sizeof(host) || (v6 && colon[-1] != ']'))
		return -EINVAL;
	memcpy(host, text + v6, len);
	host[len] = '\0';
	e.addr.ss_family = v6 ? AF_INET6 : AF_INET;
	e.len = v6 ? sizeof(*in6) : sizeof(*in);
	if (inet_pton(e.addr.ss_family, host,
		      v6 ? (void *)&in6->sin6_addr : (void *)&in->sin_addr) != 1)
		return -EINVAL;
	if (v6)
		in6->sin6_port = htons((uint16_t)port);
	else
		in->sin_port = htons((uint16_t)port);
	*ret = e;
	return 0;
}
