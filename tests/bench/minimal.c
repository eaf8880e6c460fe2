/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Attaches one program of minimal.bpf.c to a cgroup and keeps it there.
 *
 * Before it: tests/bench/run makes the cgroup and writes the services, one "ADDRESS:PORT PROTOCOL
 * BACKEND:PORT..." per line, to standard input. After it: the line "ready"; the program is detached
 * when this process ends, which it does with its parent. It must never pin anything.
 */
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <signal.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "bench.h"
#include "bench/minimal.skel.h"
#include "minimal.h"

#define LINE_MAX_BYTES 512

static int parse_address(const char *text, __u32 *ret_addr_be, __u16 *ret_port_be)
{
	struct endpoint e = {};
	const struct sockaddr_in *in = (const struct sockaddr_in *)&e.addr;
	int r = endpoint_parse(text, &e);

	if (r < 0 || e.addr.ss_family != AF_INET)
		return -EINVAL;
	*ret_addr_be = in->sin_addr.s_addr;
	*ret_port_be = in->sin_port;
	return 0;
}

/* `words` is cut up. *next is the first backend index that is free. */
static int add_service(struct minimal *m, char *words, __u32 *next)
{
	struct minimal_key key = {};
	struct minimal_service service = {.first = *next};
	char *rest = NULL;
	const char *at = strtok_r(words, " \n", &rest);
	const char *protocol = strtok_r(NULL, " \n", &rest);
	const char *backend;
	int r;

	if (!at || !protocol)
		return -EINVAL;
	r = parse_address(at, &key.addr_be, &key.port_be);
	key.protocol = strcmp(protocol, "udp") ? IPPROTO_TCP : IPPROTO_UDP;
	while (r >= 0 && (backend = strtok_r(NULL, " \n", &rest))) {
		struct minimal_backend b = {};

		r = parse_address(backend, &b.addr_be, &b.port_be);
		if (r >= 0)
			r = bpf_map_update_elem(bpf_map__fd(m->maps.backends), next, &b, BPF_ANY);
		(*next)++;
		service.count++;
	}
	if (r < 0)
		return r;
	return bpf_map_update_elem(bpf_map__fd(m->maps.services), &key, &service, BPF_ANY);
}

static int add_services(struct minimal *m)
{
	char line[LINE_MAX_BYTES];
	__u32 next = 0;
	int r = 0;

	while (r >= 0 && fgets(line, sizeof(line), stdin))
		r = add_service(m, line, &next);
	return r;
}

static int attach(struct minimal *m, const char *variant, const char *cgroup)
{
	struct bpf_program *program = bpf_object__find_program_by_name(m->obj, variant);
	int fd = open(cgroup, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	if (!program || fd < 0)
		return fd < 0 ? -errno : -ENOENT;
	/* The link stays open, and with it the attachment, until this process ends. */
	return bpf_program__attach_cgroup(program, fd) ? 0 : -errno;
}

int main(int argc, char **argv)
{
	struct minimal *m;
	int r;

	if (argc != 3) {
		fprintf(stderr,
			"usage: minimal balance|balance_lru|empty|empty_ops CGROUP < SERVICES\n");
		return 2;
	}
	(void)prctl(PR_SET_PDEATHSIG, SIGKILL);
	m = minimal__open_and_load();
	r = m ? add_services(m) : -errno;
	if (r >= 0)
		r = attach(m, argv[1], argv[2]);
	if (r < 0) {
		fprintf(stderr, "minimal: %s: %s\n", argv[1], strerror(-r));
		return 1;
	}
	puts("ready");
	(void)fflush(stdout);
	for (;;)
		(void)pause();
}
