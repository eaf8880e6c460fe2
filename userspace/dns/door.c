/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * See door.h. Before: whoever has the privilege. After: server.c takes the sockets over.
 */
#include "dns/door.h"

#include <errno.h>
#include <netinet/in.h>
#include <string.h>

#include "model/address.h"

#define TRIES 16 /* any port: the one that UDP got must be free for TCP, too */

void dns_door_sockaddr(const struct sn_addr *addr, uint16_t port, struct sockaddr_storage *ret)
{
	struct sockaddr_in *four = (struct sockaddr_in *)ret;
	struct sockaddr_in6 *six = (struct sockaddr_in6 *)ret;

	memset(ret, 0, sizeof(*ret));
	if (address_is_v4(addr)) {
		four->sin_family = AF_INET;
		four->sin_port = htons(port);
		memcpy(&four->sin_addr, (const uint8_t *)addr + 12, 4);
		return;
	}
	six->sin6_family = AF_INET6;
	six->sin6_port = htons(port);
	memcpy(&six->sin6_addr, addr, 16);
}

static int door_bind(const struct sockaddr_storage *name, int type, int *ret)
{
	socklen_t length = name->ss_family == AF_INET ? sizeof(struct sockaddr_in)
						      : sizeof(struct sockaddr_in6);
	_cleanup_close_ int fd = -1;
	const int yes = 1;

	fd = socket(name->ss_family, type | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return -errno;
	/* Connections of before may still be about to end. */
	if (type == SOCK_STREAM && setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof(yes)) < 0)
		return -errno;
	if (bind(fd, (const struct sockaddr *)name, length) < 0)
		return -errno;
	*ret = TAKE_FD(fd);
	return 0;
}

static int door_port(int fd, uint16_t *ret)
{
	struct sockaddr_storage name;
	socklen_t length = sizeof(name);

	if (getsockname(fd, (struct sockaddr *)&name, &length) < 0)
		return -errno;
	*ret = ntohs(((struct sockaddr_in *)&name)->sin_port); /* it is in the same place in both */
	return 0;
}

static int door_try(const struct sn_addr *addr, uint16_t port, struct dns_door *d)
{
	struct sockaddr_storage name;
	int r;

	dns_door_sockaddr(addr, port, &name);
	r = door_bind(&name, SOCK_DGRAM, &d->udp);
	if (r >= 0)
		r = door_port(d->udp, &d->port);
	if (r < 0)
		return r;
	dns_door_sockaddr(addr, d->port, &name);
	return door_bind(&name, SOCK_STREAM, &d->tcp);
}

int dns_door_open(const struct sn_addr *addr, uint16_t port, struct dns_door *ret)
{
	struct dns_door d = {-1, -1, 0};
	int r = -EADDRINUSE;

	for (int i = 0; r == -EADDRINUSE && i < (port ? 1 : TRIES); i++) {
		dns_door_close(&d);
		r = door_try(addr, port, &d);
	}
	if (r < 0) {
		dns_door_close(&d);
		return r;
	}
	*ret = d;
	return 0;
}

void dns_door_close(struct dns_door *d)
{
	if (d->udp >= 0)
		(void)close(d->udp);
	if (d->tcp >= 0)
		(void)close(d->tcp);
	*d = (struct dns_door){-1, -1, 0};
}
