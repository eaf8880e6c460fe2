/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * See listen.h. After: serve.c accepts. Never removes a file that is not a socket, nor one that it
 * did not make, nor listens where another host could reach it.
 */
#include "export/listen.h"

#include <arpa/inet.h>
#include <errno.h>
#include <grp.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/cleanup.h"

#define BACKLOG 64

union address {
	struct sockaddr any;
	struct sockaddr_in v4;
	struct sockaddr_in6 v6;
	struct sockaddr_un un;
};

static int parse_port(const char *text, in_port_t *ret)
{
	unsigned long port;
	char *end;

	if (*text < '0' || *text > '9')
		return -EINVAL;
	port = strtoul(text, &end, 10);
	if (*end || port > 65535)
		return -EINVAL;
	*ret = htons((in_port_t)port);
	return 0;
}

static int parse_v6(const char *text, union address *ret)
{
	const char *close = strchr(text, ']');
	char host[INET6_ADDRSTRLEN];

	if (!close || close[1] != ':' || (size_t)(close - text) > sizeof(host))
		return -EINVAL;
	(void)snprintf(host, sizeof(host), "%.*s", (int)(close - text - 1), text + 1);
	*ret = (union address){.v6 = {.sin6_family = AF_INET6}};
	if (inet_pton(AF_INET6, host, &ret->v6.sin6_addr) != 1 ||
	    !IN6_IS_ADDR_LOOPBACK(&ret->v6.sin6_addr))
		return -EINVAL;
	return parse_port(close + 2, &ret->v6.sin6_port);
}

static int parse_v4(const char *text, union address *ret)
{
	const char *colon = strrchr(text, ':');
	char host[INET_ADDRSTRLEN];

	if (!colon || (size_t)(colon - text) >= sizeof(host))
		return -EINVAL;
	(void)snprintf(host, sizeof(host), "%.*s", (int)(colon - text), text);
	*ret = (union address){.v4 = {.sin_family = AF_INET}};
	if (inet_pton(AF_INET, host, &ret->v4.sin_addr) != 1 ||
	    ntohl(ret->v4.sin_addr.s_addr) >> 24 != 127)
		return -EINVAL;
	return parse_port(colon + 1, &ret->v4.sin_port);
}

int listen_tcp(const char *text, struct listen *ret)
{
	_cleanup_close_ int fd = -1;
	union address a;
	int one = 1, r = *text == '[' ? parse_v6(text, &a) : parse_v4(text, &a);

	if (r < 0)
		return r;
	fd = socket(a.any.sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one)) < 0)
		return -errno;
	if (bind(fd, &a.any, *text == '[' ? sizeof(a.v6) : sizeof(a.v4)) < 0 ||
	    listen(fd, BACKLOG) < 0)
		return -errno;
	*ret = (struct listen){.fd = TAKE_FD(fd)};
	return 0;
}

/* A full backlog (EAGAIN) is a live server, too. */
static int path_clear(const union address *a)
{
	_cleanup_close_ int fd = -1;
	struct stat st;

	if (lstat(a->un.sun_path, &st) < 0)
		return errno == ENOENT ? 0 : -errno;
	if (!S_ISSOCK(st.st_mode))
		return -ENOTSOCK;
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return -errno;
	if (connect(fd, &a->any, sizeof(a->un)) == 0 || errno == EAGAIN || errno == EPROTOTYPE)
		return -EADDRINUSE;
	if (errno != ECONNREFUSED && errno != ENOENT)
		return -errno;
	return unlink(a->un.sun_path) < 0 && errno != ENOENT ? -errno : 0;
}

static int path_bind(int fd, const union address *a, const char *group)
{
	mode_t mask = umask(0177);
	int r = bind(fd, &a->any, sizeof(a->un)) < 0 ? -errno : 0;
	const struct group *g = group ? getgrnam(group) : NULL;

	(void)umask(mask);
	if (r < 0)
		return r;
	if (g && lchown(a->un.sun_path, (uid_t)-1, g->gr_gid) < 0 && errno != EPERM)
		return -errno;
	return chmod(a->un.sun_path, 0660) < 0 || listen(fd, BACKLOG) < 0 ? -errno : 0;
}

int listen_unix(const char *path, const char *group, struct listen *ret)
{
	union address a = {.un = {.sun_family = AF_UNIX}};
	_cleanup_close_ int fd = -1;
	_cleanup_free_ char *copy = strdup(path);
	struct stat st;
	int r;

	if (!copy)
		return -ENOMEM;
	if (!*path || strlen(path) >= sizeof(a.un.sun_path))
		return -ENAMETOOLONG;
	memcpy(a.un.sun_path, path, strlen(path) + 1);
	r = path_clear(&a);
	if (r < 0)
		return r;
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return -errno;
	r = path_bind(fd, &a, group);
	if (r >= 0 && lstat(path, &st) < 0)
		r = -errno;
	if (r < 0)
		return r;
	*ret = (struct listen){
		.fd = TAKE_FD(fd), .path = TAKE_PTR(copy), .dev = st.st_dev, .ino = st.st_ino};
	return 0;
}

int listen_accept(const struct listen *l, struct sockaddr_storage *ret, socklen_t *ret_length)
{
	socklen_t length = sizeof(*ret);
	int fd;

	*ret = (struct sockaddr_storage){};
	fd = accept4(l->fd, (struct sockaddr *)ret, &length, SOCK_NONBLOCK | SOCK_CLOEXEC);
	if (fd < 0)
		return -errno;
	if (l->path)
		ret->ss_family = AF_UNIX;
	*ret_length = length ?: sizeof(sa_family_t);
	return fd;
}

unsigned int listen_port(const struct listen *l)
{
	union address a = {};
	socklen_t length = sizeof(a);

	if (l->fd < 0 || getsockname(l->fd, &a.any, &length) < 0)
		return 0;
	return ntohs(a.any.sa_family == AF_INET6 ? a.v6.sin6_port : a.v4.sin_port);
}

void listen_done(struct listen *l)
{
	struct stat st;

	if (l->path && lstat(l->path, &st) == 0 && st.st_dev == l->dev && st.st_ino == l->ino)
		(void)unlink(l->path);
	if (l->fd >= 0)
		(void)close(l->fd);
	free(l->path);
	*l = (struct listen){.fd = -1};
}
