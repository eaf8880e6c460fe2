/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Ways of sending and receiving datagrams that Python lacks. Started by test_udp_calls.py and
 * test_udp_memory.py.
 *
 *   datagrams mmsg FAMILY ADDRESS PORT [ADDRESS PORT]...   sendmmsg, one to each; recvmmsg
 *   datagrams gso FAMILY ADDRESS PORT connected|unconnected   16 datagrams by UDP_SEGMENT
 *   datagrams uring FAMILY ADDRESS PORT plain|async|sqpoll    sendmsg and recvmsg by io_uring
 *   datagrams storm ADDRESS PORT THREADS SOCKETS DATAGRAMS   the threads send so many at once over
 * each new socket
 *
 * A storm ends after 3 s if it has not before. FAMILY is 4, 6, or m: an IPv6 socket and mapped
 * addresses. Prints "SOURCE PORT DATA" for each datagram that came back, storm {"sent": N,
 * "failed": N}; "none" if the kernel lacks the way.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <liburing.h>
#include <netinet/udp.h>
#include <pthread.h>
#include <sched.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

#define MESSAGES 16
#define SEGMENT 100
#define DATAGRAM_BYTES 256

#ifndef UDP_SEGMENT
#define UDP_SEGMENT 103
#endif

struct address {
	struct sockaddr_storage name;
	socklen_t length;
};

/* A message with room for its own parts. */
struct message {
	struct msghdr header;
	struct iovec part;
	struct sockaddr_storage name;
	char data[DATAGRAM_BYTES];
};

static int fail(const char *what)
{
	(void)fprintf(stderr, "%s: %s\n", what, strerror(errno));
	return 1;
}

static bool address_parse(const char *family, const char *text, const char *port,
			  struct address *ret)
{
	struct sockaddr_in6 *v6 = (struct sockaddr_in6 *)&ret->name;
	struct sockaddr_in *v4 = (struct sockaddr_in *)&ret->name;
	char mapped[64];

	memset(ret, 0, sizeof(*ret));
	if (family[0] == '4') {
		v4->sin_family = AF_INET;
		v4->sin_port = htons((uint16_t)strtoul(port, NULL, 10));
		ret->length = sizeof(*v4);
		return inet_pton(AF_INET, text, &v4->sin_addr) == 1;
	}
	(void)snprintf(mapped, sizeof(mapped), "%s%s", family[0] == 'm' ? "::ffff:" : "", text);
	v6->sin6_family = AF_INET6;
	v6->sin6_port = htons((uint16_t)strtoul(port, NULL, 10));
	ret->length = sizeof(*v6);
	return inet_pton(AF_INET6, mapped, &v6->sin6_addr) == 1;
}

static int socket_open(const char *family)
{
	const struct timeval patience = {.tv_sec = 5};
	int fd = socket(family[0] == '4' ? AF_INET : AF_INET6, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	if (fd >= 0)
		(void)setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
	return fd;
}

static void print_datagram(const struct message *m, size_t length)
{
	const struct sockaddr_in6 *v6 = (const struct sockaddr_in6 *)&m->name;
	const struct sockaddr_in *v4 = (const struct sockaddr_in *)&m->name;
	char text[INET6_ADDRSTRLEN] = "nobody";
	uint16_t port_be = v4->sin_port;

	if (m->name.ss_family == AF_INET)
		(void)inet_ntop(AF_INET, &v4->sin_addr, text, sizeof(text));
	else if (m->name.ss_family == AF_INET6)
		(void)inet_ntop(AF_INET6, &v6->sin6_addr, text, sizeof(text));
	(void)printf("%s %u %.*s\n", text, ntohs(port_be), (int)length, m->data);
}

static void message_init(struct message *m, size_t length)
{
	memset(m, 0, sizeof(*m));
	m->part = (struct iovec){.iov_base = m->data, .iov_len = length};
	m->header = (struct msghdr){.msg_name = &m->name,
				    .msg_namelen = sizeof(m->name),
				    .msg_iov = &m->part,
				    .msg_iovlen = 1};
}

/* --- sendmmsg, recvmmsg ------------------------------------------------------------------- */

static int receive_many(int fd, unsigned int n)
{
	static struct message messages[MESSAGES];
	struct mmsghdr many[MESSAGES] = {};
	struct timespec patience = {.tv_sec = 5};
	int got;

	for (unsigned int i = 0; i < n; i++) {
		message_init(&messages[i], DATAGRAM_BYTES);
		many[i].msg_hdr = messages[i].header;
	}
	got = recvmmsg(fd, many, n, MSG_WAITALL, &patience);
	if (got < 0)
		return fail("recvmmsg");
	for (int i = 0; i < got; i++)
		print_datagram(&messages[i], many[i].msg_len);
	return 0;
}

static int by_mmsg(const char *family, int argc, char **argv)
{
	static struct message messages[MESSAGES];
	struct mmsghdr many[MESSAGES] = {};
	unsigned int n = 0;
	struct address to;
	int fd = socket_open(family), sent;

	for (; argc >= 2 && n < MESSAGES; argc -= 2, argv += 2, n++) {
		if (!address_parse(family, argv[0], argv[1], &to))
			return 2;
		message_init(&messages[n], strlen(argv[0]));
		memcpy(messages[n].data, argv[0], strlen(argv[0]));
		messages[n].name = to.name;
		messages[n].header.msg_namelen = to.length;
		many[n].msg_hdr = messages[n].header;
	}
	sent = sendmmsg(fd, many, n, 0);
	if (sent != (int)n)
		return fail("sendmmsg");
	return receive_many(fd, n);
}

/* --- UDP_SEGMENT -------------------------------------------------------------------------- */

static int by_gso(const char *family, int argc, char **argv)
{
	static char data[MESSAGES * SEGMENT];
	char control[CMSG_SPACE(sizeof(uint16_t))] = {};
	struct iovec part = {.iov_base = data, .iov_len = sizeof(data)};
	struct msghdr header = {.msg_iov = &part,
				.msg_iovlen = 1,
				.msg_control = control,
				.msg_controllen = sizeof(control)};
	struct cmsghdr *cmsg = CMSG_FIRSTHDR(&header);
	const uint16_t segment = SEGMENT;
	struct address to;
	int fd = socket_open(family);

	if (argc != 3 || !address_parse(family, argv[0], argv[1], &to))
		return 2;
	for (size_t i = 0; i < sizeof(data); i++)
		data[i] = (char)('a' + i / SEGMENT);
	cmsg->cmsg_level = SOL_UDP;
	cmsg->cmsg_type = UDP_SEGMENT;
	cmsg->cmsg_len = CMSG_LEN(sizeof(segment));
	memcpy(CMSG_DATA(cmsg), &segment, sizeof(segment));
	if (strcmp(argv[2], "connected") == 0) {
		if (connect(fd, (struct sockaddr *)&to.name, to.length) < 0)
			return fail("connect");
	} else {
		header.msg_name = &to.name;
		header.msg_namelen = to.length;
	}
	if (sendmsg(fd, &header, 0) != sizeof(data)) {
		if (errno == EINVAL || errno == EOPNOTSUPP || errno == EIO)
			return puts("none") < 0;
		return fail("sendmsg");
	}
	return receive_many(fd, MESSAGES);
}

/* --- io_uring ----------------------------------------------------------------------------- */

static int ring_wait(struct io_uring *ring)
{
	struct io_uring_cqe *cqe;
	int r;

	(void)io_uring_submit(ring);
	r = io_uring_wait_cqe(ring, &cqe);
	if (r < 0)
		return r;
	r = cqe->res;
	io_uring_cqe_seen(ring, cqe);
	return r;
}

static int ring_exchange(struct io_uring *ring, int fd, const struct address *to, bool async)
{
	struct message question, answer;
	struct io_uring_sqe *sqe;
	int r;

	for (int i = 0; i < MESSAGES; i++) {
		message_init(&question, 2);
		question.data[0] = 'q';
		question.data[1] = (char)('a' + i);
		question.name = to->name;
		question.header.msg_namelen = to->length;
		sqe = io_uring_get_sqe(ring);
		io_uring_prep_sendmsg(sqe, fd, &question.header, 0);
		io_uring_sqe_set_flags(sqe, async ? IOSQE_ASYNC : 0);
		r = ring_wait(ring);
		if (r < 0)
			return r;
		message_init(&answer, DATAGRAM_BYTES);
		sqe = io_uring_get_sqe(ring);
		io_uring_prep_recvmsg(sqe, fd, &answer.header, 0);
		io_uring_sqe_set_flags(sqe, async ? IOSQE_ASYNC : 0);
		r = ring_wait(ring);
		if (r < 0)
			return r;
		print_datagram(&answer, (size_t)r);
	}
	return 0;
}

static int by_uring(const char *family, int argc, char **argv)
{
	struct io_uring_params params = {};
	struct io_uring ring;
	struct address to;
	int r, fd = socket_open(family);

	if (argc != 3 || !address_parse(family, argv[0], argv[1], &to))
		return 2;
	if (strcmp(argv[2], "sqpoll") == 0)
		params.flags = IORING_SETUP_SQPOLL;
	if (io_uring_queue_init_params(8, &ring, &params) < 0)
		return puts("none") < 0;
	r = ring_exchange(&ring, fd, &to, strcmp(argv[2], "async") == 0);
	io_uring_queue_exit(&ring);
	if (r < 0) {
		errno = -r;
		return fail("io_uring");
	}
	return 0;
}

/* --- many threads, one socket ------------------------------------------------------------- */

struct storm {
	struct address to;
	unsigned int threads, sockets, datagrams;
	int fd;             /* of the socket whose turn it is */
	unsigned long turn; /* sockets that were opened */
	unsigned long done; /* calls that returned */
	unsigned long failed;
	time_t end;
	bool over;
	unsigned int leader; /* 0: not chosen yet */
};

/* Spins, for a thread that was asleep comes too late to meet the others. */
static void storm_await(const unsigned long *count, unsigned long wanted)
{
	while (__atomic_load_n(count, __ATOMIC_ACQUIRE) < wanted)
		(void)sched_yield();
}

static void storm_send(struct storm *s)
{
	const struct sockaddr *to = (struct sockaddr *)&s->to.name;

	for (unsigned int i = 0; i < s->datagrams; i++)
		if (sendto(s->fd, "x", 1, 0, to, s->to.length) != 1)
			(void)__atomic_fetch_add(&s->failed, 1, __ATOMIC_RELAXED);
}

static void *storm_sender(void *arg)
{
	struct storm *s = arg;
	bool leads = !__atomic_exchange_n(&s->leader, 1, __ATOMIC_ACQ_REL);

	for (unsigned long i = 1; i <= s->sockets; i++) {
		if (leads) {
			s->over = time(NULL) > s->end;
			s->fd = socket_open("4");
			(void)__atomic_fetch_add(&s->turn, 1, __ATOMIC_RELEASE);
		}
		storm_await(&s->turn, i);
		if (s->over)
			return NULL;
		storm_send(s);
		(void)__atomic_fetch_add(&s->done, 1, __ATOMIC_ACQ_REL);
		storm_await(&s->done, i * s->threads);
		if (leads)
			(void)close(s->fd);
	}
	return NULL;
}

static int storm(int argc, char **argv)
{
	static struct storm s;
	pthread_t threads[MESSAGES];

	if (argc != 5 || !address_parse("4", argv[0], argv[1], &s.to))
		return 2;
	s.threads = (unsigned int)strtoul(argv[2], NULL, 10);
	s.sockets = (unsigned int)strtoul(argv[3], NULL, 10);
	s.end = time(NULL) + 3;
	s.datagrams = (unsigned int)strtoul(argv[4], NULL, 10);
	if (s.threads > MESSAGES)
		return 2;
	for (unsigned int i = 0; i < s.threads; i++)
		if (pthread_create(&threads[i], NULL, storm_sender, &s))
			return fail("pthread_create");
	for (unsigned int i = 0; i < s.threads; i++)
		(void)pthread_join(threads[i], NULL);
	(void)printf("{\"sent\": %lu, \"failed\": %lu}\n", s.done * s.datagrams - s.failed,
		     s.failed);
	return 0;
}

int main(int argc, char **argv)
{
	if (argc > 4 && strcmp(argv[1], "mmsg") == 0)
		return by_mmsg(argv[2], argc - 3, argv + 3);
	if (argc > 4 && strcmp(argv[1], "gso") == 0)
		return by_gso(argv[2], argc - 3, argv + 3);
	if (argc > 4 && strcmp(argv[1], "uring") == 0)
		return by_uring(argv[2], argc - 3, argv + 3);
	if (argc > 2 && strcmp(argv[1], "storm") == 0)
		return storm(argc - 2, argv + 2);
	return 2;
}
