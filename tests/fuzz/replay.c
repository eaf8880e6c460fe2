/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Runs a fuzzer's corpus without a fuzzer: every file that was once interesting stays a unit test,
 * under gcc's sanitizers. Linked with one fuzz_x.c; its arguments are files and folders. Speaks
 * TAP.
 *
 * The empty input is always the first test, so that a fuzzer without a corpus proves something,
 * too.
 */
#include <dirent.h>
#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "base/cleanup.h"

#define REPLAY_BYTES (64u << 20) /* no corpus file is larger */

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
__attribute__((weak)) int LLVMFuzzerInitialize(int *argc, char ***argv);

static unsigned int tests, failures;

static void report(int r, const char *name)
{
	tests++;
	if (r < 0)
		failures++;
	printf("%s %u - %s%s%s\n", r < 0 ? "not ok" : "ok", tests, name, r < 0 ? ": " : "",
	       r < 0 ? strerror(-r) : "");
	fflush(stdout);
}

/* The input is copied to a block of its exact size, so that one byte too far is seen. */
static int replay_file(const char *path)
{
	_cleanup_fclose_ FILE *f = fopen(path, "rbe");
	_cleanup_free_ uint8_t *data = NULL;
	struct stat st;

	if (!f || fstat(fileno(f), &st) < 0)
		return -errno;
	if (st.st_size > REPLAY_BYTES)
		return -EFBIG;
	data = malloc(st.st_size ? st.st_size : 1);
	if (!data)
		return -ENOMEM;
	if (fread(data, 1, st.st_size, f) != (size_t)st.st_size)
		return -EIO;
	(void)LLVMFuzzerTestOneInput(data, st.st_size);
	return 0;
}

static void replay_folder(const char *path)
{
	struct dirent **entries = NULL;
	int n = scandir(path, &entries, NULL, alphasort);

	if (n < 0)
		report(-errno, path);
	for (int i = 0; i < n; i++) {
		char name[4096];

		snprintf(name, sizeof(name), "%s/%s", path, entries[i]->d_name);
		if (entries[i]->d_name[0] != '.')
			report(replay_file(name), name);
		free(entries[i]);
	}
	free(entries);
}

int main(int argc, char **argv)
{
	if (LLVMFuzzerInitialize)
		(void)LLVMFuzzerInitialize(&argc, &argv);
	(void)LLVMFuzzerTestOneInput((const uint8_t *)"", 0);
	report(0, "empty input");
	for (int i = 1; i < argc; i++) {
		struct stat st;

		if (stat(argv[i], &st) < 0)
			report(-errno, argv[i]);
		else if (S_ISDIR(st.st_mode))
			replay_folder(argv[i]);
		else
			report(replay_file(argv[i]), argv[i]);
	}
	printf("1..%u\n", tests);
	return failures ? 1 : 0;
}
