/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * See folder.h.
 */
#include "folder.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/log.h"

#define HEARD 65536

static int saved = -1;
static FILE *heard;

const char *folder_make(void)
{
	static char path[256];
	const char *tmp = getenv("TMPDIR");

	(void)snprintf(path, sizeof(path), "%s/sinew-unit-XXXXXX", tmp ? tmp : "/tmp");
	if (!mkdtemp(path))
		fail_msg("%s: %s", path, strerror(errno));
	return path;
}

static void empty(const char *path, unsigned int depth)
{
	DIR *dir = opendir(path);
	struct dirent *entry;

	while (dir && (entry = readdir(dir))) {
		char child[1024];

		if (!strcmp(entry->d_name, ".") || !strcmp(entry->d_name, ".."))
			continue;
		(void)snprintf(child, sizeof(child), "%s/%s", path, entry->d_name);
		if (unlink(child) < 0 && depth < 3)
			empty(child, depth + 1);
	}
	if (dir)
		(void)closedir(dir);
	(void)rmdir(path);
}

void folder_remove(const char *path)
{
	empty(path, 0);
}

const char *folder_path(const char *folder, const char *name)
{
	static char paths[4][1024];
	static unsigned int next;
	char *path = paths[next++ % 4];

	(void)snprintf(path, sizeof(paths[0]), "%s/%s", folder, name);
	return path;
}

void folder_write(const char *folder, const char *name, const char *text)
{
	FILE *f = fopen(folder_path(folder, name), "we");

	assert_non_null(f);
	assert_true(fputs(text, f) >= 0);
	assert_int_equal(fclose(f), 0);
}

char *folder_read(const char *folder, const char *name)
{
	_cleanup_fclose_ FILE *f = fopen(folder_path(folder, name), "re");
	char *text = NULL;
	size_t size = 0;

	if (!f || getdelim(&text, &size, '\0', f) < 0) {
		free(text);
		return NULL;
	}
	return text;
}

bool folder_has(const char *folder, const char *name)
{
	return access(folder_path(folder, name), F_OK) >= 0;
}

void folder_listen(void)
{
	log_init("test", LOG_DEBUG, LOG_FORMAT_TEXT);
	saved = dup(STDERR_FILENO);
	heard = tmpfile();
	assert_non_null(heard);
	assert_true(dup2(fileno(heard), STDERR_FILENO) >= 0);
}

const char *folder_heard(void)
{
	static char text[HEARD];
	size_t n;

	(void)dup2(saved, STDERR_FILENO);
	(void)close(saved);
	rewind(heard);
	n = fread(text, 1, sizeof(text) - 1, heard);
	text[n] = '\0';
	(void)fclose(heard);
	return text;
}
