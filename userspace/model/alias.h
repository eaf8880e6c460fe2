/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Weights to a set that the kernel can draw from in constant time: Walker's alias method with
 * Vose's construction (M. D. Vose, "A linear algorithm for generating random numbers with a given
 * distribution", IEEE TSE 17(9), 1991). Pure.
 */
#pragma once

#include <sinew/service.h>
#include <stddef.h>
#include <stdint.h>

struct alias_member {
	uint32_t backend;
	uint32_t weight; /* > 0 */
};

/*
 * Fills slots[0..n) so that a draw of (member uniform, 32-bit fraction uniform) yields each backend
 * in proportion to its weight, to within 2^-32 of a member's share. `work` holds n elements of
 * scratch. Returns 1 if all weights are equal, else 0.
 */
int alias_build(const struct alias_member *members, size_t n, uint32_t service,
		struct sn_slot *slots, uint64_t *work);
