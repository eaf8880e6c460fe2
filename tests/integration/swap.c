/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Swaps the programs of a running sinewd, again and again, between two copies that share its maps:
 * what an upgrade does once.
 *
 * Before it: a test whose sinewd has pinned maps and links below FOLDER. After it: the links hold
 * programs of a copy made here; "swapped N" is printed. It must never detach a link.
 *
 *   swap FOLDER TIMES MICROSECONDS     with a pause of MICROSECONDS after each swap
 */
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "kernel/object.h"
#include "sinew.skel.h"

static int load_copy(const char *folder, struct sinew_bpf **ret)
{
	struct kernel_config config = {.flows = 131072};
	bool took_over;
	int r = prefix_parse("127.128.0.0/9", &config.pool4);

	if (r >= 0)
		r = prefix_parse("fd73:696e:6577::/64", &config.pool6);
	return r < 0 ? r : object_load(&config, folder, ret, &took_over);
}

static int open_links(const char *folder, int *links)
{
	char path[512];

	for (int hook = 0; hook < _HOOK_MAX; hook++) {
		(void)snprintf(path, sizeof(path), "%s/links/%s", folder, kernel_hook_name(hook));
		links[hook] = bpf_obj_get(path);
		if (links[hook] < 0)
			return -errno;
	}
	return 0;
}

static int program_fd(const struct sinew_bpf *copy, int hook)
{
	return bpf_program__fd(bpf_object__find_program_by_name(copy->obj, kernel_hook_name(hook)));
}

static int swap(struct sinew_bpf *const *copies, const int *links, unsigned int n)
{
	int hook = (int)(n % _HOOK_MAX);
	int fd = program_fd(copies[n / _HOOK_MAX % 2], hook);

	return bpf_link_update(links[hook], fd, NULL) < 0 ? -errno : 0;
}

int main(int argc, char **argv)
{
	struct sinew_bpf *copies[2] = {};
	unsigned int times, pause_us, n;
	int links[_HOOK_MAX], r;

	if (argc != 4)
		return 2;
	times = (unsigned int)strtoul(argv[2], NULL, 10);
	pause_us = (unsigned int)strtoul(argv[3], NULL, 10);
	r = load_copy(argv[1], &copies[0]);
	if (r >= 0)
		r = load_copy(argv[1], &copies[1]);
	if (r >= 0)
		r = open_links(argv[1], links);
	for (n = 0; r >= 0 && n < times; n++) {
		r = swap(copies, links, n);
		(void)usleep(pause_us);
	}
	if (r < 0) {
		(void)fprintf(stderr, "swap: after %u: %s\n", n, strerror(-r));
		return 1;
	}
	printf("swapped %u\n", n);
	object_free(copies[0]);
	object_free(copies[1]);
	return 0;
}
