/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * See log.h. One write(2) of one line per message, to standard error. A message's bytes may have
 * come from outside: control characters and broken UTF-8 never reach the terminal or the journal.
 */
#include "base/log.h"

#include <errno.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/text.h"

#define LINE_MAX_BYTES 2048 /* of one message */
#define RATE_BURST 20       /* of one message in one second */
#define RATE_SLOTS 64       /* messages that are counted at a time */

/* One message, known by its format string: how often it was said in this second. */
struct rate {
	const char *format;
	uint64_t second;
	unsigned int said;
	unsigned int swallowed;
};

static struct {
	pthread_mutex_t lock;
	const char *program;
	enum log_level max;
	bool json, prefix;
	struct rate rates[RATE_SLOTS];
} log_state = {.lock = PTHREAD_MUTEX_INITIALIZER, .program = "sinew", .max = LOG_INFO};

static const char *level_name(enum log_level level)
{
	static const char *const names[] = {"error", "warning", "notice", "info", "debug"};

	return names[level < LOG_ERROR ? 0 : level > LOG_DEBUG ? 4 : level - LOG_ERROR];
}

/* systemd.exec(5): JOURNAL_STREAM holds device and inode of the journal's end of our stderr. */
static bool is_journal(void)
{
	const char *stream = getenv("JOURNAL_STREAM");
	unsigned long long device, inode;
	struct stat st;

	return stream && sscanf(stream, "%llu:%llu", &device, &inode) == 2 &&
	       fstat(STDERR_FILENO, &st) >= 0 && st.st_dev == device && st.st_ino == inode;
}

void log_init(const char *program, enum log_level max, enum log_format format)
{
	(void)pthread_mutex_lock(&log_state.lock);
	log_state.program = program;
	log_state.max = max;
	log_state.json = format == LOG_FORMAT_JSON;
	log_state.prefix = format == LOG_FORMAT_AUTO && is_journal();
	memset(log_state.rates, 0, sizeof(log_state.rates));
	(void)pthread_mutex_unlock(&log_state.lock);
}

static uint64_t clock_ms(clockid_t id)
{
	struct timespec now;

	(void)clock_gettime(id, &now);
	return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

/* Whether the message may be said now; ret_swallowed: how many like it were not since the last. */
static bool rate_pass(const char *format, unsigned int *ret_swallowed)
{
	struct rate *slot = &log_state.rates[((uintptr_t)format >> 3) % RATE_SLOTS];
	uint64_t second = clock_ms(CLOCK_MONOTONIC) / 1000;

	*ret_swallowed = 0;
	if (slot->format != format)
		*slot = (struct rate){.format = format, .second = second};
	if (slot->second != second) {
		*ret_swallowed = slot->swallowed;
		*slot = (struct rate){.format = format, .second = second};
	}
	if (slot->said >= RATE_BURST) {
		slot->swallowed++;
		return false;
	}
	slot->said++;
	return true;
}

/* The message with every byte that is not printable text replaced. */
static void append_clean(struct text_buffer *b, const char *text, bool json)
{
	size_t left = strlen(text);

	while (left) {
		size_t n = text_utf8_length(text, left);
		unsigned char c = (unsigned char)*text;

		if (!n)
			text_append(b, "?");
		else if (c < 0x20 || c == 0x7f)
			text_append_format(b, json ? "\\u%04x" : "\\x%02x", c);
		else if (json && (c == '"' || c == '\\'))
			text_append_format(b, "\\%c", c);
		else
			text_append_bytes(b, text, n);
		n = n ? n : 1;
		text += n;
		left -= n;
	}
}

static void append_text(struct text_buffer *b, enum log_level level, const char *message)
{
	if (log_state.prefix)
		text_append_format(b, "<%d>", level);
	else
		text_append_format(b, "%s: ", log_state.program);
	if (!log_state.prefix && level != LOG_INFO && level != LOG_NOTICE)
		text_append_format(b, "%s: ", level_name(level));
	append_clean(b, message, false);
}

/* Elastic Common Schema 8: @timestamp, log.level, message, process.*. */
static void append_json(struct text_buffer *b, enum log_level level, const char *message)
{
	char when[TEXT_TIME];

	text_append_format(b, "{\"@timestamp\":\"%s\",\"log.level\":\"%s\",\"message\":\"",
			   text_format_time(clock_ms(CLOCK_REALTIME), when), level_name(level));
	append_clean(b, message, true);
	text_append(b, "\",\"process.name\":\"");
	append_clean(b, log_state.program, true);
	text_append_format(b, "\",\"process.pid\":%d,\"ecs.version\":\"8.11.0\"}", (int)getpid());
}

static void write_line(enum log_level level, const char *message)
{
	struct text_buffer b = {};

	if (log_state.json)
		append_json(&b, level, message);
	else
		append_text(&b, level, message);
	text_append(&b, "\n");
	/* A full or closed stderr must not stop the program; there is nobody left to tell. */
	if (!b.no_memory && write(STDERR_FILENO, b.data, b.n) < 0)
		errno = 0;
	text_done(&b);
}

static void write_limited(enum log_level level, const char *format, const char *message)
{
	unsigned int swallowed = 0;
	bool pass;

	(void)pthread_mutex_lock(&log_state.lock);
	/* Who asks for debug messages wants each of them. */
	pass = level == LOG_DEBUG || rate_pass(format, &swallowed);
	if (swallowed) {
		char text[96];

		(void)snprintf(text, sizeof(text), "%u more like the next message were not logged",
			       swallowed);
		write_line(level, text);
	}
	if (pass)
		write_line(level, message);
	(void)pthread_mutex_unlock(&log_state.lock);
}

void log_write(enum log_level level, const char *format, ...)
{
	char message[LINE_MAX_BYTES];
	int saved = errno;
	va_list ap;

	if (level > log_state.max)
		return;
	va_start(ap, format);
	(void)vsnprintf(message, sizeof(message), format, ap);
	va_end(ap);
	write_limited(level, format, message);
	errno = saved;
}

int log_write_r(enum log_level level, int r, const char *format, ...)
{
	char message[LINE_MAX_BYTES], reason[128];
	int saved = errno, n;
	va_list ap;

	if (level > log_state.max)
		return r;
	va_start(ap, format);
	n = vsnprintf(message, sizeof(message), format, ap);
	va_end(ap);
	if (n >= 0 && (size_t)n < sizeof(message))
		(void)snprintf(message + n, sizeof(message) - (size_t)n, ": %s",
			       strerror_r(-r, reason, sizeof(reason)));
	write_limited(level, format, message);
	errno = saved;
	return r;
}
