/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What the steps of a script share; the steps themselves are in script.c, script_health.c and
 * script_note.c. Only these include it.
 */
#pragma once

#include "script.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "world.h"

#define WORDS 256
#define NOTES 16

struct note {
	char name[32];
	uint32_t index, incarnation, set, rules;
};

struct script {
	struct world world;
	bool running;
	const char *name;
	unsigned int line;
	struct note notes[NOTES];
	size_t n_notes;
	char *words[WORDS];
	size_t n_words;
	char rest[4096]; /* what follows the verb */
};

#define wrong(s, ...)                                                                              \
	do {                                                                                       \
		print_error("%s:%u: ", (s)->name, (s)->line);                                      \
		fail_msg(__VA_ARGS__);                                                             \
	} while (0)

struct script_verb {
	const char *name; /* NULL: the end of the table */
	int (*run)(struct script *s);
};
extern const struct script_verb script_health_verbs[], script_note_verbs[];

/* The i-th word of the step, or that many as a number. */
const char *script_word(struct script *s, size_t i);
uint32_t script_number(struct script *s, size_t i);
/* The index behind FRONTEND BACKEND, words i and i + 1. */
uint32_t script_backend(struct script *s, size_t i);
