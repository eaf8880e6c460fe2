/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * See index.h. Used by publish.c for services, backends and slots. Knows nothing of what is
 * numbered.
 */
#include "kernel/index.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

int index_pool_init(struct index_pool *p, uint32_t max)
{
	uint64_t *taken = calloc((max + 63) / 64, sizeof(*taken));

	if (!taken)
		return -ENOMEM;
	*p = (struct index_pool){.max = max, .cursor = 1, .taken = taken};
	p->taken[0] = 1; /* 0 means none */
	return 0;
}

void index_pool_done(struct index_pool *p)
{
	free(p->taken);
	free(p->rest);
	*p = (struct index_pool){};
}

static bool is_taken(const struct index_pool *p, uint32_t i)
{
	return p->taken[i / 64] >> (i % 64) & 1;
}

static void mark(struct index_pool *p, uint32_t first, uint32_t count, bool taken)
{
	for (uint32_t i = first; i < first + count; i++) {
		if (taken)
			p->taken[i / 64] |= 1ull << (i % 64);
		else
			p->taken[i / 64] &= ~(1ull << (i % 64));
	}
}

/* First run of `count` free numbers in [from, to); 0: none. Whole taken words are skipped. */
static uint32_t find_run(const struct index_pool *p, uint32_t from, uint32_t to, uint32_t count)
{
	uint32_t length = 0;

	for (uint32_t i = from; i < to; i++) {
		if (!length && i % 64 == 0 && p->taken[i / 64] == ~0ull) {
			i += 63;
			continue;
		}
		length = is_taken(p, i) ? 0 : length + 1;
		if (length == count)
			return i + 1 - count;
	}
	return 0;
}

int index_take(struct index_pool *p, uint32_t count, uint64_t now_ns, uint32_t *ret)
{
	uint32_t first = find_run(p, p->cursor, p->max, count);

	if (!first) {
		index_free_rested(p, now_ns);
		first = find_run(p, p->cursor, p->max, count);
	}
	if (!first)
		first = find_run(p, 1, p->max, count);
	if (!first)
		return p->rest_count ? -EBUSY : -ENOSPC;
	mark(p, first, count, true);
	p->used += count;
	p->cursor = first + count < p->max ? first + count : 1;
	*ret = first;
	return 0;
}

int index_claim(struct index_pool *p, uint32_t first, uint32_t count)
{
	if (!first || first >= p->max || count > p->max - first)
		return -ERANGE;
	for (uint32_t i = first; i < first + count; i++)
		if (is_taken(p, i))
			return -EEXIST;
	mark(p, first, count, true);
	p->used += count;
	if (p->cursor < first + count && first + count < p->max)
		p->cursor = first + count;
	return 0;
}

static int grow_rest(struct index_pool *p)
{
	uint32_t size = p->rest_size ? p->rest_size * 2 : 64;
	struct index_rest *rest = malloc(size * sizeof(*rest));

	if (!rest)
		return -ENOMEM;
	for (uint32_t i = 0; i < p->rest_count; i++)
		rest[i] = p->rest[(p->rest_head + i) % p->rest_size];
	free(p->rest);
	p->rest = rest;
	p->rest_head = 0;
	p->rest_size = size;
	return 0;
}

void index_give(struct index_pool *p, uint32_t first, uint32_t count, uint64_t now_ns)
{
	p->used -= count;
	p->retired += count;
	index_rest_again(p, first, count, now_ns);
}

void index_untake(struct index_pool *p, uint32_t first, uint32_t count)
{
	mark(p, first, count, false);
	p->used -= count;
	if (first < p->cursor)
		p->cursor = first;
}

void index_rest_again(struct index_pool *p, uint32_t first, uint32_t count, uint64_t now_ns)
{
	if (p->rest_count == p->rest_size && grow_rest(p) < 0)
		return;
	p->rest[(p->rest_head + p->rest_count++) % p->rest_size] =
		(struct index_rest){.first = first, .count = count, .since_ns = now_ns};
}

bool index_rested(struct index_pool *p, uint64_t now_ns, uint32_t *ret_first, uint32_t *ret_count)
{
	const struct index_rest *oldest;

	if (!p->rest_count)
		return false;
	oldest = &p->rest[p->rest_head];
	if (now_ns - oldest->since_ns < INDEX_GRACE_NS)
		return false;
	*ret_first = oldest->first;
	*ret_count = oldest->count;
	p->rest_head = (p->rest_head + 1) % p->rest_size;
	p->rest_count--;
	return true;
}

void index_free(struct index_pool *p, uint32_t first, uint32_t count)
{
	mark(p, first, count, false);
	p->retired -= count;
	if (first < p->cursor)
		p->cursor = first;
}

void index_free_rested(struct index_pool *p, uint64_t now_ns)
{
	uint32_t first, count;

	while (index_rested(p, now_ns, &first, &count))
		index_free(p, first, count);
}

uint32_t index_highest(const struct index_pool *p)
{
	for (uint32_t word = (p->max + 63) / 64; word-- > 0;)
		if (p->taken[word])
			return word * 64 + 63 - (uint32_t)__builtin_clzll(p->taken[word]);
	return 0;
}
