/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Weights to a table by which a caller's hash finds the same backend again and again: Maglev's (D.
 * E. Eisenbud et al., "Maglev: a fast and reliable software network load balancer", NSDI 2016).
 * Each member has a permutation of the table's places, made of what it is and not of where it
 * stands; in turns, in proportion to their weights, they take the first place of their own that is
 * free. When one goes, most of the others' places stay theirs. Pure.
 */
#pragma once

#include <sinew/service.h>
#include <stddef.h>
#include <stdint.h>

struct maglev_member {
	struct sn_addr addr;
	__be16 port_be;
	uint16_t weight; /* > 0 */
	uint32_t backend;
};

struct maglev_table {
	struct sn_slot *slots;
	size_t size; /* a prime, from maglev_size */
};

/* Places for n members: 32 for each or more, so that shares are right within a few percent. Another
 * size is another table altogether, so `current` (0: none) stays while it is half or four times
 * that. */
size_t maglev_size(size_t n, size_t current);
/* Fills the table; 1 if every member has the same weight, else 0. -ENOMEM. */
int maglev_build(const struct maglev_member *members, size_t n, uint32_t service,
		 const struct maglev_table *table);
