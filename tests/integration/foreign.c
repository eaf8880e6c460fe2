/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A program of another owner on a hook of ours: it rewrites one IPv4 address to another, so that a
 * test can see whether it still runs, and before or after us.
 *
 * Before it: a test. After it: "ready" and the program's id on standard output; it stays until it
 * is ended by SIGTERM, and takes its program along. It must never touch another program.
 *
 *   foreign CGROUP HOOK MODE [FROM ADDRESS:PORT]
 *   HOOK   connect4, sendmsg4
 *   MODE   link     beside others, by a link             multi     beside others, the old way
 *          preorder as link, but before those below      override  may be overridden from below
 *          none     alone
 */
#include <arpa/inet.h>
#include <bpf/bpf.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/bpf.h>
#include <signal.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "base/cleanup.h"

#define FLAG_PREORDER (1u << 6) /* BPF_F_PREORDER, newer than our headers */

static const struct mode {
	const char *name;
	unsigned int flags;
	int is_link;
} modes[] = {
	{"link", 0, 1},
	{"multi", BPF_F_ALLOW_MULTI, 0},
	{"preorder", BPF_F_ALLOW_MULTI | FLAG_PREORDER, 0},
	{"override", BPF_F_ALLOW_OVERRIDE, 0},
	{"none", 0, 0},
};

struct rewrite {
	uint32_t from_be, to_be;
	uint16_t port_be;
};

#define FIELD(m) ((short)offsetof(struct bpf_sock_addr, m))
#define INSN(op, d, s, o, i)                                                                       \
	{                                                                                          \
		.code = (op), .dst_reg = (d), .src_reg = (s), .off = (o), .imm = (i)               \
	}

static int load(enum bpf_attach_type hook, const struct rewrite *w)
{
	const struct bpf_insn insns[] = {
		INSN(BPF_LDX | BPF_MEM | BPF_W, 2, 1, FIELD(user_ip4), 0),
		INSN(BPF_ALU | BPF_MOV | BPF_K, 3, 0, 0, (int)w->from_be),
		INSN(BPF_JMP | BPF_JNE | BPF_X, 2, 3, 4, 0),
		INSN(BPF_ALU | BPF_MOV | BPF_K, 2, 0, 0, (int)w->to_be),
		INSN(BPF_STX | BPF_MEM | BPF_W, 1, 2, FIELD(user_ip4), 0),
		INSN(BPF_ALU | BPF_MOV | BPF_K, 2, 0, 0, w->port_be),
		INSN(BPF_STX | BPF_MEM | BPF_W, 1, 2, FIELD(user_port), 0),
		INSN(BPF_ALU64 | BPF_MOV | BPF_K, 0, 0, 0, 1),
		INSN(BPF_JMP | BPF_EXIT, 0, 0, 0, 0),
	};
	LIBBPF_OPTS(bpf_prog_load_opts, opts, .expected_attach_type = hook);

	return bpf_prog_load(BPF_PROG_TYPE_CGROUP_SOCK_ADDR, "someone_elses", "GPL", insns,
			     ARRAY_SIZE(insns), &opts);
}

static int attach(int program, int cgroup, enum bpf_attach_type hook, const struct mode *mode)
{
	if (mode->is_link)
		return bpf_link_create(program, cgroup, hook, NULL);
	return bpf_prog_attach(program, cgroup, hook, mode->flags);
}

static int parse(char **argv, int argc, struct rewrite *ret)
{
	char *colon;

	*ret = (struct rewrite){};
	if (argc != 6)
		return argc == 4 ? 0 : -EINVAL;
	colon = strrchr(argv[5], ':');
	if (!colon)
		return -EINVAL;
	*colon = '\0';
	ret->port_be = htons((uint16_t)strtoul(colon + 1, NULL, 10));
	if (inet_pton(AF_INET, argv[4], &ret->from_be) != 1 ||
	    inet_pton(AF_INET, argv[5], &ret->to_be) != 1)
		return -EINVAL;
	return 0;
}

static const struct mode *find_mode(const char *name)
{
	for (size_t i = 0; i < ARRAY_SIZE(modes); i++)
		if (!strcmp(modes[i].name, name))
			return &modes[i];
	return NULL;
}

static int say(int program)
{
	struct bpf_prog_info info = {};
	__u32 length = sizeof(info);

	if (bpf_obj_get_info_by_fd(program, &info, &length) < 0)
		return -errno;
	printf("ready\n%u\n", info.id);
	return fflush(stdout) ? -errno : 0;
}

static int fail(const char *what)
{
	(void)fprintf(stderr, "foreign: %s: %s\n", what, strerror(errno));
	return 1;
}

int main(int argc, char **argv)
{
	_cleanup_close_ int cgroup = -1, program = -1, link = -1;
	enum bpf_attach_type hook;
	const struct mode *mode;
	struct rewrite rewrite;
	sigset_t set;
	int number;

	if (argc < 4 || parse(argv, argc, &rewrite) < 0)
		return 2;
	hook = strcmp(argv[2], "sendmsg4") ? BPF_CGROUP_INET4_CONNECT : BPF_CGROUP_UDP4_SENDMSG;
	mode = find_mode(argv[3]);
	if (!mode)
		return 2;
	(void)prctl(PR_SET_PDEATHSIG, SIGTERM);
	(void)sigemptyset(&set);
	(void)sigaddset(&set, SIGTERM);
	(void)sigprocmask(SIG_BLOCK, &set, NULL);
	cgroup = open(argv[1], O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	program = load(hook, &rewrite);
	if (cgroup < 0 || program < 0)
		return fail("load");
	link = attach(program, cgroup, hook, mode);
	if (link < 0)
		return fail("attach");
	if (say(program) < 0)
		return 1;
	(void)sigwait(&set, &number);
	if (!mode->is_link) {
		link = -1;
		(void)bpf_prog_detach2(program, cgroup, hook);
	}
	return 0;
}
