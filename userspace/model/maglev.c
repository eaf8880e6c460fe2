/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * See maglev.h. Before kernel/draft_set, which publishes what is made here. Must never look at a
 * member's index or its place in the list: after a restart both may be others.
 */
#include "model/maglev.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/text.h"

/* The first primes above powers of two; the largest bounds what one service takes of sn_slots. */
static const size_t sizes[] = {67, 131, 257, 521, 1031, 2053, 4099, 8209, 16411, 32771, 65537};

#define PLACES 32 /* for each member */

size_t maglev_size(size_t n, size_t current)
{
	for (size_t i = 0; current && i < ARRAY_SIZE(sizes); i++)
		if (sizes[i] == current && current >= n * PLACES / 2 && current <= n * PLACES * 4)
			return current;
	for (size_t i = 0; i < ARRAY_SIZE(sizes); i++)
		if (sizes[i] >= n * PLACES)
			return sizes[i];
	return sizes[ARRAY_SIZE(sizes) - 1];
}

/* One member on its way through its permutation. */
struct walker {
	const struct maglev_member *member;
	uint64_t key;    /* of what it is */
	uint64_t turn;   /* the one with the least is next; + stride for each place taken */
	uint64_t stride; /* falls with the weight */
	uint32_t at, skip;
};

static int compare_members(const struct maglev_member *a, const struct maglev_member *b)
{
	int r = memcmp(&a->addr, &b->addr, sizeof(a->addr));

	return r ? r : memcmp(&a->port_be, &b->port_be, sizeof(a->port_be));
}

static bool is_before(const struct walker *a, const struct walker *b)
{
	if (a->turn != b->turn)
		return a->turn < b->turn;
	if (a->key != b->key)
		return a->key < b->key;
	return compare_members(a->member, b->member) < 0;
}

static void sink(struct walker *heap, size_t n, size_t i)
{
	struct walker moving = heap[i];

	for (size_t child = 2 * i + 1; child < n; child = 2 * i + 1) {
		child += child + 1 < n && is_before(&heap[child + 1], &heap[child]);
		if (!is_before(&heap[child], &moving))
			break;
		heap[i] = heap[child];
		i = child;
	}
	heap[i] = moving;
}

/* `latest`: the turn at which even one of next to no weight is to have its first place, because who
 * is not in the table cannot be picked when all others are ejected. */
static void start(struct walker *w, const struct maglev_member *m, size_t size, uint64_t latest)
{
	uint64_t key = text_hash(&m->addr, sizeof(m->addr), 0x6d61676c);

	key = text_hash(&m->port_be, sizeof(m->port_be), key);
	*w = (struct walker){.member = m, .key = key, .stride = (1ull << 40) / m->weight};
	w->turn = w->stride / 2 < latest ? w->stride / 2 : latest;
	w->at = (uint32_t)(key >> 32) % size;
	w->skip = 1 + (uint32_t)key % (uint32_t)(size - 1);
}

static void take_place(struct walker *w, uint32_t service, const struct maglev_table *table)
{
	while (table->slots[w->at].service)
		w->at = (uint32_t)((w->at + w->skip) % table->size);
	table->slots[w->at] = (struct sn_slot){.backend = w->member->backend,
					       .alias = w->member->backend,
					       .cut = UINT32_MAX,
					       .service = service};
	w->turn += w->stride;
}

int maglev_build(const struct maglev_member *members, size_t n, uint32_t service,
		 const struct maglev_table *table)
{
	_cleanup_free_ struct walker *heap = calloc(n + 1, sizeof(*heap));
	uint64_t weights = 0;
	int uniform = 1;

	if (!heap)
		return -ENOMEM;
	for (size_t i = 0; i < n; i++)
		weights += members[i].weight;
	memset(table->slots, 0, table->size * sizeof(*table->slots));
	for (size_t i = 0; i < n; i++) {
		start(&heap[i], &members[i], table->size, (table->size << 40) / weights / 2);
		uniform = uniform && members[i].weight == members[0].weight;
	}
	for (size_t i = n / 2; i-- > 0;)
		sink(heap, n, i);
	for (size_t taken = 0; n && taken < table->size; taken++) {
		take_place(&heap[0], service, table);
		sink(heap, n, 0);
	}
	return uniform;
}
