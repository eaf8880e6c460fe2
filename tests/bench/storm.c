/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Calls that begin at a steady rate, whatever became of those before: connect, a small request, the
 * first byte of its reply, close. What a backend that dies does to an application is seen by it.
 *
 * Before it: tests/bench/run, which ends and starts backends meanwhile; the line "begin" tells it
 * when the clock starts. After it: one line of JSON, by phase in which a call began. It must never
 * try a call again, and never wait for one before the next is due.
 */
#include <getopt.h>
#include <netinet/in.h>
#include <stdbool.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include "bench.h"
#include "histogram.h"

#define CALLS_MAX 65536 /* highest descriptor */
#define PHASES_MAX 8
#define EVENTS 64
#define MESSAGE 64 /* what serve.c takes and gives when it is told nothing else */
#define MS 1000000ull

enum state { IDLE = 0, CONNECTING, ASKED };

struct call {
	uint64_t begin_ns;
	uint8_t state; /* enum state */
	uint8_t phase;
};

struct phase {
	uint64_t end_ms; /* since the first call */
	uint64_t begun, errors, at_connect;
	int first_errno;
	struct histogram opened; /* connect() */
	struct histogram whole;  /* connect and first byte */
};

struct storm {
	struct endpoint to;
	uint64_t every_ns, patience_ns;
	int phases, epoll;
	int highest; /* descriptor so far */
	uint64_t begin_ns, begun, open;
	struct call call[CALLS_MAX];
	struct phase phase[PHASES_MAX];
};

static uint64_t whole_ms(const struct storm *s)
{
	return s->phase[s->phases - 1].end_ms;
}

static struct phase *phase_at(struct storm *s, uint64_t since_ns, uint8_t *ret_number)
{
	int i = 0;

	while (i + 1 < s->phases && since_ns >= s->phase[i].end_ms * MS)
		i++;
	*ret_number = (uint8_t)i;
	return &s->phase[i];
}

/* The call is over. A reset on close leaves no TIME_WAIT behind. */
static void end_call(struct storm *s, int fd, int error)
{
	struct linger reset = {.l_onoff = 1};
	struct call *call = &s->call[fd];
	struct phase *phase = &s->phase[call->phase];

	if (error) {
		if (!phase->errors++)
			phase->first_errno = error;
		phase->at_connect += call->state == CONNECTING;
	} else {
		histogram_add(&phase->whole, now_ns() - call->begin_ns);
	}
	call->state = IDLE;
	s->open--;
	(void)setsockopt(fd, SOL_SOCKET, SO_LINGER, &reset, sizeof(reset));
	(void)close(fd);
}

static void begin_call(struct storm *s)
{
	struct epoll_event event = {.events = EPOLLOUT};
	uint64_t now = now_ns();
	uint8_t number;
	struct phase *phase = phase_at(s, now - s->begin_ns, &number);
	int fd = socket(s->to.addr.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

	s->begun++;
	phase->begun++;
	if (fd < 0 || fd >= CALLS_MAX) {
		if (!phase->errors++)
			phase->first_errno = fd < 0 ? errno : EMFILE;
		if (fd >= 0)
			(void)close(fd);
		return;
	}
	s->open++;
	s->highest = fd > s->highest ? fd : s->highest;
	s->call[fd] = (struct call){now, CONNECTING, number};
	event.data.fd = fd;
	if ((connect(fd, (struct sockaddr *)&s->to.addr, s->to.len) && errno != EINPROGRESS) ||
	    epoll_ctl(s->epoll, EPOLL_CTL_ADD, fd, &event))
		end_call(s, fd, errno);
}

/* Its connect() has ended, one way or the other. */
static void ask(struct storm *s, int fd)
{
	struct epoll_event event = {.events = EPOLLIN, .data.fd = fd};
	struct call *call = &s->call[fd];
	char request[MESSAGE] = {};
	socklen_t len = sizeof(int);
	int error = 0;

	if (getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &len) || error) {
		end_call(s, fd, error ? error : errno);
		return;
	}
	histogram_add(&s->phase[call->phase].opened, now_ns() - call->begin_ns);
	call->state = ASKED;
	if (send(fd, request, sizeof(request), MSG_NOSIGNAL) != (ssize_t)sizeof(request) ||
	    epoll_ctl(s->epoll, EPOLL_CTL_MOD, fd, &event))
		end_call(s, fd, errno);
}

static void hear(struct storm *s, int fd)
{
	char reply[MESSAGE];
	ssize_t n = recv(fd, reply, sizeof(reply), 0);

	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	end_call(s, fd, n > 0 ? 0 : n == 0 ? ECONNRESET : errno);
}

static void expire(struct storm *s, uint64_t now)
{
	for (int fd = 0; fd <= s->highest; fd++)
		if (s->call[fd].state != IDLE && now > s->call[fd].begin_ns + s->patience_ns)
			end_call(s, fd, ETIMEDOUT);
}

/* Waits for the next event, or until a call is due. */
static void wait_until(struct storm *s, uint64_t due)
{
	struct epoll_event events[EVENTS];
	uint64_t now = now_ns(), left = due > now ? due - now : 0;
	struct timespec bound = {(time_t)(left / 1000000000u), (long)(left % 1000000000u)};
	int n = epoll_pwait2(s->epoll, events, EVENTS, &bound, NULL);

	for (int i = 0; i < n; i++) {
		int fd = events[i].data.fd;

		if (s->call[fd].state == CONNECTING)
			ask(s, fd);
		else if (s->call[fd].state == ASKED)
			hear(s, fd);
	}
}

static void blow(struct storm *s)
{
	uint64_t last, now, looked;

	s->begin_ns = looked = now = now_ns();
	last = s->begin_ns + whole_ms(s) * MS;
	while (now < last || s->open) {
		uint64_t due = s->begin_ns + s->begun * s->every_ns;

		if (due < last && due <= now)
			begin_call(s);
		/* Those behind are begun one between two looks at what has ended. */
		wait_until(s, due < last ? due : now + MS);
		now = now_ns();
		if (now > looked + 20 * MS) {
			expire(s, now);
			looked = now;
		}
	}
}

/* The time within which the share `q` of all calls had an answer; one that failed never had one. */
static void print_quantile(const char *name, const struct phase *p, const struct histogram *h,
			   double q)
{
	double of_good = h->count ? q * (double)p->begun / (double)h->count : 2;

	if (of_good > 1)
		printf(",\"%s_ns\":null", name);
	else
		printf(",\"%s_ns\":%.0f", name, histogram_quantile(h, of_good));
}

static void print_phase(const struct phase *p)
{
	printf("{\"begun\":%lu,\"errors\":%lu,\"at_connect\":%lu,\"max_ns\":%lu",
	       (unsigned long)p->begun, (unsigned long)p->errors, (unsigned long)p->at_connect,
	       (unsigned long)p->whole.max);
	print_quantile("p50", p, &p->whole, 0.5);
	print_quantile("p99", p, &p->whole, 0.99);
	print_quantile("connect_p50", p, &p->opened, 0.5);
	print_quantile("connect_p99", p, &p->opened, 0.99);
	if (p->errors)
		printf(",\"first_error\":\"%s\"", strerror(p->first_errno));
	printf("}");
}

static int usage(void)
{
	fprintf(stderr,
		"usage: storm --to ADDRESS:PORT --phase MILLISECONDS... [--rate PER-SECOND]\n"
		"             [--patience MILLISECONDS] [--cpu N]\n");
	return 2;
}

/* 0, or -EINVAL for a word that makes no sense. */
static int parse_options(struct storm *s, int argc, char **argv)
{
	enum { TO, PHASE, RATE, PATIENCE, CPU };
	static const struct option options[] = {
		{"to", 1, NULL, TO},     {"phase", 1, NULL, PHASE},
		{"rate", 1, NULL, RATE}, {"patience", 1, NULL, PATIENCE},
		{"cpu", 1, NULL, CPU},   {},
	};
	long length, rate = 2000, patience = 2000, cpu = -1;
	uint64_t end = 0;
	int option, r = 0;

	while (r >= 0 && (option = getopt_long(argc, argv, "", options, NULL)) != -1) {
		if (option == TO) {
			r = endpoint_parse(optarg, &s->to);
		} else if (option == PHASE && s->phases < PHASES_MAX) {
			r = number_parse(optarg, 1, 600000, &length);
			end += r < 0 ? 0 : (uint64_t)length;
			s->phase[s->phases++].end_ms = end;
		} else if (option == RATE) {
			r = number_parse(optarg, 1, 1000000, &rate);
		} else if (option == PATIENCE) {
			r = number_parse(optarg, 1, 600000, &patience);
		} else if (option == CPU) {
			r = number_parse(optarg, 0, CPU_SETSIZE - 1, &cpu);
		} else {
			r = -EINVAL;
		}
	}
	if (r < 0 || optind != argc || !s->to.len || !s->phases)
		return -EINVAL;
	s->every_ns = 1000000000u / (uint64_t)rate;
	s->patience_ns = (uint64_t)patience * MS;
	return cpu >= 0 ? pin_cpu((int)cpu) : 0;
}

int main(int argc, char **argv)
{
	struct rlimit files = {CALLS_MAX, CALLS_MAX};
	static struct storm s;

	if (parse_options(&s, argc, argv) < 0)
		return usage();
	(void)setrlimit(RLIMIT_NOFILE, &files);
	s.epoll = epoll_create1(EPOLL_CLOEXEC);
	puts("begin");
	(void)fflush(stdout);
	blow(&s);
	printf("{\"begun\":%lu,\"phases\":[", (unsigned long)s.begun);
	for (int i = 0; i < s.phases; i++) {
		printf("%s", i ? "," : "");
		print_phase(&s.phase[i]);
	}
	printf("]}\n");
	return 0;
}
