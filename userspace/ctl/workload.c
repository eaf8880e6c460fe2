/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * See workload.h. The search for a unit walks the cgroup tree, bounded: a unit lives in some slice,
 * and asking systemd would need its bus.
 */
#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <mntent.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "base/cleanup.h"
#include "ctl/workload.h"

#define DEPTH_MAX 16
#define FOLDERS_MAX 100000
#define PATH_TEXT 4096

/* Where cgroup v2 is mounted: on hybrid hosts not at the top of /sys/fs/cgroup. */
static int find_mount(const char *proc, char *ret, size_t size)
{
	char path[PATH_TEXT], buf[PATH_TEXT];
	struct mntent entry;
	FILE *f;
	int r = -ENODEV;

	(void)snprintf(path, sizeof(path), "%s/self/mounts", proc);
	f = setmntent(path, "re");
	if (!f)
		return -errno;
	while (getmntent_r(f, &entry, buf, sizeof(buf))) {
		if (strcmp(entry.mnt_type, "cgroup2") != 0)
			continue;
		r = (size_t)snprintf(ret, size, "%s", entry.mnt_dir) < size ? 0 : -ENAMETOOLONG;
		break;
	}
	(void)endmntent(f);
	return r;
}

/* The v2 line of /proc/PID/cgroup is "0::/path". */
static int find_process(const char *proc, const char *pid, char *ret, size_t size)
{
	char path[PATH_TEXT], line[PATH_TEXT];
	_cleanup_fclose_ FILE *f = NULL;

	(void)snprintf(path, sizeof(path), "%s/%s/cgroup", proc, pid);
	f = fopen(path, "re");
	if (!f)
		return errno == ENOENT ? -ESRCH : -errno;
	while (fgets(line, sizeof(line), f)) {
		if (strncmp(line, "0::", 3) != 0)
			continue;
		line[strcspn(line, "\n")] = '\0';
		return (size_t)snprintf(ret, size, "%s", line + 3) < size ? 0 : -ENAMETOOLONG;
	}
	return -ENODEV;
}

struct search {
	const char *name;
	char *found;
	size_t size;
	unsigned int visited, matches;
};

static bool is_folder(const struct dirent *entry)
{
	return entry->d_type == DT_DIR && entry->d_name[0] != '.';
}

/* Depth first. A unit that has been found is not searched for others of its name below it. */
static int search_below(struct search *s, char *path, size_t length, unsigned int depth)
{
	DIR *dir = opendir(path);
	struct dirent *entry;
	int r = 0;

	if (!dir)
		return 0; /* it went away, or is not ours to read */
	while (r >= 0 && (entry = readdir(dir)) != NULL) {
		size_t n = strlen(entry->d_name);

		if (!is_folder(entry) || length + n + 2 > PATH_TEXT)
			continue;
		if (++s->visited > FOLDERS_MAX) {
			r = -E2BIG;
			break;
		}
		path[length] = '/';
		memcpy(path + length + 1, entry->d_name, n + 1);
		if (strcmp(entry->d_name, s->name) == 0) {
			if (s->matches++ == 0)
				(void)snprintf(s->found, s->size, "%s", path);
		} else if (depth < DEPTH_MAX) {
			r = search_below(s, path, length + 1 + n, depth + 1);
		}
		path[length] = '\0';
	}
	(void)closedir(dir);
	return r;
}

static int find_unit(const char *mount, const char *name, char *ret, size_t size)
{
	char unit[300], path[PATH_TEXT];
	struct search s = {.name = unit, .found = ret, .size = size};
	int n, r;

	n = snprintf(unit, sizeof(unit), "%s%s", name, strchr(name, '.') ? "" : ".service");
	if (n < 0 || (size_t)n >= sizeof(unit))
		return -ENAMETOOLONG;
	n = snprintf(path, sizeof(path), "%s", mount);
	if (n < 0 || (size_t)n >= sizeof(path))
		return -ENAMETOOLONG;
	r = search_below(&s, path, (size_t)n, 0);
	if (r < 0)
		return r;
	if (s.matches > 1)
		return -EEXIST;
	return s.matches == 1 ? 0 : -ENOENT;
}

/* The folder's inode number is the cgroup's id. */
static int finish(const char *mount, const char *below, struct workload *ret)
{
	struct workload w = {0};
	struct stat st;
	int n;

	n = snprintf(w.path, sizeof(w.path), "%s%s%s", mount, *below == '/' || !*mount ? "" : "/",
		     below);
	if (n < 0 || (size_t)n >= sizeof(w.path))
		return -ENAMETOOLONG;
	while (n > 1 && w.path[n - 1] == '/')
		w.path[--n] = '\0';
	if (stat(w.path, &st) < 0)
		return -errno;
	if (!S_ISDIR(st.st_mode))
		return -ENOENT;
	w.id = st.st_ino;
	*ret = w;
	return 0;
}

static bool is_number(const char *text)
{
	return *text && text[strspn(text, "0123456789")] == '\0';
}

int workload_find(const struct workload_roots *roots, const char *name, struct workload *ret)
{
	char mount[PATH_TEXT] = "", path[PATH_TEXT] = "";
	int r = 0;

	if (roots->cgroup)
		(void)snprintf(mount, sizeof(mount), "%s", roots->cgroup);
	else
		r = find_mount(roots->proc, mount, sizeof(mount));
	if (r < 0)
		return r;
	if (is_number(name)) {
		r = find_process(roots->proc, name, path, sizeof(path));
		return r < 0 ? r : finish(mount, path, ret);
	}
	if (name[0] == '/') {
		bool whole = strncmp(name, mount, strlen(mount)) == 0;

		return finish(whole ? "" : mount, name, ret);
	}
	if (strchr(name, '/'))
		return finish(mount, name, ret);
	r = find_unit(mount, name, path, sizeof(path));
	return r < 0 ? r : finish("", path, ret);
}
