/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The daemon's own use of the machine, for the process_* metrics. Private to control/.
 */
#pragma once

#include <stdint.h>

struct process_use {
	double cpu_seconds;
	uint64_t resident_bytes, virtual_bytes;
	uint64_t open_fds, max_fds;
};

/* What cannot be read is 0. */
void process_read(struct process_use *ret);
