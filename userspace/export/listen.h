/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Listening sockets of the server: a loopback TCP port, and a unix socket with a file. Private to
 * export/.
 */
#pragma once

#include <sys/socket.h>
#include <sys/types.h>

struct listen {
	int fd;     /* non-blocking; -1: none */
	char *path; /* of the file that we made; NULL: none */
	dev_t dev;
	ino_t ino;
};

/* "127.0.0.1:9464" or "[::1]:9464". -EINVAL: no such form, or not a loopback address; -errno. */
int listen_tcp(const char *text, struct listen *ret);
/* Mode 0660; a dead socket file is replaced. -EADDRINUSE, -ENOTSOCK, -ENAMETOOLONG, -errno. */
int listen_unix(const char *path, const char *group, struct listen *ret);
/* A connection, non-blocking and close-on-exec, and who it is from. -errno. */
int listen_accept(const struct listen *l, struct sockaddr_storage *ret, socklen_t *ret_length);
unsigned int listen_port(const struct listen *l);
/* Closes, and removes the file unless somebody else has put another there. */
void listen_done(struct listen *l);
