/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The load: one pinned client that does one thing over and over for a bounded time, and times it.
 *
 * Before it: tests/bench/run, which places it in a cgroup and a network namespace, and serve.c at
 * the other end. After it: one line of JSON on standard output. It must never retry or hide what
 * failed: every error is counted and the first one is named.
 *
 *   crr           socket, connect, request, reply, close
 *   connect       socket, connect, close
 *   refused       the same to a port where nobody listens; ECONNREFUSED is the expected end
 *   rr            request and reply on one open connection
 *   udp-connect   connect() of one datagram socket, again and again: no packet is sent
 *   udp           sendto() and recvfrom() on an unconnected socket
 *   sendto        sendto() alone, to a socket that nobody reads
 */
#include <getopt.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdbool.h>
#include <sys/socket.h>
#include <unistd.h>

#include "bench.h"
#include "histogram.h"

#define ERRORS_MAX 1000 /* then the loop gives up: it is measuring something else */
#define MESSAGE_MAX 65536
#define BATCH 16 /* calls too short for a clock each are timed together */
#define HTTP_REQUEST "GET /bench HTTP/1.1\r\nHost: bench\r\nUser-Agent: load\r\n\r\n"
#define HTTP_TAIL "\r\n\r\n0123456789abcde\n" /* how serve.c's reply ends, whoever adds headers */

struct load {
	struct endpoint to;
	const char *mode;
	double seconds;
	size_t request_len, reply_len;
	uint64_t every_ns; /* between the begins of two operations; 0: one after the other */
	bool http, reset;
	char request[MESSAGE_MAX], reply[MESSAGE_MAX];

	uint64_t end_ns;
	uint64_t errors;
	int first_errno;
	const char *first_call;
	struct histogram whole;  /* one operation */
	struct histogram opened; /* its connect() */
};

struct mode {
	const char *name;
	void (*run)(struct load *l);
};

static void failed(struct load *l, const char *call)
{
	if (!l->errors++) {
		l->first_errno = errno;
		l->first_call = call;
	}
}

static bool going(const struct load *l, uint64_t now)
{
	return now < l->end_ns && l->errors < ERRORS_MAX;
}

static int open_socket(struct load *l, int type)
{
	struct timeval bound = {.tv_sec = 2};
	int fd = socket(l->to.addr.ss_family, type | SOCK_CLOEXEC, 0);

	if (fd < 0) {
		failed(l, "socket");
		return -1;
	}
	/* Whatever hangs ends the operation as an error. */
	(void)setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &bound, sizeof(bound));
	(void)setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &bound, sizeof(bound));
	return fd;
}

static bool send_request(struct load *l, int fd)
{
	ssize_t n = send(fd, l->request, l->request_len, MSG_NOSIGNAL);

	if (n == (ssize_t)l->request_len)
		return true;
	failed(l, "send");
	return false;
}

static bool is_whole(const struct load *l, size_t len)
{
	const size_t tail = sizeof(HTTP_TAIL) - 1;

	if (!l->http)
		return len >= l->reply_len;
	return len >= tail && !memcmp(l->reply + len - tail, HTTP_TAIL, tail);
}

static bool receive_reply(struct load *l, int fd)
{
	size_t len = 0;

	while (!is_whole(l, len)) {
		ssize_t n = recv(fd, l->reply + len, sizeof(l->reply) - len, 0);

		if (n <= 0) {
			errno = n == 0 ? ECONNRESET : errno;
			failed(l, "recv");
			return false;
		}
		len += (size_t)n;
	}
	return true;
}

/* A reset leaves no TIME_WAIT behind, so that a long run does not measure port exhaustion. */
static void close_connection(const struct load *l, int fd)
{
	struct linger reset = {.l_onoff = 1};

	if (l->reset)
		(void)setsockopt(fd, SOL_SOCKET, SO_LINGER, &reset, sizeof(reset));
	(void)close(fd);
}

/* When the next operation begins. */
static uint64_t next_begin(const struct load *l, uint64_t begin, uint64_t end)
{
	uint64_t next = begin + l->every_ns;
	struct timespec at = {(time_t)(next / 1000000000u), (long)(next % 1000000000u)};

	if (next <= end)
		return end;
	(void)clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &at, NULL);
	return now_ns();
}

static void run_connections(struct load *l, bool exchange)
{
	uint64_t begin = now_ns();

	while (going(l, begin)) {
		uint64_t before, after, end;
		bool good = true;
		int fd = open_socket(l, SOCK_STREAM);

		before = now_ns();
		if (fd < 0 || connect(fd, (struct sockaddr *)&l->to.addr, l->to.len)) {
			failed(l, "connect");
			good = false;
		}
		after = now_ns();
		if (good && exchange)
			good = send_request(l, fd) && receive_reply(l, fd);
		if (fd >= 0)
			close_connection(l, fd);
		end = now_ns();
		if (good) {
			histogram_add(&l->opened, after - before);
			histogram_add(&l->whole, end - begin);
		}
		begin = next_begin(l, begin, end);
	}
}

static void run_crr(struct load *l)
{
	run_connections(l, true);
}

static void run_connect(struct load *l)
{
	run_connections(l, false);
}

static void run_refused(struct load *l)
{
	uint64_t begin = now_ns();

	while (going(l, begin)) {
		uint64_t end;
		int fd = open_socket(l, SOCK_STREAM);
		int r = fd < 0 ? 0 : connect(fd, (struct sockaddr *)&l->to.addr, l->to.len);

		if (!r || errno != ECONNREFUSED)
			failed(l, "connect (expected ECONNREFUSED)");
		if (fd >= 0)
			(void)close(fd);
		end = now_ns();
		histogram_add(&l->whole, end - begin);
		begin = end;
	}
}

static void run_rr(struct load *l)
{
	uint64_t begin;
	int on = 1;
	int fd = open_socket(l, SOCK_STREAM);

	if (fd < 0)
		return;
	if (connect(fd, (struct sockaddr *)&l->to.addr, l->to.len))
		failed(l, "connect");
	(void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
	begin = now_ns();
	/* After an error the connection's bytes are out of step: no second try. */
	while (!l->errors && going(l, begin)) {
		uint64_t end;

		if (!send_request(l, fd) || !receive_reply(l, fd))
			break;
		end = now_ns();
		histogram_add(&l->whole, end - begin);
		begin = end;
	}
	close_connection(l, fd);
}

static void run_udp_connect(struct load *l)
{
	uint64_t begin = now_ns();
	int fd = open_socket(l, SOCK_DGRAM);

	while (fd >= 0 && going(l, begin)) {
		uint64_t end;

		for (int i = 0; i < BATCH; i++)
			if (connect(fd, (struct sockaddr *)&l->to.addr, l->to.len))
				failed(l, "connect");
		end = now_ns();
		histogram_add(&l->whole, (end - begin) / BATCH);
		begin = end;
	}
	if (fd >= 0)
		(void)close(fd);
}

static bool send_datagram(struct load *l, int fd)
{
	if (sendto(fd, l->request, l->request_len, 0, (struct sockaddr *)&l->to.addr, l->to.len) >=
	    0)
		return true;
	failed(l, "sendto");
	return false;
}

static void run_udp(struct load *l)
{
	uint64_t begin = now_ns();
	int fd = open_socket(l, SOCK_DGRAM);

	while (fd >= 0 && going(l, begin)) {
		struct sockaddr_storage from;
		socklen_t len = sizeof(from);
		uint64_t sent, end;

		if (!send_datagram(l, fd))
			break;
		sent = now_ns();
		if (recvfrom(fd, l->reply, sizeof(l->reply), 0, (struct sockaddr *)&from, &len) < 0)
			failed(l, "recvfrom");
		end = now_ns();
		histogram_add(&l->opened, sent - begin);
		histogram_add(&l->whole, end - begin);
		begin = end;
	}
	if (fd >= 0)
		(void)close(fd);
}

static void run_sendto(struct load *l)
{
	uint64_t begin = now_ns();
	int fd = open_socket(l, SOCK_DGRAM);

	while (fd >= 0 && going(l, begin)) {
		uint64_t end;

		for (int i = 0; i < BATCH; i++)
			(void)send_datagram(l, fd);
		end = now_ns();
		histogram_add(&l->whole, (end - begin) / BATCH);
		begin = end;
	}
	if (fd >= 0)
		(void)close(fd);
}

static const struct mode modes[] = {
	{"crr", run_crr},       {"connect", run_connect}, {"refused", run_refused},
	{"rr", run_rr},         {"udp", run_udp},         {"udp-connect", run_udp_connect},
	{"sendto", run_sendto},
};

static const struct mode *find_mode(const char *name)
{
	for (size_t i = 0; i < sizeof(modes) / sizeof(modes[0]); i++)
		if (name && !strcmp(modes[i].name, name))
			return &modes[i];
	return NULL;
}

static void print_result(const struct load *l, double seconds)
{
	printf("{\"mode\":\"%s\",\"operations\":%lu,\"errors\":%lu,\"seconds\":%.4f,", l->mode,
	       (unsigned long)l->whole.count, (unsigned long)l->errors, seconds);
	printf("\"p50_ns\":%.2f,\"p99_ns\":%.2f,\"mean_ns\":%.2f,\"max_ns\":%lu",
	       histogram_quantile(&l->whole, 0.5), histogram_quantile(&l->whole, 0.99),
	       histogram_mean(&l->whole), (unsigned long)l->whole.max);
	if (l->opened.count)
		printf(",\"first_p50_ns\":%.2f,\"first_p99_ns\":%.2f",
		       histogram_quantile(&l->opened, 0.5), histogram_quantile(&l->opened, 0.99));
	if (l->errors)
		printf(",\"first_error\":\"%s: %s\"", l->first_call, strerror(l->first_errno));
	printf("}\n");
}

static int usage(void)
{
	fprintf(stderr,
		"usage: load --mode crr|connect|refused|rr|udp|udp-connect|sendto --to ADDRESS:PORT\n"
		"            [--milliseconds N] [--cpu N] [--http] [--request BYTES] [--reply BYTES] [--fin]\n"
		"            [--rate PER-SECOND]  (crr and connect)\n");
	return 2;
}

/* 0, or -EINVAL for a word that makes no sense. */
static int parse_options(struct load *l, int argc, char **argv)
{
	enum { MODE, TO, TIME, CPU, HTTP, REQUEST, REPLY, FIN, RATE };
	static const struct option options[] = {
		{"mode", 1, NULL, MODE},         {"to", 1, NULL, TO},
		{"milliseconds", 1, NULL, TIME}, {"cpu", 1, NULL, CPU},
		{"http", 0, NULL, HTTP},         {"request", 1, NULL, REQUEST},
		{"reply", 1, NULL, REPLY},       {"fin", 0, NULL, FIN},
		{"rate", 1, NULL, RATE},         {},
	};
	long time_ms = 1000, cpu = -1, request = 64, reply = 64, rate = 0;
	int option, r = 0;

	while (r >= 0 && (option = getopt_long(argc, argv, "", options, NULL)) != -1) {
		if (option == MODE)
			l->mode = optarg;
		else if (option == TO)
			r = endpoint_parse(optarg, &l->to);
		else if (option == TIME)
			r = number_parse(optarg, 1, 600000, &time_ms);
		else if (option == CPU)
			r = number_parse(optarg, 0, CPU_SETSIZE - 1, &cpu);
		else if (option == HTTP)
			l->http = true;
		else if (option == REQUEST)
			r = number_parse(optarg, 1, MESSAGE_MAX, &request);
		else if (option == REPLY)
			r = number_parse(optarg, 1, MESSAGE_MAX, &reply);
		else if (option == FIN)
			l->reset = false;
		else if (option == RATE)
			r = number_parse(optarg, 1, 1000000, &rate);
		else
			r = -EINVAL;
	}
	if (r < 0 || optind != argc || !l->to.len)
		return -EINVAL;
	l->seconds = (double)time_ms / 1e3;
	l->request_len = l->http ? strlen(HTTP_REQUEST) : (size_t)request;
	l->reply_len = (size_t)reply;
	l->every_ns = rate ? 1000000000u / (uint64_t)rate : 0;
	return cpu >= 0 ? pin_cpu((int)cpu) : 0;
}

int main(int argc, char **argv)
{
	static struct load l = {.reset = true};
	const struct mode *mode;
	uint64_t begin;
	int r = parse_options(&l, argc, argv);

	mode = find_mode(l.mode);
	if (r < 0 || !mode)
		return usage();
	memset(l.request, 'q', sizeof(l.request));
	if (l.http)
		memcpy(l.request, HTTP_REQUEST, l.request_len);
	begin = now_ns();
	l.end_ns = begin + (uint64_t)(l.seconds * 1e9);
	mode->run(&l);
	print_result(&l, (double)(now_ns() - begin) / 1e9);
	return 0;
}
