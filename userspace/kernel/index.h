/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Numbers in an array map: given out, given back, and not given out again while the kernel may
 * still hold them.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

/* A program that read an entry has long finished after this; and it checks owners anyway. */
#define INDEX_GRACE_NS 1000000000ull

struct index_pool {
	uint32_t max;     /* numbers 1..max-1 */
	uint32_t used;    /* given out */
	uint32_t retired; /* given back, resting */
	uint32_t cursor;  /* the search for runs goes on here; down again when some are freed */
	uint64_t *taken;  /* bit set: given out or resting */
	struct index_rest {
		uint32_t first, count;
		uint64_t since_ns;
	} * rest; /* ring, oldest first */
	uint32_t rest_head, rest_count, rest_size;
};

int index_pool_init(struct index_pool *p, uint32_t max);
void index_pool_done(struct index_pool *p);

/* `count` numbers in a row; *ret is the first. -ENOSPC: never; -EBUSY: some are resting, try in a
 * second. */
int index_take(struct index_pool *p, uint32_t count, uint64_t now_ns, uint32_t *ret);
/* Marks numbers that the kernel holds already. -EEXIST if one is taken. */
int index_claim(struct index_pool *p, uint32_t first, uint32_t count);
/* Gives back; they rest first. Never fails: without memory they are lost until a restart. */
void index_give(struct index_pool *p, uint32_t first, uint32_t count, uint64_t now_ns);
/* A rested range that may not be freed yet rests once more. */
void index_rest_again(struct index_pool *p, uint32_t first, uint32_t count, uint64_t now_ns);
/* Takes back numbers that were taken but never shown to the kernel: no rest. */
void index_untake(struct index_pool *p, uint32_t first, uint32_t count);
/* Oldest range whose rest is over, or false. It is still taken: free it with index_free. */
bool index_rested(struct index_pool *p, uint64_t now_ns, uint32_t *ret_first, uint32_t *ret_count);
void index_free(struct index_pool *p, uint32_t first, uint32_t count);
/* Frees all whose rest is over. */
void index_free_rested(struct index_pool *p, uint64_t now_ns);
/* The highest number given out or resting; 0: none. Low ones are given out first, so that what is
 * mapped of an array stays as small as its use. */
uint32_t index_highest(const struct index_pool *p);
static inline uint32_t index_available(const struct index_pool *p)
{
	return p->max - 1 - p->used - p->retired;
}
