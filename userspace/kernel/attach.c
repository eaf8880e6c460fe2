/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * See attach.h. After object.c. Only links are used, never the legacy attach that conflicts with
 * others; never more than one program per hook. Must never detach a working program.
 */
#include "kernel/attach.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/log.h"
#include "sinew.skel.h"

static const char *const hook_names[_HOOK_MAX] = {
	[HOOK_CONNECT4] = "sn_connect4",         [HOOK_CONNECT6] = "sn_connect6",
	[HOOK_SENDMSG4] = "sn_sendmsg4",         [HOOK_SENDMSG6] = "sn_sendmsg6",
	[HOOK_RECVMSG4] = "sn_recvmsg4",         [HOOK_RECVMSG6] = "sn_recvmsg6",
	[HOOK_GETPEERNAME4] = "sn_getpeername4", [HOOK_GETPEERNAME6] = "sn_getpeername6",
	[HOOK_RELEASE] = "sn_release",           [HOOK_SOCKOPS] = "sn_sockops",
};

const char *kernel_hook_name(enum kernel_hook hook)
{
	return hook_names[hook];
}

int attach_cgroup_id(const char *path, uint64_t *ret)
{
	struct stat st;

	if (stat(path, &st) < 0)
		return -errno;
	*ret = st.st_ino;
	return 0;
}

bool attach_is_live(const struct bpf_link *link, uint64_t cgroup_id)
{
	struct bpf_link_info info = {};
	__u32 length = sizeof(info);

	if (!link || bpf_obj_get_info_by_fd(bpf_link__fd(link), &info, &length) < 0)
		return false;
	return info.cgroup.cgroup_id && info.cgroup.cgroup_id == cgroup_id;
}

/* The pinned link if it is attached where we want it. A link to another or a dead cgroup is
 * removed by the caller once the new one is in place. */
static struct bpf_link *open_live(const char *path, uint64_t cgroup_id)
{
	struct bpf_link *link = bpf_link__open(path);

	if (!link)
		return NULL;
	if (attach_is_live(link, cgroup_id))
		return link;
	(void)bpf_link__destroy(link);
	return NULL;
}

static int attach_new(struct bpf_program *program, int cgroup_fd, const char *path,
		      struct bpf_link **ret)
{
	struct bpf_link *link = bpf_program__attach_cgroup(program, cgroup_fd);
	int r;

	if (!link)
		return -errno;
	(void)unlink(path); /* a dead one, or one to another cgroup: ours is attached already */
	r = bpf_link__pin(link, path);
	if (r < 0) {
		(void)bpf_link__destroy(link);
		return r;
	}
	*ret = link;
	return 0;
}

static int attach_hook(struct kernel *k, enum kernel_hook hook, int cgroup_fd, uint64_t cgroup_id)
{
	struct bpf_program *program =
		bpf_object__find_program_by_name(k->skel->obj, hook_names[hook]);
	_cleanup_free_ char *path = NULL;
	struct bpf_link *link;
	int r;

	if (asprintf(&path, "%s/links/%s", k->pin_dir, hook_names[hook]) < 0)
		return -ENOMEM;
	link = open_live(path, cgroup_id);
	if (link)
		r = bpf_link__update_program(link, program);
	else
		r = attach_new(program, cgroup_fd, path, &link);
	if (r < 0) {
		log_err_r(r, "cannot attach %s to cgroup %s", hook_names[hook], k->cgroup);
		return r;
	}
	if (k->links[hook])
		(void)bpf_link__destroy(k->links[hook]); /* closes it; the pin keeps it attached */
	k->links[hook] = link;
	return 0;
}

int attach_all(struct kernel *k)
{
	_cleanup_close_ int cgroup_fd = open(k->cgroup, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	uint64_t cgroup_id;
	int r;

	if (cgroup_fd < 0)
		return -errno;
	r = attach_cgroup_id(k->cgroup, &cgroup_id);
	if (r < 0)
		return r;
	/* Outcome hooks first: no pick may happen whose end nobody would see. */
	for (int hook = _HOOK_MAX - 1; hook >= 0; hook--) {
		r = attach_hook(k, hook, cgroup_fd, cgroup_id);
		if (r < 0)
			return r;
	}
	return 0;
}
