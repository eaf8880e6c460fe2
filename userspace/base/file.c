/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * See file.h.
 */
#include "base/file.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <sys/stat.h>

#include "base/cleanup.h"

static int write_all(int fd, const char *text, size_t length)
{
	ssize_t n;

	while (length) {
		n = write(fd, text, length);
		if (n < 0 && errno != EINTR)
			return -errno;
		if (n > 0) {
			text += n;
			length -= (size_t)n;
		}
	}
	return fsync(fd) < 0 ? -errno : 0;
}

static int put_file(int dir, const char *temporary, const char *final, const char *text,
		    size_t length)
{
	_cleanup_close_ int fd =
		openat(dir, temporary, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	int r;

	if (fd < 0)
		return -errno;
	r = write_all(fd, text, length);
	if (r >= 0 && renameat(dir, temporary, dir, final) < 0)
		r = -errno;
	if (r < 0)
		(void)unlinkat(dir, temporary, 0);
	return r;
}

int file_replace(int dir, const char *name, const char *text, size_t length)
{
	char temporary[NAME_MAX + 1], final[NAME_MAX + 1];
	int r = 0;

	if (snprintf(temporary, sizeof(temporary), "%s.tmp", name) >= NAME_MAX ||
	    snprintf(final, sizeof(final), "%s.json", name) >= NAME_MAX)
		return -ENAMETOOLONG;
	if (text)
		r = put_file(dir, temporary, final, text, length);
	else if (unlinkat(dir, final, 0) < 0 && errno != ENOENT)
		r = -errno;
	if (r < 0)
		return r;
	/* the name, too, must outlive the machine */
	return fsync(dir) < 0 ? -errno : 0;
}

int file_read(const char *path, size_t max, char **ret, size_t *ret_length,
	      uint64_t *ret_changed_ms)
{
	_cleanup_close_ int fd = open(path, O_RDONLY | O_CLOEXEC);
	_cleanup_free_ char *text = NULL;
	struct stat st;
	ssize_t n;

	if (fd < 0 || fstat(fd, &st) < 0)
		return -errno;
	if ((uint64_t)st.st_size > max)
		return -E2BIG;
	text = malloc((size_t)st.st_size + 1);
	if (!text)
		return -ENOMEM;
	n = read(fd, text, (size_t)st.st_size);
	if (n != st.st_size)
		return n < 0 ? -errno : -EIO;
	text[n] = '\0';
	*ret_length = (size_t)n;
	if (ret_changed_ms)
		*ret_changed_ms =
			(uint64_t)st.st_mtim.tv_sec * 1000 + (uint64_t)st.st_mtim.tv_nsec / 1000000;
	*ret = TAKE_PTR(text);
	return 0;
}
