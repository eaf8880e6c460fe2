/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * An object as one block of memory: measured first, then handed out piece by piece, the widest
 * alignment first, texts last. And the hash over all that it says. For service.c and policy.c.
 */
#pragma once

#include <stdint.h>
#include <string.h>

#include "base/text.h"

struct block {
	char *next;
};

static inline size_t block_text_bytes(const char *text)
{
	return strlen(text) + 1;
}

static inline void *block_take(struct block *b, const void *from, size_t n)
{
	char *at = b->next;

	if (n)
		memcpy(at, from, n);
	b->next += n;
	return at;
}

static inline char *block_take_text(struct block *b, const char *text)
{
	return block_take(b, text, block_text_bytes(text));
}

static inline uint64_t block_hash_text(uint64_t hash, const char *text)
{
	return text_hash(text, strlen(text), hash);
}

static inline uint64_t block_hash_number(uint64_t hash, uint64_t number)
{
	return text_hash(&number, sizeof(number), hash);
}
