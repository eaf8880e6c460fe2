/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * One connect() through io_uring, as its caller chooses to run it. Started by test_tcp_connect.py.
 *
 *   uring_connect plain|async|sqpoll ADDRESS PORT
 *
 * plain: the ring polls; async: a worker thread of the kernel connects; sqpoll: the ring's own
 * thread does. Prints "RESULT PEER PORT", then what the server said; "none" if there is no
 * io_uring.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <liburing.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static socklen_t fill_address(const char *text, const char *port, struct sockaddr_storage *ret)
{
	struct sockaddr_in6 *v6 = (struct sockaddr_in6 *)ret;
	struct sockaddr_in *v4 = (struct sockaddr_in *)ret;

	memset(ret, 0, sizeof(*ret));
	if (strchr(text, ':')) {
		v6->sin6_family = AF_INET6;
		v6->sin6_port = htons((uint16_t)strtoul(port, NULL, 10));
		return inet_pton(AF_INET6, text, &v6->sin6_addr) == 1 ? sizeof(*v6) : 0;
	}
	v4->sin_family = AF_INET;
	v4->sin_port = htons((uint16_t)strtoul(port, NULL, 10));
	return inet_pton(AF_INET, text, &v4->sin_addr) == 1 ? sizeof(*v4) : 0;
}

static int connect_by_ring(struct io_uring *ring, int fd, const struct sockaddr_storage *address,
			   socklen_t length, int async)
{
	struct io_uring_sqe *sqe = io_uring_get_sqe(ring);
	struct io_uring_cqe *cqe;
	int r;

	io_uring_prep_connect(sqe, fd, (const struct sockaddr *)address, length);
	if (async)
		sqe->flags |= IOSQE_ASYNC;
	r = io_uring_submit_and_wait(ring, 1);
	if (r < 0)
		return r;
	r = io_uring_wait_cqe(ring, &cqe);
	if (r < 0)
		return r;
	r = cqe->res;
	io_uring_cqe_seen(ring, cqe);
	return r;
}

static void print_peer(int fd, int result)
{
	char text[INET6_ADDRSTRLEN] = "-", said[256];
	struct sockaddr_storage peer = {};
	socklen_t length = sizeof(peer);
	uint16_t port = 0;
	ssize_t n;

	if (getpeername(fd, (struct sockaddr *)&peer, &length) == 0 && peer.ss_family == AF_INET) {
		inet_ntop(AF_INET, &((struct sockaddr_in *)&peer)->sin_addr, text, sizeof(text));
		port = ntohs(((struct sockaddr_in *)&peer)->sin_port);
	} else if (peer.ss_family == AF_INET6) {
		inet_ntop(AF_INET6, &((struct sockaddr_in6 *)&peer)->sin6_addr, text, sizeof(text));
		port = ntohs(((struct sockaddr_in6 *)&peer)->sin6_port);
	}
	printf("%d %s %u ", result, text, port);
	while (result == 0 && (n = read(fd, said, sizeof(said))) > 0)
		fwrite(said, 1, (size_t)n, stdout);
	printf("\n");
}

int main(int argc, char **argv)
{
	struct io_uring_params params = {.sq_thread_idle = 100};
	struct sockaddr_storage address;
	struct io_uring ring;
	socklen_t length;
	int fd, r;

	length = argc == 4 ? fill_address(argv[2], argv[3], &address) : 0;
	if (!length)
		return 2;
	if (!strcmp(argv[1], "sqpoll"))
		params.flags = IORING_SETUP_SQPOLL;
	r = io_uring_queue_init_params(4, &ring, &params);
	if (r == -ENOSYS || r == -EPERM) {
		printf("none\n");
		return 0;
	}
	fd = socket(address.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (r < 0 || fd < 0)
		return 1;
	r = connect_by_ring(&ring, fd, &address, length, !strcmp(argv[1], "async"));
	print_peer(fd, r);
	io_uring_queue_exit(&ring);
	close(fd);
	return 0;
}
