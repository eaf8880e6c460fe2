/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A long answer, rendered piece by piece while the client reads it, so that it neither blocks the
 * loop nor piles up in memory. Private to control/.
 */
#pragma once

#include <sys/types.h>

#include "control/bytes.h"

struct control;

struct stream {
	struct control *control;
	struct bytes out;
	size_t sent;
	bool done;
	/* Appends a small piece to out: 0 more to come, 1 that was all, < 0 cut the client. */
	int (*step)(struct stream *s);
	void (*free)(struct stream *s); /* of what embeds it; stream_done is called before */
};

void stream_free(void *stream);
/* Content reader for the HTTP library: bytes written to buf, 0 "later", or one of its two ends. */
ssize_t stream_read(void *stream, uint64_t position, char *buf, size_t max);
