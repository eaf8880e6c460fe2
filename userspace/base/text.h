/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Text that people write and read: durations, sizes, times, near misses; and a buffer that grows.
 * Pure: no clock, no locale, nothing kept between calls.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define TEXT_DURATION 32 /* bytes that text_format_duration needs */
#define TEXT_SIZE 32     /* bytes that text_format_size needs */
#define TEXT_TIME 32     /* bytes that text_format_time needs */

/*
 * "250ms", "30s", "5m", "1h", "2d", or several with falling units ("1h30m"), to milliseconds. A
 * bare number is refused, except 0. -EINVAL: not a duration; -ERANGE: it does not fit. ret
 * untouched then.
 */
int text_parse_duration(const char *text, uint64_t *ret_ms);
/* The shortest text that text_parse_duration reads back as the same number: "1h30m". Returns buf.
 */
const char *text_format_duration(uint64_t ms, char buf[static TEXT_DURATION]);

/* "4096", "64KiB", "4MiB", "1GiB" to bytes. Only powers of 1024: "4MB" is refused, people mean both
 * by it. -EINVAL; -ERANGE. */
int text_parse_size(const char *text, uint64_t *ret_bytes);
/* With the largest unit that divides it: "4MiB", "1500B". Returns buf. */
const char *text_format_size(uint64_t bytes, char buf[static TEXT_SIZE]);

/* RFC 3339 in UTC with milliseconds, of CLOCK_REALTIME: "2026-02-03T12:01:07.341Z". Returns buf. */
const char *text_format_time(uint64_t ms, char buf[static TEXT_TIME]);

/*
 * The candidate most like `word` by edit distance, neighbours swapped counting as one; for "did you
 * mean". NULL: none is near enough to have been meant. NULL candidates are passed over.
 */
const char *text_suggest(const char *word, const char *const *candidates, size_t n);

/* 64 bits of n bytes; the same on every machine. Not for secrets: whoever knows `seed` can collide
 * it. */
uint64_t text_hash(const void *data, size_t n, uint64_t seed);

/* Length of the UTF-8 sequence at p within n bytes (RFC 3629); 0: it is none. */
size_t text_utf8_length(const char *p, size_t n);
/* Makes one line of UTF-8 of what a stranger said, in place and never longer: a control character
 * becomes a space, a byte that is no UTF-8 '?'; a character that was cut at the end is dropped. */
void text_make_printable(char *text);

/* Grows as it is written to. Without memory it only remembers that: check once, at the end. */
struct text_buffer {
	char *data; /* NUL-terminated once anything was appended */
	size_t n;   /* bytes without the NUL */
	size_t capacity;
	bool no_memory;
};

void text_append(struct text_buffer *b, const char *text);
void text_append_bytes(struct text_buffer *b, const char *data, size_t n);
__attribute__((format(printf, 2, 3))) void text_append_format(struct text_buffer *b,
							      const char *format, ...);
/* The text, owned by the caller; the buffer is empty then. NULL: there was no memory. */
char *text_take(struct text_buffer *b);
void text_done(struct text_buffer *b);

/* Lines of a stream that comes in pieces of any size. */
struct text_lines {
	size_t most; /* bytes of one */
	/* One that is whole, without its end, and not empty; < 0 ends it. */
	int (*on_line)(void *arg, const char *line, size_t length);
	void *arg;
};
/* The next piece; `rest` holds the beginning of a line in between, and is empty at first. What
 * on_line said; -EMSGSIZE: a line is too long; -ENOMEM. */
int text_take_lines(struct text_buffer *rest, const struct text_lines *to, const char *data,
		    size_t length);
