/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What is wrong with something that a person or a program sent: a bounded list of precise errors.
 * A decoder adds problems and goes on, so that one answer tells all of them (LIMIT_PROBLEMS).
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

/* There is too much of something. */
struct problem_limit {
	const char *of; /* for programs: "backends"; static */
	size_t count, most;
};

struct problem {
	char *pointer;              /* RFC 6901 JSON pointer into what was sent, "" for the whole */
	char *message;              /* "port 70000 is out of range (1 to 65535)" */
	bool at_key;                /* it is the member's key that is wrong, not its value */
	struct problem_limit limit; /* of NULL: it is about none */
};

struct problems {
	struct problem *items;
	size_t n;
	size_t more; /* told no longer, only counted */
	bool no_memory;
};

/* Never fails visibly: without memory it sets no_memory, which counts as a problem. */
__attribute__((format(printf, 3, 4))) void problem_add(struct problems *p, const char *pointer,
						       const char *format, ...);
/* As problem_add, about the key that the pointer ends with. */
__attribute__((format(printf, 3, 4))) void problem_add_key(struct problems *p, const char *pointer,
							   const char *format, ...);
/* As problem_add, about a limit; the words are for people alone. */
__attribute__((format(printf, 4, 5))) void problem_add_limit(struct problems *p,
							     const char *pointer,
							     const struct problem_limit *limit,
							     const char *format, ...);
bool problems_any(const struct problems *p);
void problems_done(struct problems *p);
