/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The other end of load.c: one pinned loop that answers requests of a fixed size with replies of a
 * fixed size, or HTTP requests with one small page, or datagrams with themselves.
 *
 * Before it: tests/bench/run, which waits for the line "ready". After it: nothing; it runs until it
 * is ended, and ends itself when its parent does. It must never be the slow end: no allocation per
 * connection, one send per reply.
 */
#include <getopt.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdbool.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "bench.h"

#define SOCKETS_MAX 16
#define CONNECTIONS_MAX 65536 /* highest descriptor served */
#define MESSAGE_MAX 65536
#define EVENTS 64
#define HTTP_REPLY                                                                                 \
	"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 16\r\n\r\n0123456789abcde\n"

enum kind { CONNECTION = 0, LISTENER, ECHO, SINK };

struct connection {
	uint32_t kind;
	uint32_t got; /* bytes of the request that has begun; for HTTP, how much of \r\n\r\n was
			 seen */
};

struct serve {
	int epoll;
	bool http;
	long backlog, pause_us; /* before each accept() */
	size_t request_len, reply_len;
	int count; /* of sockets asked for */
	struct endpoint at[SOCKETS_MAX];
	enum kind kind[SOCKETS_MAX];
	struct connection connection[CONNECTIONS_MAX];
	char reply[MESSAGE_MAX], buffer[MESSAGE_MAX];
};

static int watch_socket(struct serve *s, int fd, enum kind kind)
{
	struct epoll_event event = {.events = EPOLLIN, .data.fd = fd};

	if (fd >= CONNECTIONS_MAX)
		return -EMFILE;
	s->connection[fd] = (struct connection){.kind = kind};
	/* A sink is bound so that datagrams have somewhere to go, and is never read. */
	if (kind != SINK && epoll_ctl(s->epoll, EPOLL_CTL_ADD, fd, &event))
		return -errno;
	return 0;
}

static int open_at(struct serve *s, const struct endpoint *at, enum kind kind)
{
	int type = kind == LISTENER ? SOCK_STREAM : SOCK_DGRAM;
	int fd = socket(at->addr.ss_family, type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	int on = 1;

	if (fd < 0)
		return -errno;
	(void)setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
	if (bind(fd, (const struct sockaddr *)&at->addr, at->len))
		return -errno;
	if (kind == LISTENER && listen(fd, (int)s->backlog))
		return -errno;
	return watch_socket(s, fd, kind);
}

static void accept_one(struct serve *s, int listener)
{
	int on = 1;
	int fd;

	if (s->pause_us)
		(void)usleep((useconds_t)s->pause_us);
	fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);

	if (fd < 0)
		return;
	(void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
	if (watch_socket(s, fd, CONNECTION) < 0)
		(void)close(fd);
}

/* How many requests these bytes complete. */
static int count_requests(const struct serve *s, struct connection *c, size_t len)
{
	static const char end[] = "\r\n\r\n";
	int requests = 0;

	if (!s->http) {
		c->got += (uint32_t)len;
		requests = (int)(c->got / s->request_len);
		c->got %= (uint32_t)s->request_len;
		return requests;
	}
	for (size_t i = 0; i < len; i++) {
		c->got = s->buffer[i] == end[c->got] ? c->got + 1 : s->buffer[i] == '\r';
		if (c->got == sizeof(end) - 1) {
			requests++;
			c->got = 0;
		}
	}
	return requests;
}

/* Replies are far smaller than a socket's buffer: a short send means the peer has gone. */
static void answer(struct serve *s, int fd)
{
	ssize_t n = recv(fd, s->buffer, sizeof(s->buffer), 0);
	int requests;

	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	requests = n > 0 ? count_requests(s, &s->connection[fd], (size_t)n) : 0;
	for (; requests > 0 && n > 0; requests--)
		if (send(fd, s->reply, s->reply_len, MSG_NOSIGNAL) != (ssize_t)s->reply_len)
			n = -1;
	if (n <= 0)
		(void)close(fd);
}

static void echo(struct serve *s, int fd)
{
	struct sockaddr_storage from;
	socklen_t len = sizeof(from);
	ssize_t n = recvfrom(fd, s->buffer, sizeof(s->buffer), 0, (struct sockaddr *)&from, &len);

	if (n >= 0)
		(void)sendto(fd, s->buffer, (size_t)n, 0, (struct sockaddr *)&from, len);
}

static int serve_loop(struct serve *s)
{
	struct epoll_event events[EVENTS];

	for (;;) {
		int n = epoll_wait(s->epoll, events, EVENTS, -1);

		if (n < 0 && errno != EINTR)
			return -errno;
		for (int i = 0; i < n; i++) {
			int fd = events[i].data.fd;

			if (s->connection[fd].kind == LISTENER)
				accept_one(s, fd);
			else if (s->connection[fd].kind == ECHO)
				echo(s, fd);
			else
				answer(s, fd);
		}
	}
}

static int add_socket(struct serve *s, enum kind kind, const char *text)
{
	if (s->count == SOCKETS_MAX)
		return -E2BIG;
	s->kind[s->count] = kind;
	return endpoint_parse(text, &s->at[s->count++]);
}

static int parse_options(struct serve *s, int argc, char **argv)
{
	enum { LISTEN, UDP, QUIET, CPU, HTTP, REQUEST, REPLY, BACKLOG, PAUSE };
	static const struct option options[] = {
		{"listen", 1, NULL, LISTEN}, {"udp", 1, NULL, UDP},
		{"sink", 1, NULL, QUIET},    {"cpu", 1, NULL, CPU},
		{"http", 0, NULL, HTTP},     {"request", 1, NULL, REQUEST},
		{"reply", 1, NULL, REPLY},   {"backlog", 1, NULL, BACKLOG},
		{"pause", 1, NULL, PAUSE},   {},
	};
	long cpu = -1, request = 64, reply = 64;
	int option, r = 0;

	while (r >= 0 && (option = getopt_long(argc, argv, "", options, NULL)) != -1) {
		if (option == LISTEN)
			r = add_socket(s, LISTENER, optarg);
		else if (option == UDP)
			r = add_socket(s, ECHO, optarg);
		else if (option == QUIET)
			r = add_socket(s, SINK, optarg);
		else if (option == CPU)
			r = number_parse(optarg, 0, CPU_SETSIZE - 1, &cpu);
		else if (option == HTTP)
			s->http = true;
		else if (option == REQUEST)
			r = number_parse(optarg, 1, MESSAGE_MAX, &request);
		else if (option == REPLY)
			r = number_parse(optarg, 1, MESSAGE_MAX, &reply);
		else if (option == BACKLOG)
			r = number_parse(optarg, 1, 65535, &s->backlog);
		else if (option == PAUSE)
			r = number_parse(optarg, 0, 1000000, &s->pause_us);
		else
			r = -EINVAL;
	}
	if (r < 0 || optind != argc || !s->count)
		return -EINVAL;
	s->request_len = (size_t)request;
	s->reply_len = s->http ? strlen(HTTP_REPLY) : (size_t)reply;
	memset(s->reply, 'r', sizeof(s->reply));
	if (s->http)
		memcpy(s->reply, HTTP_REPLY, s->reply_len);
	return cpu >= 0 ? pin_cpu((int)cpu) : 0;
}

int main(int argc, char **argv)
{
	static struct serve s = {.backlog = 4096};
	int r = parse_options(&s, argc, argv);

	if (r < 0) {
		fprintf(stderr,
			"usage: serve [--listen|--udp|--sink ADDRESS:PORT]... [--cpu N] [--http]\n"
			"             [--request BYTES] [--reply BYTES] [--backlog N]\n"
			"             [--pause MICROSECONDS]  (before each accept)\n");
		return 2;
	}
	(void)prctl(PR_SET_PDEATHSIG, SIGKILL);
	s.epoll = epoll_create1(EPOLL_CLOEXEC);
	for (int i = 0; i < s.count && r >= 0; i++)
		r = open_at(&s, &s.at[i], s.kind[i]);
	if (r >= 0) {
		puts("ready");
		(void)fflush(stdout);
		r = serve_loop(&s);
	}
	fprintf(stderr, "serve: %s\n", strerror(-r));
	return 1;
}
