/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What is left to a process that has locked itself down as sinewd does: it does so, and then tries.
 *
 * Before it: a test, as root. After it: one line of JSON, for each attempt the errno (0: it
 * worked).
 *
 *   confined daemon | helper
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/netlink.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "daemon/lockdown.h"

static int try_socket(int family, int protocol)
{
	_cleanup_close_ int fd = socket(family, SOCK_DGRAM | SOCK_CLOEXEC, protocol);

	return fd < 0 ? errno : 0;
}

static int try_exec(void)
{
	char *const words[] = {(char *)"/bin/true", NULL};

	(void)execv(words[0], words);
	return errno;
}

static int try_setns(void)
{
	_cleanup_close_ int fd = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);

	return fd < 0 || setns(fd, CLONE_NEWNET) < 0 ? errno : 0;
}

static int result(int r)
{
	return r < 0 ? errno : 0;
}

int main(int argc, char **argv)
{
	int r = argc == 2 && !strcmp(argv[1], "helper") ? lockdown_helper() : lockdown_daemon();

	if (r < 0) {
		(void)fprintf(stderr, "confined: %s\n", strerror(-r));
		return 1;
	}
	printf("{\"unix\": %d, \"ipv4\": %d, \"ipv6\": %d, \"packet\": %d, ",
	       try_socket(AF_UNIX, 0), try_socket(AF_INET, 0), try_socket(AF_INET6, 0),
	       try_socket(AF_PACKET, 0));
	printf("\"netlink\": %d, \"diag\": %d, ", try_socket(AF_NETLINK, NETLINK_ROUTE),
	       try_socket(AF_NETLINK, NETLINK_SOCK_DIAG));
	printf("\"exec\": %d, \"setns\": %d, \"unshare\": %d, \"mount\": %d, ", try_exec(),
	       try_setns(), result(unshare(CLONE_NEWNS)),
	       result(mount("none", "/tmp", "tmpfs", 0, NULL)));
	printf("\"ptrace\": %d, \"setuid\": %d, \"chroot\": %d, \"keyctl\": %d}\n",
	       result((int)ptrace(PTRACE_TRACEME, 0, 0, 0)), result(setuid(1)), result(chroot("/")),
	       result((int)syscall(SYS_keyctl, 0, 0, 0, 0, 0)));
	return 0;
}
