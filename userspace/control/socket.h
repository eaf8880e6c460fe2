/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The listening unix sockets: made, guarded against a live owner, and taken away again.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

struct control_caller;

struct socket_file {
	char *path; /* owned */
	dev_t dev;
	ino_t ino;
	int fd; /* listening or receiving, non-blocking; -1: none */
};

/*
 * Binds and listens on `path`, mode 0660, owned by `group` when that group exists. -EADDRINUSE when
 * somebody answers there; a dead socket file is replaced, any other file is -ENOTSOCK.
 */
int socket_listen(const char *path, const char *group, struct socket_file *ret);
/* A datagram socket that anybody may send to: mode 0666. Else as socket_listen. */
int socket_receive(const char *path, struct socket_file *ret);
/* Closes, and removes the file unless somebody else has put another there. */
void socket_done(struct socket_file *s);
/* A connected socket, non-blocking and CLOEXEC; -EAGAIN: nobody waits. */
int socket_accept(const struct socket_file *s);
/* Who is at the other end of a connected socket, by SO_PEERCRED. */
int socket_caller(int fd, struct control_caller *ret);
