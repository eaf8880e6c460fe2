/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What people attach to an object to find it again. Sorted by key; part of the object's block.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "model/block.h"

struct label {
	char *key;
	char *value;
};

/* Of n labels in an object's block. */
size_t label_bytes(const struct label *labels, size_t n);
/* Their texts; the array itself was taken before, with the draft's pointers in it. */
void label_take_text(struct block *b, struct label *labels, size_t n);
uint64_t label_hash(uint64_t hash, const struct label *labels, size_t n);
bool label_is_equal(const struct label *a, const struct label *b, size_t n);
/* The value of that key; NULL: there is none. */
const char *label_find(const struct label *labels, size_t n, const char *key);
