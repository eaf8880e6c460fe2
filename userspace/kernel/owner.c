/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * See owner.h. After attach.c; for the doctor. Must never touch what it finds.
 */
#include "kernel/owner.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "sinew.skel.h"

#define PROGRAMS_MAX 64 /* BPF_CGROUP_MAX_PROGS, on one cgroup; that many are looked at */
#define DEPTH_MAX 16

static size_t list_hook(const struct kernel *k, enum kernel_hook hook, int cgroup_fd,
			struct owner *ret, size_t max)
{
	const struct bpf_program *program =
		bpf_object__find_program_by_name(k->skel->obj, kernel_hook_name(hook));
	struct bpf_prog_info info = {};
	__u32 length = sizeof(info), ids[PROGRAMS_MAX], n = ARRAY_SIZE(ids), flags = 0;
	bool before = true;
	size_t found = 0;

	if (bpf_obj_get_info_by_fd(bpf_program__fd(program), &info, &length) < 0 ||
	    bpf_prog_query(cgroup_fd, bpf_program__expected_attach_type(program),
			   BPF_F_QUERY_EFFECTIVE, &flags, ids, &n) < 0)
		return 0;
	for (__u32 i = 0; i < n && found < max; i++)
		if (ids[i] == info.id)
			before = false;
		else
			ret[found++] =
				(struct owner){.program = ids[i], .hook = hook, .before = before};
	return found;
}

size_t owner_list(const struct kernel *k, struct owner *ret, size_t max)
{
	_cleanup_close_ int fd = open(k->cgroup, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	size_t n = 0;

	for (int hook = 0; fd >= 0 && hook < _HOOK_MAX; hook++)
		n += list_hook(k, hook, fd, ret + n, max - n);
	return n;
}

struct walk {
	struct owner *found;
	size_t n, max, cgroups;
	char path[512]; /* of the folder that is looked at */
	size_t top;     /* where the part below our cgroup begins */
};

static void note(struct walk *w, uint32_t program, enum kernel_hook hook)
{
	struct owner *o;

	for (size_t i = 0; i < w->n; i++)
		if (w->found[i].program == program && w->found[i].hook == hook) {
			w->found[i].cgroups++;
			return;
		}
	if (w->n == w->max)
		return;
	o = &w->found[w->n++];
	*o = (struct owner){.program = program, .hook = hook, .before = true, .cgroups = 1};
	(void)snprintf(o->cgroup, sizeof(o->cgroup), "%s", w->path + w->top);
}

static void look_here(struct walk *w, int fd)
{
	static const struct {
		enum kernel_hook hook;
		enum bpf_attach_type type;
	} rewriting[] = {
		{HOOK_CONNECT4, BPF_CGROUP_INET4_CONNECT},
		{HOOK_CONNECT6, BPF_CGROUP_INET6_CONNECT},
		{HOOK_SENDMSG4, BPF_CGROUP_UDP4_SENDMSG},
		{HOOK_SENDMSG6, BPF_CGROUP_UDP6_SENDMSG},
	};

	for (size_t i = 0; i < ARRAY_SIZE(rewriting); i++) {
		__u32 ids[PROGRAMS_MAX], n = ARRAY_SIZE(ids), flags = 0;

		if (bpf_prog_query(fd, rewriting[i].type, 0, &flags, ids, &n) < 0)
			continue;
		for (__u32 j = 0; j < n; j++)
			note(w, ids[j], rewriting[i].hook);
	}
}

/* Folders below w->path, which is `depth` below ours. */
static void walk_below(struct walk *w, unsigned int depth) /* recursion: bounded by DEPTH_MAX */
{
	size_t length = strlen(w->path);
	DIR *dir = opendir(w->path);
	struct dirent *entry;

	if (dir && depth)
		look_here(w, dirfd(dir));
	while (dir && depth < DEPTH_MAX && (entry = readdir(dir))) {
		if (entry->d_type != DT_DIR || entry->d_name[0] == '.' ||
		    length + strlen(entry->d_name) + 2 > sizeof(w->path) ||
		    w->cgroups++ >= OWNER_CGROUPS)
			continue;
		(void)snprintf(w->path + length, sizeof(w->path) - length, "/%s", entry->d_name);
		walk_below(w, depth + 1);
		w->path[length] = '\0';
	}
	if (dir)
		(void)closedir(dir);
}

size_t owner_list_below(const char *cgroup, struct owner *ret, size_t max)
{
	struct walk w = {.found = ret, .max = max, .top = strlen(cgroup)};

	(void)snprintf(w.path, sizeof(w.path), "%s", cgroup);
	walk_below(&w, 0);
	return w.n;
}
