/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * See notify.h. Source: sd_notify(3), "Notes". Must never block or fail its caller.
 */
#include "base/notify.h"

#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

static struct {
	int fd;
	struct sockaddr_un to;
	socklen_t length;
	uint64_t watchdog_us;
} manager = {.fd = -1};

void notify_init(void)
{
	const char *path = getenv("NOTIFY_SOCKET"), *watchdog = getenv("WATCHDOG_USEC");

	if (watchdog)
		manager.watchdog_us = strtoull(watchdog, NULL, 10);
	(void)unsetenv("WATCHDOG_USEC");
	if (!path || (path[0] != '/' && path[0] != '@') ||
	    strlen(path) >= sizeof(manager.to.sun_path))
		return;
	manager.to.sun_family = AF_UNIX;
	memcpy(manager.to.sun_path, path, strlen(path));
	if (path[0] == '@')
		manager.to.sun_path[0] = '\0';
	manager.length = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + strlen(path));
	manager.fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	(void)unsetenv("NOTIFY_SOCKET");
}

void notify_send(const char *format, ...)
{
	char text[512];
	va_list args;
	int n;

	if (manager.fd < 0)
		return;
	va_start(args, format);
	n = vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	if (n > 0)
		(void)sendto(manager.fd, text, strlen(text), MSG_NOSIGNAL,
			     (const struct sockaddr *)&manager.to, manager.length);
}

uint64_t notify_watchdog_ms(void)
{
	return manager.watchdog_us / 1000;
}
