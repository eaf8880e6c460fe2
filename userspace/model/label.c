/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * See label.h. Before: the codec reads and sorts them. After: selectors and views look at them.
 */
#include "model/label.h"

size_t label_bytes(const struct label *labels, size_t n)
{
	size_t bytes = n * sizeof(*labels);

	for (size_t i = 0; i < n; i++)
		bytes += block_text_bytes(labels[i].key) + block_text_bytes(labels[i].value);
	return bytes;
}

void label_take_text(struct block *b, struct label *labels, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		labels[i].key = block_take_text(b, labels[i].key);
		labels[i].value = block_take_text(b, labels[i].value);
	}
}

uint64_t label_hash(uint64_t hash, const struct label *labels, size_t n)
{
	hash = block_hash_number(hash, n);
	for (size_t i = 0; i < n; i++)
		hash = block_hash_text(block_hash_text(hash, labels[i].key), labels[i].value);
	return hash;
}

bool label_is_equal(const struct label *a, const struct label *b, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (strcmp(a[i].key, b[i].key) || strcmp(a[i].value, b[i].value))
			return false;
	return true;
}

const char *label_find(const struct label *labels, size_t n, const char *key)
{
	for (size_t i = 0; i < n; i++)
		if (!strcmp(labels[i].key, key))
			return labels[i].value;
	return NULL;
}
