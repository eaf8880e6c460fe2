/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * See attach.h. After object.c. Only links are used, never the legacy attach that conflicts with
 * others; never more than one program per hook. Must never detach a working program. What goes
 * wrong is said in k->trouble, for whoever logs it.
 */
#include "kernel/attach.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "base/cleanup.h"
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

/* Where to attach. */
struct attach_to {
	int fd;
	uint64_t id;
};

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

/* A program attached without BPF_F_ALLOW_MULTI stands alone: nothing may run beside or below it,
 * or, if it may be overridden, ours would silence it. 1: cgroup `path` has one; its id in *ret. */
static int find_alone_at(const char *path, enum bpf_attach_type type, __u32 *ret)
{
	_cleanup_close_ int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	__u32 ids[1], n = ARRAY_SIZE(ids), flags = 0;
	struct statfs fs;
	int r;

	if (fd < 0 || fstatfs(fd, &fs) < 0)
		return -errno;
	if ((unsigned long)fs.f_type != CGROUP2_SUPER_MAGIC)
		return -ENOTDIR; /* above the mount */
	r = bpf_prog_query(fd, type, 0, &flags, ids, &n);
	if ((r < 0 && errno != ENOSPC) || !n || (flags & BPF_F_ALLOW_MULTI))
		return 0;
	*ret = ids[0];
	return 1;
}

/* Looks at our cgroup and those above; says in k->trouble what it found. */
static int refuse_alone(struct kernel *k, enum kernel_hook hook)
{
	enum bpf_attach_type type = bpf_program__expected_attach_type(
		bpf_object__find_program_by_name(k->skel->obj, hook_names[hook]));
	_cleanup_free_ char *path = strdup(k->cgroup);
	char *slash;
	__u32 id = 0;
	int r;

	if (!path)
		return -ENOMEM;
	do {
		r = find_alone_at(path, type, &id);
		if (r > 0) {
			(void)snprintf(
				k->trouble, sizeof(k->trouble),
				"program %u stands alone on %s of cgroup %s: it was attached without "
				"BPF_F_ALLOW_MULTI, so nothing may run beside or below it. Have its owner "
				"(bpftool prog show id %u) attach it by a link, or serve another cgroup",
				id, hook_names[hook] + 3, path, id);
			return -EEXIST;
		}
		slash = strrchr(path, '/');
		if (slash)
			*slash = '\0';
	} while (r >= 0 && slash && slash != path);
	return 0;
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

static char *link_path(const struct kernel *k, enum kernel_hook hook)
{
	char *path;

	return asprintf(&path, "%s/links/%s", k->pin_dir, hook_names[hook]) < 0 ? NULL : path;
}

/* *ret_made: there was no live link, this one is new. */
static int attach_hook(struct kernel *k, enum kernel_hook hook, const struct attach_to *to,
		       bool *ret_made)
{
	struct bpf_program *program =
		bpf_object__find_program_by_name(k->skel->obj, hook_names[hook]);
	_cleanup_free_ char *path = link_path(k, hook);
	struct bpf_link *link;
	int r;

	if (!path)
		return -ENOMEM;
	link = open_live(path, to->id);
	*ret_made = !link;
	if (link)
		r = bpf_link__update_program(link, program);
	else
		r = attach_new(program, to->fd, path, &link);
	if (r < 0) {
		(void)snprintf(k->trouble, sizeof(k->trouble), "cannot attach %s to cgroup %s: %s",
			       hook_names[hook], k->cgroup, strerror(-r));
		return r;
	}
	if (k->links[hook])
		(void)bpf_link__destroy(k->links[hook]); /* closes it; the pin keeps it attached */
	k->links[hook] = link;
	return 0;
}

/* Before anything is touched: may all hooks be attached where they are not yet? */
static int refuse_all_alone(struct kernel *k, const struct attach_to *to)
{
	int r = 0;

	for (int hook = 0; r >= 0 && hook < _HOOK_MAX; hook++) {
		_cleanup_free_ char *path = link_path(k, hook);
		struct bpf_link *link = path ? open_live(path, to->id) : NULL;

		if (!link)
			r = path ? refuse_alone(k, hook) : -ENOMEM;
		else
			(void)bpf_link__destroy(link); /* closes it */
	}
	return r;
}

/* Half of our hooks are worse than none: what this call has made goes again. */
static void take_back(struct kernel *k, const bool *made)
{
	for (int hook = 0; hook < _HOOK_MAX; hook++) {
		_cleanup_free_ char *path = made[hook] ? link_path(k, hook) : NULL;

		if (!path || !k->links[hook])
			continue;
		(void)unlink(path);
		(void)bpf_link__destroy(k->links[hook]);
		k->links[hook] = NULL;
	}
}

int attach_all(struct kernel *k)
{
	_cleanup_close_ int fd = open(k->cgroup, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	struct attach_to to = {.fd = fd};
	bool made[_HOOK_MAX] = {};
	int r;

	r = fd < 0 ? -errno : attach_cgroup_id(k->cgroup, &to.id);
	if (r < 0) {
		(void)snprintf(k->trouble, sizeof(k->trouble), "cannot open cgroup %s: %s",
			       k->cgroup, strerror(-r));
		return r;
	}
	r = refuse_all_alone(k, &to);
	if (r < 0)
		return r;
	/* Outcome hooks first: no pick may happen whose end nobody would see. */
	for (int hook = _HOOK_MAX - 1; hook >= 0; hook--) {
		r = attach_hook(k, hook, &to, &made[hook]);
		if (r < 0) {
			take_back(k, made);
			return r;
		}
	}
	k->trouble[0] = '\0';
	return 0;
}
