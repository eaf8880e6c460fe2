/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * See report.h. Anybody may send here. Whose report it is, the kernel says (SCM_CREDENTIALS), and
 * the sender's cgroup then is what its flows were made with; a program in the kernel compares and
 * judges (kernel/told.c). Must never answer, never wait, and do only so much in one turn.
 */
#include "daemon/report.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "kernel/attach.h"
#include "kernel/told.h"
#include "model/telling.h"

#define PER_TURN 64
#define WORKLOAD_RATE 1000 /* a second, and as many at once */
#define ALL_RATE 8000
#define PATH_BYTES 4096

struct message {
	char text[TELLING_MAX];
	size_t length;
	pid_t pid;        /* 0: none that we can see */
	uint64_t sent_ns; /* CLOCK_REALTIME */
	bool whole;
};

static uint64_t clock_ns(clockid_t clock)
{
	struct timespec t;

	(void)clock_gettime(clock, &t);
	return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

/* --- one datagram ------------------------------------------------------------------------- */

/* Descriptors that somebody sends along are nobody's. */
static void close_rights(const struct cmsghdr *c)
{
	size_t n = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);
	int fd;

	for (size_t i = 0; i < n; i++) {
		memcpy(&fd, CMSG_DATA(c) + i * sizeof(int), sizeof(fd));
		(void)close(fd);
	}
}

static void read_control(struct msghdr *header, struct message *m)
{
	struct timespec sent;
	struct ucred cred;

	for (struct cmsghdr *c = CMSG_FIRSTHDR(header); c; c = CMSG_NXTHDR(header, c)) {
		if (c->cmsg_level != SOL_SOCKET)
			continue;
		if (c->cmsg_type == SCM_RIGHTS)
			close_rights(c);
		if (c->cmsg_type == SCM_CREDENTIALS && c->cmsg_len == CMSG_LEN(sizeof(cred))) {
			memcpy(&cred, CMSG_DATA(c), sizeof(cred));
			m->pid = cred.pid;
		}
		if (c->cmsg_type == SCM_TIMESTAMPNS && c->cmsg_len == CMSG_LEN(sizeof(sent))) {
			memcpy(&sent, CMSG_DATA(c), sizeof(sent));
			m->sent_ns = (uint64_t)sent.tv_sec * 1000000000u + (uint64_t)sent.tv_nsec;
		}
	}
}

/* -EAGAIN: there is none. */
static int receive(int fd, struct message *m)
{
	/* No room for descriptors: the kernel closes them. */
	union {
		char bytes[CMSG_SPACE(sizeof(struct ucred)) + CMSG_SPACE(sizeof(struct timespec))];
		struct cmsghdr align;
	} control;
	struct iovec text = {.iov_base = m->text, .iov_len = sizeof(m->text)};
	struct msghdr header = {.msg_iov = &text,
				.msg_iovlen = 1,
				.msg_control = &control,
				.msg_controllen = sizeof(control)};
	ssize_t n = recvmsg(fd, &header, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);

	if (n < 0)
		return -errno;
	m->length = (size_t)n;
	m->whole = !(header.msg_flags & MSG_TRUNC);
	read_control(&header, m);
	return 0;
}

/* --- whose it is -------------------------------------------------------------------------- */

/* A file of /proc as a text. */
static int read_proc(pid_t pid, const char *name, char *buf, size_t size)
{
	char path[64];
	_cleanup_close_ int fd = -1;
	ssize_t n;

	(void)snprintf(path, sizeof(path), "/proc/%d/%s", pid, name);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	n = read(fd, buf, size - 1);
	if (n <= 0)
		return n < 0 ? -errno : -ESRCH;
	buf[n] = '\0';
	return 0;
}

/* The cgroup of a process, v2: the line "0::/path". */
static int find_cgroup(const struct report *r, pid_t pid, uint64_t *ret)
{
	char text[PATH_BYTES], path[2 * PATH_BYTES];
	const char *line;
	int result = read_proc(pid, "cgroup", text, sizeof(text));

	if (result < 0)
		return result;
	line = strncmp(text, "0::/", 4) == 0 ? text : strstr(text, "\n0::/");
	line = line ? strchr(line, '/') : NULL;
	/* One above our own cgroup namespace cannot be reached by its path. */
	if (!line || strncmp(line, "/..", 3) == 0)
		return -ENOENT;
	(void)snprintf(path, sizeof(path), "%s%.*s", r->cgroup_mount, (int)strcspn(line, "\n"),
		       line);
	return attach_cgroup_id(path, ret);
}

/* When a process began, CLOCK_BOOTTIME; in ticks, so up to one too early. */
static int find_start(pid_t pid, uint64_t *ret_ns)
{
	char text[1024], *at;
	unsigned long long ticks;

	if (read_proc(pid, "stat", text, sizeof(text)) < 0)
		return -ESRCH;
	at = strrchr(text, ')'); /* the name before it may hold anything */
	for (int field = 2; at && field < 22; field++)
		at = strchr(at + 1, ' ');
	if (!at || sscanf(at, " %llu", &ticks) != 1)
		return -EPROTO;
	*ret_ns = ticks * (1000000000u / (uint64_t)sysconf(_SC_CLK_TCK));
	return 0;
}

/* The number of a process that has ended may be another one's by now. One that began after the
 * message was sent did not send it; looked at last, so that what was read before is its own. */
static bool is_sender(const struct message *m)
{
	uint64_t offset = clock_ns(CLOCK_REALTIME) - clock_ns(CLOCK_BOOTTIME), start;

	return find_start(m->pid, &start) >= 0 && start + offset <= m->sent_ns;
}

/* --- what becomes of it ------------------------------------------------------------------- */

static enum sn_tell judge(struct report *r, const struct message *m)
{
	uint64_t now = clock_ns(CLOCK_MONOTONIC);
	struct telling telling;
	struct sn_told told;
	uint64_t cgroup;

	if (!m->whole || telling_parse(m->text, m->length, &telling) < 0)
		return SN_TELL_BAD;
	if (!rate_take(&r->all, 0, now))
		return SN_TELL_RATE;
	told = (struct sn_told){.cookie = telling.cookie, .failed = telling.failed};
	if (m->pid <= 0 || find_cgroup(r, m->pid, &cgroup) < 0 || !is_sender(m))
		return SN_TELL_NOBODY;
	if (!rate_take(&r->workloads, cgroup, now))
		return SN_TELL_RATE;
	told.cgroup_id = cgroup;
	if (told_judge(r->kernel, &told) < 0 || told.answer >= SN_TELL_MAX)
		return SN_TELL_UNKNOWN;
	return (enum sn_tell)told.answer;
}

static void on_readable(uv_poll_t *poll, int status, int events)
{
	struct report *r = poll->data;

	for (int i = 0; i < PER_TURN; i++) {
		struct message m = {};

		if (receive(r->socket.fd, &m) < 0)
			return;
		r->count[judge(r, &m)]++;
	}
}

static int set_up(int fd)
{
	const int on = 1;

	if (setsockopt(fd, SOL_SOCKET, SO_PASSCRED, &on, sizeof(on)) < 0 ||
	    setsockopt(fd, SOL_SOCKET, SO_TIMESTAMPNS, &on, sizeof(on)) < 0)
		return -errno;
	return 0;
}

int report_start(struct report *r, uv_loop_t *loop, const char *path)
{
	int result;

	r->socket.fd = -1;
	r->workloads.per_second = r->workloads.burst = WORKLOAD_RATE;
	r->all.per_second = r->all.burst = ALL_RATE;
	if (!*path)
		return 0;
	result = socket_receive(path, &r->socket);
	if (result >= 0)
		result = set_up(r->socket.fd);
	if (result >= 0)
		result = uv_poll_init(loop, &r->poll, r->socket.fd);
	if (result < 0) {
		socket_done(&r->socket);
		return result;
	}
	r->poll.data = r;
	return uv_poll_start(&r->poll, UV_READABLE, on_readable);
}

void report_stop(struct report *r)
{
	if (r->poll.data && !uv_is_closing((uv_handle_t *)&r->poll))
		uv_close((uv_handle_t *)&r->poll, NULL);
	socket_done(&r->socket);
}
