/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * See namespace.h. Before: the helper was asked for a sweep. After: a visitor looks at the sockets
 * there. Must never touch anything in a namespace by itself.
 */
#include "kernel/namespace.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdbool.h>
#include <stdio.h>
#include <sys/stat.h>

#include "base/cleanup.h"

static bool is_seen(const struct namespace_walk *w, uint64_t inode)
{
	for (size_t i = 0; i < w->n; i++)
		if (w->seen[i] == inode)
			return true;
	return false;
}

static void walk_path(struct namespace_walk *w, const char *path)
{
	_cleanup_close_ int fd = -1;
	struct stat st;
	int r;

	/* Stat first: most processes share one namespace, and opening is the dearer part. */
	if (stat(path, &st) < 0 || is_seen(w, st.st_ino))
		return;
	fd = open(path, O_RDONLY | O_CLOEXEC);
	r = fd < 0 || setns(fd, CLONE_NEWNET) < 0 ? -errno : w->visit(w->arg, st.st_ino, fd);
	if (r == -EINVAL || (r < 0 && stat(path, &st) < 0))
		return; /* the file is no namespace, or the process has gone: another one may lead
			   to its namespace */
	if (w->n < NAMESPACE_MAX)
		w->seen[w->n++] = st.st_ino;
	if (r < 0) {
		w->failed++;
		w->r = w->r ? w->r : r;
		return;
	}
	w->visited++;
}

static void walk_folder(struct namespace_walk *w, const char *folder, const char *below,
			bool numbers_only)
{
	DIR *dir = opendir(folder);
	struct dirent *entry;
	char path[512];

	while (dir && (entry = readdir(dir))) {
		if (entry->d_name[0] == '.' ||
		    (numbers_only && (entry->d_name[0] < '0' || entry->d_name[0] > '9')))
			continue;
		(void)snprintf(path, sizeof(path), "%s/%s%s", folder, entry->d_name, below);
		walk_path(w, path);
	}
	if (dir)
		(void)closedir(dir);
}

void namespace_walk(struct namespace_walk *w, int home_fd)
{
	w->n = 0;
	w->visited = w->failed = 0;
	w->r = 0;
	walk_folder(w, "/proc", "/ns/net", true);
	walk_folder(w, "/run/netns", "", false);
	(void)setns(home_fd, CLONE_NEWNET);
}
