/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What runs at a network interface of this namespace, and a program of another owner to run there.
 *
 * Before it: a test, as root, in the namespace. After it: for `list` one line of JSON; else "ready"
 * on standard output, and the program stays until SIGTERM. It must never touch another program.
 *
 *   pairs INTERFACE list      {"tcx": [[name, id] ...], "clsact": [...]}, ingress first
 *   pairs INTERFACE tcx       a program by a link, ingress
 *   pairs INTERFACE clsact    a program by a filter, ingress, on a qdisc that is made if missing
 */
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <linux/bpf.h>
#include <net/if.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "kernel/filter.h"

#define TCX_INGRESS ((enum bpf_attach_type)46) /* newer than our headers */

static int load(void)
{
	const struct bpf_insn insns[] = {
		{.code = BPF_ALU64 | BPF_MOV | BPF_K, .imm = -1}, /* TC_ACT_UNSPEC */
		{.code = BPF_JMP | BPF_EXIT},
	};

	return bpf_prog_load(BPF_PROG_TYPE_SCHED_CLS, "someone_elses", "GPL", insns,
			     ARRAY_SIZE(insns), NULL);
}

static void say_tcx(int ifindex, bool egress, const char **comma)
{
	__u32 ids[64], n = ARRAY_SIZE(ids), flags = 0;

	if (bpf_prog_query(ifindex, TCX_INGRESS + egress, 0, &flags, ids, &n) < 0)
		return;
	for (__u32 i = 0; i < n; i++, *comma = ", ") {
		_cleanup_close_ int fd = bpf_prog_get_fd_by_id(ids[i]);
		struct bpf_prog_info info = {};
		__u32 length = sizeof(info);

		if (fd >= 0 && bpf_obj_get_info_by_fd(fd, &info, &length) == 0)
			printf("%s[\"%s\", %u]", *comma, info.name, ids[i]);
	}
}

static void say_clsact(int ifindex, bool egress, const char **comma)
{
	struct filter all[64];
	int n = filter_list((uint32_t)ifindex, egress, all, ARRAY_SIZE(all));

	for (int i = 0; i < n; i++, *comma = ", ")
		printf("%s[\"%s\", %u]", *comma, all[i].name, all[i].program);
}

static int list(int ifindex)
{
	const char *comma = "";

	printf("{\"tcx\": [");
	say_tcx(ifindex, false, &comma);
	say_tcx(ifindex, true, &comma);
	comma = "";
	printf("], \"clsact\": [");
	say_clsact(ifindex, false, &comma);
	say_clsact(ifindex, true, &comma);
	printf("]}\n");
	return 0;
}

static int attach(int ifindex, bool by_link, int program)
{
	LIBBPF_OPTS(bpf_tc_hook, hook, .ifindex = ifindex, .attach_point = BPF_TC_INGRESS);
	LIBBPF_OPTS(bpf_tc_opts, opts, .prog_fd = program);
	int r;

	if (by_link)
		return bpf_link_create(program, ifindex, TCX_INGRESS, NULL);
	r = bpf_tc_hook_create(&hook);
	return r < 0 && r != -EEXIST ? r : bpf_tc_attach(&hook, &opts);
}

int main(int argc, char **argv)
{
	_cleanup_close_ int program = -1;
	int ifindex, number, r;
	sigset_t set;

	ifindex = argc == 3 ? (int)if_nametoindex(argv[1]) : 0;
	if (!ifindex)
		return 2;
	if (!strcmp(argv[2], "list"))
		return list(ifindex);
	(void)prctl(PR_SET_PDEATHSIG, SIGTERM);
	(void)sigemptyset(&set);
	(void)sigaddset(&set, SIGTERM);
	(void)sigprocmask(SIG_BLOCK, &set, NULL);
	program = load();
	r = program < 0 ? -errno : attach(ifindex, !strcmp(argv[2], "tcx"), program);
	if (r < 0) {
		(void)fprintf(stderr, "pairs: %s\n", strerror(-r));
		return 1;
	}
	printf("ready\n");
	(void)fflush(stdout);
	(void)sigwait(&set, &number);
	return 0;
}
