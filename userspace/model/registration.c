/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * See registration.h. Before: codec_registration.c checked what is copied here. After: the store,
 * the API, and the agent that acts on it. Decides nothing about listeners.
 */
#include "model/registration.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* --- one block ---------------------------------------------------------------------------- */

static size_t registration_bytes(const struct registration *r)
{
	size_t bytes = sizeof(*r) + label_bytes(r->labels, r->n_labels) +
		       label_bytes(r->selects, r->n_selects) + label_bytes(r->meta, r->n_meta) +
		       r->n_tags * sizeof(*r->tags);

	for (size_t i = 0; i < r->n_tags; i++)
		bytes += block_text_bytes(r->tags[i]);
	return bytes + block_text_bytes(r->namespace) + block_text_bytes(r->name) +
	       block_text_bytes(r->source) + block_text_bytes(r->service) +
	       block_text_bytes(r->registry) + block_text_bytes(r->workload) +
	       block_text_bytes(r->pod_namespace) + block_text_bytes(r->pod_container);
}

static void registration_fill(struct registration *r, struct block *b)
{
	r->labels = block_take(b, r->labels, r->n_labels * sizeof(*r->labels));
	r->selects = block_take(b, r->selects, r->n_selects * sizeof(*r->selects));
	r->meta = block_take(b, r->meta, r->n_meta * sizeof(*r->meta));
	r->tags = block_take(b, r->tags, r->n_tags * sizeof(*r->tags));
	label_take_text(b, r->labels, r->n_labels);
	label_take_text(b, r->selects, r->n_selects);
	label_take_text(b, r->meta, r->n_meta);
	for (size_t i = 0; i < r->n_tags; i++)
		r->tags[i] = block_take_text(b, r->tags[i]);
	r->namespace = block_take_text(b, r->namespace);
	r->name = block_take_text(b, r->name);
	r->source = block_take_text(b, r->source);
	r->service = block_take_text(b, r->service);
	r->registry = block_take_text(b, r->registry);
	r->workload = block_take_text(b, r->workload);
	r->pod_namespace = block_take_text(b, r->pod_namespace);
	r->pod_container = block_take_text(b, r->pod_container);
}

/* Of everything that the canonical JSON is made from: equal text, equal tag. */
static uint64_t registration_hash(const struct registration *r)
{
	uint64_t hash = block_hash_text(block_hash_text(3, r->namespace), r->name);

	hash = label_hash(hash, r->labels, r->n_labels);
	hash = block_hash_text(block_hash_text(hash, r->service), r->registry);
	hash = block_hash_text(block_hash_number(hash, r->by), r->workload);
	hash = label_hash(hash, r->selects, r->n_selects);
	if (r->by == REGISTRATION_BY_POD)
		hash = block_hash_text(block_hash_text(hash, r->pod_namespace), r->pod_container);
	hash = text_hash(&r->address, sizeof(r->address), hash);
	hash = block_hash_number(hash, (uint64_t)r->ttl_ms << 32 | (uint64_t)r->port << 16 |
					       (uint64_t)r->proto << 8 | r->has_address);
	hash = block_hash_number(hash, r->n_tags);
	for (size_t i = 0; i < r->n_tags; i++)
		hash = block_hash_text(hash, r->tags[i]);
	hash = label_hash(hash, r->meta, r->n_meta);
	return hash ? hash : 1;
}

/* --- objects ------------------------------------------------------------------------------ */

int registration_new(const struct registration *draft, struct registration **ret)
{
	size_t bytes = registration_bytes(draft);
	struct registration *r = malloc(bytes);
	struct block b = {(char *)r + sizeof(*r)};

	if (!r)
		return -ENOMEM;
	*r = *draft;
	if (!r->has_address)
		r->address = (struct sn_addr){};
	registration_fill(r, &b);
	assert(b.next == (char *)r + bytes);
	r->refs = 1;
	r->etag = registration_hash(r);
	*ret = r;
	return 0;
}

struct registration *registration_ref(struct registration *r)
{
	if (r)
		(void)__atomic_fetch_add(&r->refs, 1, __ATOMIC_RELAXED);
	return r;
}

struct registration *registration_unref(struct registration *r)
{
	if (r && __atomic_fetch_sub(&r->refs, 1, __ATOMIC_ACQ_REL) == 1)
		free(r);
	return NULL;
}

static bool texts_are_equal(const struct registration *a, const struct registration *b)
{
	if (a->n_tags != b->n_tags)
		return false;
	for (size_t i = 0; i < a->n_tags; i++)
		if (strcmp(a->tags[i], b->tags[i]))
			return false;
	return !strcmp(a->name, b->name) && !strcmp(a->namespace, b->namespace) &&
	       !strcmp(a->service, b->service) && !strcmp(a->registry, b->registry) &&
	       !strcmp(a->workload, b->workload) && !strcmp(a->pod_namespace, b->pod_namespace) &&
	       !strcmp(a->pod_container, b->pod_container);
}

bool registration_is_equal(const struct registration *a, const struct registration *b)
{
	return a->etag == b->etag && a->by == b->by && a->has_address == b->has_address &&
	       !memcmp(&a->address, &b->address, sizeof(a->address)) && a->port == b->port &&
	       a->proto == b->proto && a->ttl_ms == b->ttl_ms && texts_are_equal(a, b) &&
	       a->n_labels == b->n_labels && label_is_equal(a->labels, b->labels, a->n_labels) &&
	       a->n_selects == b->n_selects &&
	       label_is_equal(a->selects, b->selects, a->n_selects) && a->n_meta == b->n_meta &&
	       label_is_equal(a->meta, b->meta, a->n_meta);
}
