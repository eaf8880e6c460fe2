/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * From the API call to the kernel's map: changes one service again and again through the control
 * socket and looks at the mapped memory of sn_services until the change is there. With --look it
 * changes nothing itself: it prints when (CLOCK_MONOTONIC, ns) others' changes are there.
 *
 * Before it: tests/bench/run has a sinewd with the service. After it: one line of JSON. It must
 * never write to a map, and it must never wait without a bound.
 *
 * The clock starts before the request is written and stops when the service's `set` word differs,
 * both in this process; the answer is timed, too, since it also says that the change is on disk.
 */
#include <bpf/bpf.h>
#include <ctype.h>
#include <getopt.h>
#include <linux/bpf.h>
#include <netinet/in.h>
#include <signal.h>
#include <sinew/service.h>
#include <stdbool.h>
#include <strings.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "bench.h"
#include "histogram.h"

#define BODY_MAX 65536
#define ANSWER_MAX 65536
#define VISIBLE_WITHIN_NS 2000000000ull
#define LOOK_WITHIN_NS 600000000000ull
#define LOOK_EVERY_US 100

struct watch {
	const char *pin, *socket, *path;
	struct endpoint frontend;
	long changes;
	bool yield; /* one processor for the daemon and for us */
	bool look;
	char request[2][BODY_MAX + 512];
	size_t request_len[2];

	int fd;
	const volatile struct sn_service *service;
	struct histogram visible, answered;
};

static int read_body(struct watch *w, int which, const char *file)
{
	char body[BODY_MAX];
	size_t len;
	FILE *f = fopen(file, "re");

	if (!f)
		return -errno;
	len = fread(body, 1, sizeof(body), f);
	(void)fclose(f);
	if (len == sizeof(body))
		return -EFBIG;
	w->request_len[which] = (size_t)snprintf(
		w->request[which], sizeof(w->request[which]),
		"PUT %s HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
		"Content-Length: %zu\r\n\r\n%.*s",
		w->path, len, (int)len, body);
	return 0;
}

static struct sn_frontend key_of(const struct endpoint *e)
{
	const struct sockaddr_in *in = (const struct sockaddr_in *)&e->addr;
	const struct sockaddr_in6 *in6 = (const struct sockaddr_in6 *)&e->addr;
	struct sn_frontend key = {.proto = SN_PROTO_TCP};

	if (e->addr.ss_family == AF_INET6) {
		memcpy(key.addr.word_be, &in6->sin6_addr, sizeof(key.addr.word_be));
		key.port_be = in6->sin6_port;
		return key;
	}
	key.addr.word_be[2] = htonl(0xffff);
	key.addr.word_be[3] = in->sin_addr.s_addr;
	key.port_be = in->sin_port;
	return key;
}

/* Maps the pinned array to read and finds the service's element. */
static int find_service(struct watch *w)
{
	struct sn_frontend key = key_of(&w->frontend);
	struct bpf_map_info info = {};
	__u32 len = sizeof(info);
	struct sn_service *all;
	int fd = bpf_obj_get(w->pin);

	if (fd < 0 || bpf_obj_get_info_by_fd(fd, &info, &len))
		return -errno;
	if (info.value_size != sizeof(struct sn_service))
		return -EPROTO;
	all = mmap(NULL, (size_t)info.max_entries * sizeof(*all), PROT_READ, MAP_SHARED, fd, 0);
	if (all == MAP_FAILED)
		return -errno;
	for (__u32 i = 1; i < info.max_entries; i++) {
		if (all[i].set == SN_NONE || memcmp(&all[i].frontend, &key, sizeof(key)))
			continue;
		w->service = &all[i];
		return 0;
	}
	return -ENOENT;
}

static int connect_control(struct watch *w)
{
	struct sockaddr_un at = {.sun_family = AF_UNIX};
	struct timeval bound = {.tv_sec = 5};

	if (strlen(w->socket) >= sizeof(at.sun_path))
		return -ENAMETOOLONG;
	memcpy(at.sun_path, w->socket, strlen(w->socket));
	w->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (w->fd < 0 || connect(w->fd, (struct sockaddr *)&at, sizeof(at)))
		return -errno;
	(void)setsockopt(w->fd, SOL_SOCKET, SO_RCVTIMEO, &bound, sizeof(bound));
	(void)setsockopt(w->fd, SOL_SOCKET, SO_SNDTIMEO, &bound, sizeof(bound));
	return 0;
}

/* Bytes of the whole answer once its head is there, else 0. */
static size_t answer_length(const char *answer)
{
	const char *body = strstr(answer, "\r\n\r\n");
	const char *length = strcasestr(answer, "\r\nContent-Length:");

	if (!body)
		return 0;
	body += 4;
	if (!length || length > body)
		return (size_t)(body - answer);
	return (size_t)(body - answer) + strtoul(length + 17, NULL, 10);
}

/* 0 for a 2xx answer; what else was said goes to standard error. */
static int read_answer(struct watch *w)
{
	char answer[ANSWER_MAX] = "";
	size_t len = 0, want = 0;

	while (!want || len < want) {
		ssize_t n = recv(w->fd, answer + len, sizeof(answer) - 1 - len, 0);

		if (n <= 0)
			return n ? -errno : -ECONNRESET;
		len += (size_t)n;
		answer[len] = '\0';
		want = answer_length(answer);
	}
	if (!strncmp(answer, "HTTP/1.1 2", 10))
		return 0;
	fprintf(stderr, "watch: %.600s\n", answer);
	return -EBADMSG;
}

static int change_once(struct watch *w, int which)
{
	__u32 before = w->service->set;
	uint64_t begin = now_ns(), now = begin;
	ssize_t n = send(w->fd, w->request[which], w->request_len[which], MSG_NOSIGNAL);
	int r;

	if (n != (ssize_t)w->request_len[which])
		return -EPIPE;
	while (w->service->set == before && now - begin < VISIBLE_WITHIN_NS) {
		if (w->yield)
			(void)sched_yield();
		now = now_ns();
	}
	now = now_ns();
	if (w->service->set == before)
		return -ETIMEDOUT;
	histogram_add(&w->visible, now - begin);
	r = read_answer(w);
	histogram_add(&w->answered, now_ns() - begin);
	return r;
}

/* Until whoever started it ends it, or nothing more is to be expected. */
static int look(const struct watch *w)
{
	uint64_t begin = now_ns();
	__u32 before = w->service->set;

	(void)puts("ready");
	while (now_ns() - begin < LOOK_WITHIN_NS && fflush(stdout) == 0) {
		__u32 set = w->service->set;

		if (set != before)
			(void)printf("%lu\n", (unsigned long)now_ns());
		else
			(void)usleep(LOOK_EVERY_US);
		before = set;
	}
	return 0;
}

static int parse_options(struct watch *w, int argc, char **argv, const char **ret_bodies)
{
	enum { PIN, SOCKET, PATH, FRONTEND, CHANGES, CPU, YIELD, LOOK };
	static const struct option options[] = {
		{"pin", 1, NULL, PIN},
		{"socket", 1, NULL, SOCKET},
		{"path", 1, NULL, PATH},
		{"frontend", 1, NULL, FRONTEND},
		{"changes", 1, NULL, CHANGES},
		{"cpu", 1, NULL, CPU},
		{"yield", 0, NULL, YIELD},
		{"look", 0, NULL, LOOK},
		{},
	};
	long cpu = -1;
	int option, r = 0;

	while (r >= 0 && (option = getopt_long(argc, argv, "", options, NULL)) != -1) {
		if (option == PIN)
			w->pin = optarg;
		else if (option == SOCKET)
			w->socket = optarg;
		else if (option == PATH)
			w->path = optarg;
		else if (option == FRONTEND)
			r = endpoint_parse(optarg, &w->frontend);
		else if (option == CHANGES)
			r = number_parse(optarg, 1, 1000000, &w->changes);
		else if (option == CPU)
			r = number_parse(optarg, 0, CPU_SETSIZE - 1, &cpu);
		else if (option == YIELD)
			w->yield = true;
		else if (option == LOOK)
			w->look = true;
		else
			r = -EINVAL;
	}
	if (w->look && r >= 0 && argc == optind && w->pin && w->frontend.len)
		return cpu >= 0 ? pin_cpu((int)cpu) : 0;
	if (r < 0 || argc - optind != 2 || !w->pin || !w->socket || !w->path || !w->frontend.len)
		return -EINVAL;
	ret_bodies[0] = argv[optind];
	ret_bodies[1] = argv[optind + 1];
	return cpu >= 0 ? pin_cpu((int)cpu) : 0;
}

static void print_result(const struct watch *w, int r)
{
	printf("{\"changes\":%lu,\"visible_p50_ns\":%.0f,\"visible_p99_ns\":%.0f,\"visible_max_ns\":%lu,",
	       (unsigned long)w->visible.count, histogram_quantile(&w->visible, 0.5),
	       histogram_quantile(&w->visible, 0.99), (unsigned long)w->visible.max);
	printf("\"answered_p50_ns\":%.0f,\"answered_p99_ns\":%.0f,\"error\":\"%s\"}\n",
	       histogram_quantile(&w->answered, 0.5), histogram_quantile(&w->answered, 0.99),
	       r < 0 ? strerror(-r) : "");
}

int main(int argc, char **argv)
{
	static struct watch w = {.changes = 1000, .fd = -1};
	const char *bodies[2];
	int r = parse_options(&w, argc, argv, bodies);

	if (r < 0) {
		fprintf(stderr,
			"usage: watch --pin MAP --socket SOCKET --path PATH --frontend ADDRESS:PORT\n"
			"             [--changes N] [--cpu N] [--yield] BODY OTHER-BODY\n"
			"       watch --look --pin MAP --frontend ADDRESS:PORT [--cpu N]\n");
		return 2;
	}
	for (int i = 0; i < 2 && r >= 0 && !w.look; i++)
		r = read_body(&w, i, bodies[i]);
	if (r >= 0)
		r = find_service(&w);
	if (w.look) {
		if (r >= 0)
			r = look(&w);
		if (r < 0)
			fprintf(stderr, "watch: %s\n", strerror(-r));
		return r < 0;
	}
	if (r >= 0)
		r = connect_control(&w);
	for (long i = 0; i < w.changes && r >= 0; i++)
		r = change_once(&w, (int)(i % 2));
	print_result(&w, r);
	return r < 0;
}
