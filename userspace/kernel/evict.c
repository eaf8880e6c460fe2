/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * See evict.h. The helper reads the iterator (bpf/hook/evict.bpf.c) once in each network namespace;
 * which sockets end is decided there, by the sockets' own flows. Must never touch anything else in
 * a namespace, and never outlive the daemon.
 */
#include "kernel/evict.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/sched.h>
#include <netinet/in.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "kernel/diag.h"
#include "kernel/kernel.h"
#include "kernel/lookout.h"
#include "kernel/namespace.h"
#include "sinew.skel.h"

#define EVICT_STALE                                                                                \
	8192 /* sockets ended in one sweep by sock_diag; the next one takes the rest               \
	      */

/* What the helper works with; inherited from the daemon. */
struct tools {
	enum evict_method method;
	int link_fd;        /* of the iterator; -1: none */
	int tcp_fd;         /* the same, over TCP */
	int home_fd;        /* the daemon's own namespace */
	const char *cgroup; /* the served one */
	struct diag_maps maps;
	struct lookout lookout;
};

struct sweep {
	const struct tools *tools;
	bool streams;                      /* TCP connections, too */
	struct sn_flow stale[EVICT_STALE]; /* by sock_diag only */
	size_t n_stale;
	struct namespace_walk walk;
	struct evict_answer answer;
};

static int sweep_by_diag(struct sweep *s)
{
	uint32_t ended = 0;
	int r = diag_end(s->stale, s->n_stale, &ended);

	s->answer.ended += ended;
	return r;
}

static int read_iterator(int link_fd)
{
	_cleanup_close_ int fd = bpf_iter_create(link_fd);
	char buffer[256];
	ssize_t n;

	if (fd < 0)
		return -errno;
	do
		n = read(fd, buffer, sizeof(buffer));
	while (n > 0 || (n < 0 && errno == EAGAIN));
	return n < 0 ? -errno : 0;
}

static int sweep_here(struct sweep *s)
{
	int r;

	if (s->tools->method == EVICT_DIAG)
		return sweep_by_diag(s);
	r = read_iterator(s->tools->link_fd);
	return r < 0 || !s->streams ? r : read_iterator(s->tools->tcp_fd);
}

static int on_namespace(void *arg, uint64_t inode, int fd)
{
	return sweep_here(arg);
}

static int find_stale(struct sweep *s)
{
	int n = 0;

	if (s->tools->method == EVICT_DIAG)
		n = diag_find_stale(&s->tools->maps, s->streams, s->stale, EVICT_STALE);
	s->n_stale = n > 0 ? (size_t)n : 0;
	return n;
}

static void helper_sweep(const struct tools *tools, bool streams, struct evict_answer *ret)
{
	static struct sweep s; /* too large for a stack; the helper has one thread */

	s.tools = tools;
	s.streams = streams;
	s.walk.visit = on_namespace;
	s.walk.arg = &s;
	s.answer = (struct evict_answer){};
	s.answer.r = find_stale(&s) < 0 ? -EIO : 0;
	s.answer.more = s.n_stale == EVICT_STALE;
	if (tools->method == EVICT_DIAG && !s.n_stale) {
		*ret = s.answer;
		return;
	}
	namespace_walk(&s.walk, tools->home_fd);
	s.answer.namespaces = s.walk.visited;
	s.answer.failed = s.walk.failed;
	s.answer.r = s.answer.r ? s.answer.r : s.walk.r;
	*ret = s.answer;
}

static void helper_program_name(uint32_t id, struct evict_answer *ret)
{
	_cleanup_close_ int fd = bpf_prog_get_fd_by_id(id);
	struct bpf_prog_info info = {};
	__u32 length = sizeof(info);

	if (fd < 0 || bpf_obj_get_info_by_fd(fd, &info, &length) < 0) {
		ret->r = -errno;
		return;
	}
	(void)snprintf(ret->name, sizeof(ret->name), "%.15s", info.name);
}

/* A child that is born in the served cgroup, as its sockets must be. */
static pid_t fork_into(const char *cgroup)
{
	_cleanup_close_ int fd = open(cgroup, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	struct clone_args args = {.flags = CLONE_INTO_CGROUP, .exit_signal = SIGCHLD};

	if (fd < 0)
		return -errno;
	args.cgroup = (uint64_t)fd;
	pid_t pid = (pid_t)syscall(SYS_clone3, &args, sizeof(args));

	return pid < 0 ? -errno : pid;
}

/* Of a datagram socket, so no packet is sent. */
static int canary_connect(const struct evict_request *request)
{
	const struct sockaddr_in at = {.sin_family = AF_INET,
				       .sin_addr.s_addr = request->address_be,
				       .sin_port = request->port_be};
	_cleanup_close_ int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	return fd < 0 || connect(fd, (const struct sockaddr *)&at, sizeof(at)) < 0 ? errno : 0;
}

static void helper_canary(const char *cgroup, const struct evict_request *request,
			  struct evict_answer *ret)
{
	pid_t pid = fork_into(cgroup);
	int status;

	if (pid == 0)
		_exit(canary_connect(request));
	if (pid < 0)
		ret->r = pid;
	else if (waitpid(pid, &status, 0) < 0)
		ret->r = -errno;
	else if (!WIFEXITED(status))
		ret->r = -EIO;
	else
		ret->connected = WEXITSTATUS(status);
}

static void helper_serve(int fd, struct tools *tools)
{
	struct evict_request request;
	struct evict_answer answer;

	while (recv(fd, &request, sizeof(request), 0) == sizeof(request)) {
		answer = (struct evict_answer){.id = request.id};
		if (request.verb == EVICT_SWEEP)
			helper_sweep(tools, request.streams, &answer);
		else if (request.verb == EVICT_PROGRAM_NAME)
			helper_program_name(request.id, &answer);
		else if (request.verb == EVICT_CANARY)
			helper_canary(tools->cgroup, &request, &answer);
		else if (request.verb == EVICT_LISTENERS)
			lookout_sweep(&tools->lookout, &request, fd, &answer);
		else if (request.verb == EVICT_CGROUP)
			lookout_cgroup(&tools->lookout, &request, &answer);
		else
			answer.r = -EOPNOTSUPP;
		answer.verb = request.verb;
		if (send(fd, &answer, sizeof(answer), MSG_NOSIGNAL) < 0)
			return;
	}
}

/* Keeps only what the verbs need: above all not the lock, which must fall when the daemon dies. */
static void helper_close_others(int fd, const struct tools *tools)
{
	bool by_diag = tools->method == EVICT_DIAG;

	for (int i = 3; i < 1024; i++)
		if (i != fd && i != tools->home_fd && !lookout_uses(&tools->lookout, i) &&
		    !(by_diag ? diag_uses(&tools->maps, i)
			      : i == tools->link_fd || i == tools->tcp_fd))
			(void)close(i);
}

static void helper_main(int fd, struct tools *tools, pid_t parent, int (*lockdown)(void))
{
	tools->home_fd = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);
	tools->lookout.home_fd = tools->home_fd;
	tools->lookout.cgroup_fd = open(tools->cgroup, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	(void)prctl(PR_SET_NAME, "sinewd-evict");
	(void)prctl(PR_SET_PDEATHSIG, SIGKILL);
	(void)signal(SIGINT, SIG_IGN);
	(void)signal(SIGHUP, SIG_IGN);
	(void)signal(SIGTERM, SIG_IGN);
	if (getppid() != parent || tools->home_fd < 0)
		_exit(1);
	helper_close_others(fd, tools);
	if (lockdown && lockdown() < 0)
		_exit(1);
	helper_serve(fd, tools);
	_exit(0);
}

/* The wanted way if the kernel has it; by itself the program, which knows sockets in storage, too.
 */
static int choose_method(const struct kernel *k, enum evict_method wanted)
{
	if (wanted != EVICT_DIAG && wanted != EVICT_OFF && k->evict_link_fd >= 0)
		return EVICT_ITERATOR;
	if ((wanted == EVICT_DIAG || wanted == EVICT_AUTO) && diag_probe() >= 0)
		return EVICT_DIAG;
	return -EOPNOTSUPP;
}

int evict_start(struct evict *e, const struct kernel *k, enum evict_method method,
		int (*lockdown)(void))
{
	struct tools tools = {
		.link_fd = k->evict_link_fd,
		.tcp_fd = k->evict_tcp_fd,
		.cgroup = k->cgroup,
		.maps = {.flows_fd = bpf_map__fd(k->skel->maps.sn_flows),
			 .backends_fd = bpf_map__fd(k->skel->maps.sn_backends),
			 .health_fd = bpf_map__fd(k->skel->maps.sn_health),
			 .services_fd = bpf_map__fd(k->skel->maps.sn_services),
			 .policies_fd = bpf_map__fd(k->skel->maps.sn_policies),
			 .flow_entries = k->flow_entries},
	};
	pid_t parent = getpid(), pid;
	int pair[2], r;

	*e = (struct evict){.fd = -1};
	r = choose_method(k, method);
	e->method = tools.method = r < 0 ? EVICT_OFF : (enum evict_method)r;
	tools.lookout.listeners_fd = bpf_map__fd(k->skel->maps.sn_listeners);
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0)
		return -errno;
	pid = fork();
	if (pid == 0)
		helper_main(pair[1], &tools, parent, lockdown);
	(void)close(pair[1]);
	if (pid < 0) {
		(void)close(pair[0]);
		return -errno;
	}
	e->pid = pid;
	e->fd = pair[0];
	return r < 0 ? r : 0;
}

int evict_send(struct evict *e, const struct evict_request *request)
{
	if (e->fd < 0)
		return -EOPNOTSUPP;
	if (send(e->fd, request, sizeof(*request), MSG_NOSIGNAL | MSG_DONTWAIT) < 0)
		return -errno;
	return 0;
}

int evict_receive(struct evict *e, struct evict_answer *ret)
{
	struct evict_answer answer;
	ssize_t n = recv(e->fd, &answer, sizeof(answer), MSG_DONTWAIT);

	if (n < 0)
		return -errno;
	if (n != sizeof(answer))
		return -EPIPE;
	*ret = answer;
	return 0;
}

void evict_stop(struct evict *e)
{
	closep(&e->fd); /* the helper reads end of file and exits */
	*e = (struct evict){.fd = -1, .pid = e->pid};
	evict_reap(e);
}

void evict_reap(struct evict *e)
{
	/* Its descriptors close a moment before it can be waited for, so once is not enough. */
	if (e->fd < 0 && e->pid > 0 && waitpid(e->pid, NULL, WNOHANG) != 0)
		e->pid = 0;
}
