/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * HTTP requests of which every step is io_uring's: connect, send and receive are one chain. Started
 * by test_http.py.
 *
 *   uring_http ADDRESS PORT TIMES      prints "ANSWER PEER:PORT" for each; "none" without io_uring
 */
#include <arpa/inet.h>
#include <liburing.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static const char request[] = "GET / HTTP/1.0\r\n\r\n";

static socklen_t fill_address(const char *text, const char *port, struct sockaddr_storage *ret)
{
	struct sockaddr_in6 *v6 = (struct sockaddr_in6 *)ret;
	struct sockaddr_in *v4 = (struct sockaddr_in *)ret;

	memset(ret, 0, sizeof(*ret));
	v6->sin6_family = strchr(text, ':') ? AF_INET6 : AF_INET;
	v6->sin6_port = htons((uint16_t)strtoul(port, NULL, 10));
	if (v6->sin6_family == AF_INET6)
		return inet_pton(AF_INET6, text, &v6->sin6_addr) == 1 ? sizeof(*v6) : 0;
	return inet_pton(AF_INET, text, &v4->sin_addr) == 1 ? sizeof(*v4) : 0;
}

/* Bytes received by the chain's last step, or the first error. */
static int run_chain(struct io_uring *ring)
{
	struct io_uring_cqe *cqe;
	int r, first_error = 0, last = 0;

	r = io_uring_submit_and_wait(ring, 3);
	if (r < 0)
		return r;
	for (int i = 0; i < 3; i++) {
		r = io_uring_wait_cqe(ring, &cqe);
		if (r < 0)
			return r;
		if (cqe->res < 0 && !first_error)
			first_error = cqe->res;
		if (cqe->user_data == 3)
			last = cqe->res;
		io_uring_cqe_seen(ring, cqe);
	}
	return first_error ?: last;
}

static int ask(struct io_uring *ring, int fd, const struct sockaddr_storage *to, socklen_t length)
{
	struct io_uring_sqe *sqe = io_uring_get_sqe(ring);
	char said[4096], *body;
	int r;

	io_uring_prep_connect(sqe, fd, (const struct sockaddr *)to, length);
	io_uring_sqe_set_data64(sqe, 1);
	sqe->flags |= IOSQE_IO_LINK;
	sqe = io_uring_get_sqe(ring);
	io_uring_prep_send(sqe, fd, request, sizeof(request) - 1, 0);
	io_uring_sqe_set_data64(sqe, 2);
	sqe->flags |= IOSQE_IO_LINK;
	sqe = io_uring_get_sqe(ring);
	/* As much as there is until the server closes. */
	io_uring_prep_recv(sqe, fd, said, sizeof(said) - 1, MSG_WAITALL);
	io_uring_sqe_set_data64(sqe, 3);
	r = run_chain(ring);
	if (r < 0)
		return r;
	said[r] = '\0';
	body = strstr(said, "\r\n\r\n");
	(void)printf("%s ", body ? body + 4 : "no-answer");
	return 0;
}

static void print_peer(int fd)
{
	struct sockaddr_storage peer = {};
	socklen_t length = sizeof(peer);
	char text[INET6_ADDRSTRLEN] = "-";

	if (getpeername(fd, (struct sockaddr *)&peer, &length) == 0)
		inet_ntop(peer.ss_family,
			  peer.ss_family == AF_INET6
				  ? (void *)&((struct sockaddr_in6 *)&peer)->sin6_addr
				  : (void *)&((struct sockaddr_in *)&peer)->sin_addr,
			  text, sizeof(text));
	(void)printf("%s:%d\n", text, ntohs(((struct sockaddr_in *)&peer)->sin_port));
}

int main(int argc, char **argv)
{
	struct sockaddr_storage to;
	struct io_uring ring;
	socklen_t length;
	int fd, r = 0;

	length = argc == 4 ? fill_address(argv[1], argv[2], &to) : 0;
	if (!length)
		return 2;
	if (io_uring_queue_init(8, &ring, 0) < 0) {
		puts("none");
		return 0;
	}
	for (long i = strtol(argv[3], NULL, 10); i > 0 && r >= 0; i--) {
		fd = socket(to.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
		r = ask(&ring, fd, &to, length);
		if (r < 0)
			(void)fprintf(stderr, "%s\n", strerror(-r));
		else
			print_peer(fd);
		(void)close(fd);
	}
	io_uring_queue_exit(&ring);
	return r < 0;
}
