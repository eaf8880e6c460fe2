/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * See pin.h. Before object.c and attach.c, which pin below the folder. Only this file removes
 * folders; closing a file descriptor never detaches anything.
 */
#include "kernel/pin.h"

#include <bpf/bpf.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <sinew/meta.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "kernel/tc.h"

static void close_dir(DIR **d)
{
	if (*d)
		(void)closedir(*d);
}

int pin_lock(const char *bpffs)
{
	bool made = mkdir(bpffs, 0700) == 0;
	_cleanup_close_ int fd = -1;
	struct statfs fs;

	if (!made && errno != EEXIST)
		return -errno;
	fd = open(bpffs, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	if (fstatfs(fd, &fs) < 0)
		return -errno;
	if ((unsigned long)fs.f_type != BPF_FS_MAGIC) {
		if (made)
			(void)rmdir(bpffs);
		return -ENOTSUP;
	}
	if (flock(fd, LOCK_EX | LOCK_NB) < 0)
		return errno == EWOULDBLOCK ? -EBUSY : -errno;
	return TAKE_FD(fd);
}

/* "v12" -> 12; 0: not one of our folders. */
static int folder_abi(const char *name)
{
	char *end;
	long abi;

	if (name[0] != 'v' || name[1] < '1' || name[1] > '9')
		return 0;
	abi = strtol(name + 1, &end, 10);
	return *end || abi > 1000000 ? 0 : (int)abi;
}

static int find_other_abi(const char *bpffs, unsigned int abi)
{
	_cleanup_(close_dir) DIR *dir = opendir(bpffs);
	struct dirent *entry;
	int found;

	if (!dir)
		return -errno;
	while ((entry = readdir(dir))) {
		found = folder_abi(entry->d_name);
		if (found && (unsigned int)found != abi)
			return found;
	}
	return 0;
}

static int make_below(const char *dir, const char *name)
{
	_cleanup_free_ char *path = NULL;

	if (asprintf(&path, "%s/%s", dir, name) < 0)
		return -ENOMEM;
	if (mkdir(path, 0700) < 0 && errno != EEXIST)
		return -errno;
	return 0;
}

static int remove_files(const char *path)
{
	_cleanup_(close_dir) DIR *dir = opendir(path);
	struct dirent *entry;

	if (!dir)
		return errno == ENOENT ? 0 : -errno;
	while ((entry = readdir(dir)))
		if (entry->d_name[0] != '.' && unlinkat(dirfd(dir), entry->d_name, 0) < 0)
			return -errno;
	return rmdir(path) < 0 ? -errno : 0;
}

static bool is_empty(const char *path)
{
	_cleanup_(close_dir) DIR *dir = opendir(path);
	struct dirent *entry;

	while (dir && (entry = readdir(dir)))
		if (entry->d_name[0] != '.')
			return false;
	return dir != NULL;
}

/* Maps without a single link are nobody's: a start or an uninstall was cut short. What they hold
 * was never looked after, or no longer is. */
static int sweep_half_made(const char *path)
{
	_cleanup_free_ char *links = NULL, *maps = NULL;

	if (asprintf(&links, "%s/links", path) < 0 || asprintf(&maps, "%s/maps", path) < 0)
		return -ENOMEM;
	return is_empty(links) ? remove_files(maps) : 0;
}

int pin_prepare(const char *bpffs, unsigned int abi, char **ret, int *ret_other)
{
	_cleanup_free_ char *path = NULL;
	int r;

	r = find_other_abi(bpffs, abi);
	if (r > 0)
		*ret_other = r;
	if (r)
		return r > 0 ? -EPROTO : r;
	if (asprintf(&path, "%s/v%u", bpffs, abi) < 0)
		return -ENOMEM;
	if (mkdir(path, 0700) < 0 && errno != EEXIST)
		return -errno;
	r = make_below(path, "links");
	if (r >= 0)
		r = sweep_half_made(path);
	if (r >= 0)
		r = make_below(path, "maps");
	if (r < 0)
		return r;
	*ret = TAKE_PTR(path);
	return 0;
}

/* Links first: as long as maps are pinned, whatever still runs has what it needs. */
static int remove_version(const char *bpffs, const char *name)
{
	static const char *const below[] = {"links", "maps"};
	int r;

	for (size_t i = 0; i < ARRAY_SIZE(below); i++) {
		_cleanup_free_ char *path = NULL;

		if (asprintf(&path, "%s/%s/%s", bpffs, name, below[i]) < 0)
			return -ENOMEM;
		r = i == 0 ? tc_remove_all(path) : 0;
		if (r >= 0)
			r = remove_files(path);
		if (r < 0)
			return r;
	}
	_cleanup_free_ char *path = NULL;
	if (asprintf(&path, "%s/%s", bpffs, name) < 0)
		return -ENOMEM;
	return rmdir(path) < 0 ? -errno : 0;
}

int pin_remove_all(const char *bpffs)
{
	_cleanup_(close_dir) DIR *dir = opendir(bpffs);
	struct dirent *entry;
	int r;

	if (!dir)
		return errno == ENOENT ? 0 : -errno;
	while ((entry = readdir(dir))) {
		if (!folder_abi(entry->d_name))
			continue;
		r = remove_version(bpffs, entry->d_name);
		if (r < 0)
			return r;
	}
	(void)rmdir(bpffs); /* a mount point or somebody's folder stays */
	return 0;
}

int pin_read_pid(const char *bpffs, unsigned int abi)
{
	_cleanup_free_ char *path = NULL;
	_cleanup_close_ int fd = -1;
	struct sn_meta meta = {};
	__u32 zero = 0;

	if (asprintf(&path, "%s/v%u/maps/sn_meta", bpffs, abi) < 0)
		return 0;
	fd = bpf_obj_get(path);
	if (fd < 0 || bpf_map_lookup_elem(fd, &zero, &meta) < 0)
		return 0;
	return meta.magic == SN_MAGIC ? (int)meta.daemon_pid : 0;
}
