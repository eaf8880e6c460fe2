/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * See stream.h. Before: a handler made the stream over references of what it shows. After: the
 * HTTP library sends. Never renders longer than STEP_NS at a time, nor than TURN_NS in one turn.
 */
#include <microhttpd.h>
#include <string.h>

#include "control/server.h"
#include "control/stream.h"

void stream_free(void *stream)
{
	struct stream *s = stream;

	bytes_done(&s->out);
	s->free(s);
}

static int stream_fill(struct stream *s)
{
	uint64_t now = uv_hrtime(), end = now + STEP_NS;
	int r = 0;

	bytes_clear(&s->out);
	s->sent = 0;
	if (now > s->control->turn_end_ns)
		return 0;
	if (end > s->control->turn_end_ns)
		end = s->control->turn_end_ns;
	while (r == 0 && s->out.length < CHUNK && uv_hrtime() <= end)
		r = s->step(s);
	s->done = r > 0;
	return r < 0 || s->out.failed ? -1 : 0;
}

ssize_t stream_read(void *stream, uint64_t position, char *buf, size_t max)
{
	struct stream *s = stream;
	size_t n;

	if (s->sent == s->out.length) {
		if (s->done)
			return MHD_CONTENT_READER_END_OF_STREAM;
		if (stream_fill(s) < 0)
			return MHD_CONTENT_READER_END_WITH_ERROR;
		if (s->out.length == 0 && s->done)
			return MHD_CONTENT_READER_END_OF_STREAM;
	}
	n = s->out.length - s->sent;
	if (n > max)
		n = max;
	if (n)
		memcpy(buf, s->out.data + s->sent, n);
	s->sent += n;
	return (ssize_t)n;
}
