/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * See lookout.h. Before: evict.c has read the request. After: the daemon's listeners.c. What a dump
 * says is compared with sn_listeners, so that the daemon knows whose end it will be told.
 */
#include "kernel/lookout.h"

#include <arpa/inet.h>
#include <bpf/bpf.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/inet_diag.h>
#include <linux/netlink.h>
#include <linux/sock_diag.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sched.h>
#include <sinew/listener.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "kernel/namespace.h"
#include "kernel/netlink.h"

#define LOOK_NS 20000000u  /* of each second, so that many namespaces do not cost a CPU */
#define KERNFS_HANDLE 0xfe /* FILEID_KERNFS: the handle is the id alone */

/* --- one namespace ------------------------------------------------------------------------ */

struct look {
	struct lookout *l;
	int fd;                        /* to the daemon */
	const struct evict_answer *as; /* verb and id of each answer */
	struct evict_answer answer;    /* being filled */
	size_t listening, untold;      /* in this namespace */
};

static int answer_send(struct look *look, enum evict_part part)
{
	look->answer.part = part;
	if (send(look->fd, &look->answer, sizeof(look->answer), MSG_NOSIGNAL) < 0)
		return -errno;
	look->answer.n_found = 0;
	return 0;
}

static void address_take(const struct inet_diag_msg *m, struct sn_addr *ret)
{
	*ret = (struct sn_addr){};
	if (m->idiag_family == AF_INET)
		*ret = (struct sn_addr){{0, 0, htonl(0xffff), m->id.idiag_src[0]}};
	else
		memcpy(ret, m->id.idiag_src, sizeof(*ret));
}

static uint64_t cgroup_take(struct netlink_part attributes)
{
	struct netlink_attribute a;
	uint64_t id = 0;

	while (netlink_next_attribute(&attributes, &a))
		if (a.type == INET_DIAG_CGROUP_ID && a.value.n >= sizeof(id))
			memcpy(&id, a.value.bytes, sizeof(id));
	return id;
}

static int on_socket(void *arg, const struct netlink_message *message)
{
	struct netlink_part left = message->body;
	struct look *look = arg;
	struct evict_found *f;
	struct inet_diag_msg m;
	struct sn_listener known;

	if (message->type != SOCK_DIAG_BY_FAMILY || !netlink_take(&left, &m, sizeof(m)))
		return 0;
	f = &look->answer.found[look->answer.n_found++];
	*f = (struct evict_found){.cookie = (uint64_t)m.id.idiag_cookie[1] << 32 |
					    m.id.idiag_cookie[0],
				  .cgroup_id = cgroup_take(left),
				  .port = ntohs(m.id.idiag_sport)};
	address_take(&m, &f->addr);
	f->told = bpf_map_lookup_elem(look->l->listeners_fd, &f->cookie, &known) == 0;
	look->listening++;
	look->untold += !f->told;
	return look->answer.n_found == EVICT_FOUND ? answer_send(look, EVICT_MORE) : 0;
}

static int look_family(struct look *look, int fd, uint8_t family)
{
	const struct {
		struct nlmsghdr header;
		struct inet_diag_req_v2 body;
	} request = {
		.header = {.nlmsg_len = sizeof(request),
			   .nlmsg_type = SOCK_DIAG_BY_FAMILY,
			   .nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP},
		.body = {.sdiag_family = family,
			 .sdiag_protocol = IPPROTO_TCP,
			 .idiag_states = 1u << TCP_LISTEN},
	};

	return netlink_dump(fd, &request, sizeof(request), on_socket, look);
}

/* Of the thread's own namespace. An IPv6 that is not there answers -ENOENT. */
static int look_here(struct look *look)
{
	const struct timeval patience = {.tv_sec = 2};
	_cleanup_close_ int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_SOCK_DIAG);
	_cleanup_close_ int any = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	socklen_t length = sizeof(look->answer.subject);
	int r;

	look->answer = *look->as;
	look->listening = look->untold = 0;
	if (fd < 0 || any < 0 ||
	    getsockopt(any, SOL_SOCKET, SO_NETNS_COOKIE, &look->answer.subject, &length) < 0)
		return -errno;
	(void)setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
	r = look_family(look, fd, AF_INET);
	if (r >= 0)
		r = look_family(look, fd, AF_INET6);
	if (r < 0 && r != -ENOENT)
		return r;
	return answer_send(look, EVICT_NAMESPACE);
}

/* --- which namespaces --------------------------------------------------------------------- */

static void kept_drop(struct lookout *l, size_t i)
{
	(void)close(l->kept[i].fd);
	l->kept[i] = l->kept[--l->n_kept];
}

/* Keeping a namespace keeps it alive, so one that holds nobody of interest is let go at once. */
static void kept_set(struct lookout *l, uint64_t inode, int fd, bool is_wanted)
{
	size_t i = 0;
	int own;

	while (i < l->n_kept && l->kept[i].inode != inode)
		i++;
	if (i < l->n_kept && !is_wanted)
		kept_drop(l, i);
	if (i < l->n_kept || !is_wanted || l->n_kept == LOOKOUT_KEPT)
		return;
	own = fcntl(fd, F_DUPFD_CLOEXEC, 3);
	if (own >= 0)
		l->kept[l->n_kept++] = (struct lookout_kept){inode, own};
}

static int on_namespace(void *arg, uint64_t inode, int fd)
{
	struct look *look = arg;
	int r = look_here(look);

	if (r >= 0)
		kept_set(look->l, inode, fd, look->untold);
	return r;
}

static uint64_t now_ns(void)
{
	struct timespec t;

	(void)clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static void look_at_kept(struct look *look, struct evict_answer *ret)
{
	struct lookout *l = look->l;
	uint64_t end = now_ns() + LOOK_NS;

	for (size_t left = l->n_kept; left && now_ns() < end; left--) {
		l->next = l->next < l->n_kept ? l->next : 0;
		if (setns(l->kept[l->next].fd, CLONE_NEWNET) < 0 || look_here(look) < 0) {
			ret->failed++;
			l->next++;
			continue;
		}
		ret->namespaces++;
		if (look->untold)
			l->next++;
		else
			kept_drop(l, l->next);
	}
	(void)setns(l->home_fd, CLONE_NEWNET);
}

void lookout_sweep(struct lookout *l, const struct evict_request *request, int fd,
		   struct evict_answer *ret)
{
	static struct namespace_walk walk; /* too large for a stack; the helper has one thread */
	struct evict_answer as = *ret;
	struct look look = {.l = l, .fd = fd, .as = &as};

	as.verb = request->verb;
	if (request->streams) {
		walk.visit = on_namespace;
		walk.arg = &look;
		namespace_walk(&walk, l->home_fd);
		ret->namespaces = walk.visited;
		ret->failed = walk.failed;
		ret->r = walk.r;
	} else {
		look_at_kept(&look, ret);
	}
	ret->part = EVICT_OVER;
	ret->more = (uint32_t)l->n_kept;
}

/* --- cgroups ------------------------------------------------------------------------------ */

void lookout_cgroup(const struct lookout *l, const struct evict_request *request,
		    struct evict_answer *ret)
{
	union {
		struct file_handle handle;
		char bytes[sizeof(struct file_handle) + sizeof(uint64_t)];
	} h = {.handle = {.handle_bytes = sizeof(uint64_t), .handle_type = KERNFS_HANDLE}};
	_cleanup_close_ int fd = -1;
	char link[64];
	ssize_t n;

	ret->subject = request->cgroup_id;
	memcpy(h.handle.f_handle, &request->cgroup_id, sizeof(request->cgroup_id));
	fd = open_by_handle_at(l->cgroup_fd, &h.handle, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0) {
		ret->r = -errno;
		return;
	}
	(void)snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
	n = readlink(link, ret->path, sizeof(ret->path));
	if (n < 0 || (size_t)n >= sizeof(ret->path) || ret->path[0] != '/') {
		ret->r = n < 0 ? -errno : -ENAMETOOLONG;
		ret->path[0] = '\0';
		return;
	}
	ret->path[n] = '\0';
}

bool lookout_uses(const struct lookout *l, int fd)
{
	return fd == l->listeners_fd || fd == l->cgroup_fd;
}
