/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * See alias.h. Before kernel/publish, which writes what is made here.
 */
#include "model/alias.h"

#include <stdbool.h>

static bool is_uniform(const struct alias_member *members, size_t n)
{
	for (size_t i = 1; i < n; i++)
		if (members[i].weight != members[0].weight)
			return false;
	return true;
}

static void fill_own(const struct alias_member *members, size_t n, uint32_t service,
		     struct sn_slot *slots)
{
	for (size_t i = 0; i < n; i++)
		slots[i] = (struct sn_slot){.backend = members[i].backend,
					    .alias = members[i].backend,
					    .cut = UINT32_MAX,
					    .service = service};
}

/* The share of its own slot that a member keeps, as a 32-bit threshold: w of total out of 1. */
static uint32_t cut_of(uint64_t share, uint64_t total)
{
	uint64_t cut = (uint64_t)(((unsigned __int128)share << 32) / total);

	return cut ? (uint32_t)(cut - 1) : 0;
}

int alias_build(const struct alias_member *members, size_t n, uint32_t service,
		struct sn_slot *slots, uint64_t *work)
{
	uint64_t total = 0;
	size_t small = 0, large = 0;

	fill_own(members, n, service, slots);
	if (is_uniform(members, n))
		return 1;
	for (size_t i = 0; i < n; i++)
		total += members[i].weight;
	/* In units of 1/n of the total: a member with exactly its share has `total`. */
	for (size_t i = 0; i < n; i++)
		work[i] = (uint64_t)members[i].weight * n;
	/* Two cursors replace Vose's two lists: `small` seeks a member with less than its share
	 * that is not settled yet, `large` one with more. A large one that became small behind the
	 * cursor is settled at once. */
	while (large < n && work[large] < total)
		large++;
	while (small < n && work[small] >= total)
		small++;
	for (size_t next = small; large < n && small < n;) {
		slots[small].cut = cut_of(work[small], total);
		slots[small].alias = members[large].backend;
		work[large] -= total - work[small];
		if (work[large] < total && large < next) {
			small = large;
		} else {
			do
				next++;
			while (next < n && work[next] >= total);
			small = next;
		}
		while (large < n && work[large] < total)
			large++;
	}
	return 0;
}
