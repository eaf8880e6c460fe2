/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What a fuzzer demands beside not crashing. A broken demand ends the program, so that libFuzzer
 * keeps the input. Only fuzzers include it.
 */
#pragma once

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define REQUIRE(condition)                                                                         \
	do {                                                                                       \
		if (!(condition)) {                                                                \
			(void)fprintf(stderr, "%s:%d: does not hold: %s\n", __FILE__, __LINE__,    \
				      #condition);                                                 \
			abort();                                                                   \
		}                                                                                  \
	} while (0)

/* The input as a text that ends; the caller frees. */
static inline char *require_text(const uint8_t *data, size_t size)
{
	char *text = malloc(size + 1);

	REQUIRE(text);
	if (size)
		memcpy(text, data, size);
	text[size] = '\0';
	return text;
}
