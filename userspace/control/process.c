/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * See process.h. Reads /proc/self only; a sandbox that hides it makes zeros, not errors.
 */
#include <dirent.h>
#include <stdio.h>
#include <sys/resource.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "control/process.h"

static uint64_t fds_count(void)
{
	DIR *dir = opendir("/proc/self/fd");
	uint64_t n = 0;

	if (!dir)
		return 0;
	for (struct dirent *d = readdir(dir); d; d = readdir(dir))
		n += d->d_name[0] != '.';
	(void)closedir(dir);
	return n ? n - 1 : 0; /* without the directory itself */
}

static void memory_read(struct process_use *use)
{
	_cleanup_fclose_ FILE *f = fopen("/proc/self/statm", "re");
	unsigned long long size, resident;
	uint64_t page = (uint64_t)sysconf(_SC_PAGESIZE);

	if (!f || fscanf(f, "%llu %llu", &size, &resident) != 2)
		return;
	use->virtual_bytes = size * page;
	use->resident_bytes = resident * page;
}

void process_read(struct process_use *ret)
{
	struct process_use use = {};
	struct rusage usage;
	struct rlimit files;

	if (getrusage(RUSAGE_SELF, &usage) == 0)
		use.cpu_seconds = (double)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) +
				  (double)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1e6;
	if (getrlimit(RLIMIT_NOFILE, &files) == 0)
		use.max_fds = files.rlim_cur;
	use.open_fds = fds_count();
	memory_read(&use);
	*ret = use;
}
