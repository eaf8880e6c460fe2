/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * See socket.h. Before: the daemon's lock has made this the only daemon of its state directory.
 * After: server.c accepts. Never removes a file that is not a socket, nor one it did not make.
 */
#include <errno.h>
#include <grp.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "control/ops.h"
#include "control/socket.h"

#define BACKLOG 128

static int address_fill(const char *path, struct sockaddr_un *ret)
{
	size_t length = strlen(path);

	if (!length || length >= sizeof(ret->sun_path))
		return -ENAMETOOLONG;
	*ret = (struct sockaddr_un){.sun_family = AF_UNIX};
	memcpy(ret->sun_path, path, length + 1);
	return 0;
}

/* A full backlog (EAGAIN) is a live server, too, and so is one of another type. */
static int path_clear(const char *path, const struct sockaddr_un *address, int type)
{
	_cleanup_close_ int fd = -1;
	struct stat st;

	if (lstat(path, &st) < 0)
		return errno == ENOENT ? 0 : -errno;
	if (!S_ISSOCK(st.st_mode))
		return -ENOTSOCK;
	fd = socket(AF_UNIX, type | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return -errno;
	if (connect(fd, (const struct sockaddr *)address, sizeof(*address)) == 0)
		return -EADDRINUSE;
	if (errno != ECONNREFUSED && errno != ENOENT)
		return errno == EAGAIN || errno == EPROTOTYPE ? -EADDRINUSE : -errno;
	if (unlink(path) < 0 && errno != ENOENT)
		return -errno;
	return 0;
}

/*
 * A sinewd that no service manager started finds no /run/sinew. The folders above must be there.
 * Whom the sockets' groups let in must get as far as to them, whatever our umask is.
 */
static int folder_make(const char *path)
{
	_cleanup_free_ char *folder = strdup(path);
	char *slash;

	if (!folder)
		return -ENOMEM;
	slash = strrchr(folder, '/');
	if (!slash || slash == folder)
		return 0;
	*slash = '\0';
	if (mkdir(folder, 0755) < 0)
		return errno == EEXIST ? 0 : -errno;
	return chmod(folder, 0755) < 0 ? -errno : 0;
}

static int path_bind(int fd, const struct sockaddr_un *address)
{
	mode_t mask = umask(0177);
	int r = bind(fd, (const struct sockaddr *)address, sizeof(*address)) < 0 ? -errno : 0;

	(void)umask(mask);
	return r;
}

/* Without the group, or the right to give the file to it, root alone may connect. */
static int path_share(const char *path, const char *group)
{
	const struct group *g = getgrnam(group);

	if (g && lchown(path, (uid_t)-1, g->gr_gid) < 0 && errno != EPERM)
		return -errno;
	if (chmod(path, 0660) < 0)
		return -errno;
	return 0;
}

/* Bound, as root's own. */
static int path_open(const char *path, int type, int *ret)
{
	_cleanup_close_ int fd = -1;
	struct sockaddr_un address;
	int r;

	r = address_fill(path, &address);
	if (r >= 0)
		r = folder_make(path);
	if (r >= 0)
		r = path_clear(path, &address, type);
	if (r < 0)
		return r;
	fd = socket(AF_UNIX, type | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return -errno;
	r = path_bind(fd, &address);
	if (r < 0)
		return r;
	*ret = TAKE_FD(fd);
	return 0;
}

/* Takes the descriptor; `r`: what making it ready for others came to. */
static int path_finish(const char *path, int fd_taken, int r, struct socket_file *ret)
{
	_cleanup_close_ int fd = fd_taken;
	_cleanup_free_ char *copy = strdup(path);
	struct stat st;

	if (r >= 0 && !copy)
		r = -ENOMEM;
	if (r >= 0 && lstat(path, &st) < 0)
		r = -errno;
	if (r < 0) {
		(void)unlink(path);
		return r;
	}
	*ret = (struct socket_file){
		.path = TAKE_PTR(copy), .dev = st.st_dev, .ino = st.st_ino, .fd = TAKE_FD(fd)};
	return 0;
}

int socket_listen(const char *path, const char *group, struct socket_file *ret)
{
	int fd, r;

	r = path_open(path, SOCK_STREAM, &fd);
	if (r < 0)
		return r;
	r = path_share(path, group);
	if (r >= 0 && listen(fd, BACKLOG) < 0)
		r = -errno;
	return path_finish(path, fd, r, ret);
}

int socket_receive(const char *path, struct socket_file *ret)
{
	int fd, r;

	r = path_open(path, SOCK_DGRAM, &fd);
	if (r < 0)
		return r;
	return path_finish(path, fd, chmod(path, 0666) < 0 ? -errno : 0, ret);
}

void socket_done(struct socket_file *s)
{
	struct stat st;

	if (s->path && lstat(s->path, &st) == 0 && st.st_dev == s->dev && st.st_ino == s->ino)
		(void)unlink(s->path);
	if (s->fd >= 0)
		(void)close(s->fd);
	free(s->path);
	*s = (struct socket_file){.fd = -1};
}

int socket_accept(const struct socket_file *s)
{
	int fd = accept4(s->fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);

	return fd < 0 ? -errno : fd;
}

int socket_caller(int fd, struct control_caller *ret)
{
	struct ucred cred;
	socklen_t length = sizeof(cred);

	if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &cred, &length) < 0)
		return -errno;
	*ret = (struct control_caller){.uid = cred.uid, .gid = cred.gid, .pid = cred.pid};
	return 0;
}
