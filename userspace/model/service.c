/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * See service.h. Before: the codec describes an object in a draft. After: store, kernel and views
 * share it by reference. An object is one block, because ten thousand of them are kept and each
 * full sync makes as many anew. Never changes an object that was handed out.
 */
#include "model/service.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* --- one block ---------------------------------------------------------------------------- */

static size_t service_bytes(const struct service *s)
{
	size_t bytes = sizeof(*s) + label_bytes(s->labels, s->n_labels) +
		       s->n_ports * sizeof(*s->ports) +
		       (s->n_zones + s->n_nodes + s->n_sources) * sizeof(*s->zones) +
		       s->n_endpoints * sizeof(*s->endpoints) +
		       s->n_endpoints * s->n_ports * sizeof(*s->targets);

	for (size_t i = 0; i < s->n_ports; i++)
		bytes += block_text_bytes(s->ports[i].name);
	for (size_t i = 0; i < s->n_zones; i++)
		bytes += block_text_bytes(s->zones[i]);
	for (size_t i = 0; i < s->n_nodes; i++)
		bytes += block_text_bytes(s->nodes[i]);
	for (size_t i = 0; i < s->n_sources; i++)
		bytes += block_text_bytes(s->sources[i]);
	return bytes + block_text_bytes(s->namespace) + block_text_bytes(s->name) +
	       block_text_bytes(s->source) + block_text_bytes(s->policy);
}

/* Arrays are copied with the draft's pointers in them, which the second half then replaces. */
static void service_fill(struct service *s, struct block *b)
{
	s->labels = block_take(b, s->labels, s->n_labels * sizeof(*s->labels));
	s->ports = block_take(b, s->ports, s->n_ports * sizeof(*s->ports));
	s->zones = block_take(b, s->zones, s->n_zones * sizeof(*s->zones));
	s->nodes = block_take(b, s->nodes, s->n_nodes * sizeof(*s->nodes));
	s->sources = block_take(b, s->sources, s->n_sources * sizeof(*s->sources));
	s->endpoints = block_take(b, s->endpoints, s->n_endpoints * sizeof(*s->endpoints));
	s->targets = block_take(b, s->targets, s->n_endpoints * s->n_ports * sizeof(*s->targets));
	label_take_text(b, s->labels, s->n_labels);
	for (size_t i = 0; i < s->n_ports; i++)
		s->ports[i].name = block_take_text(b, s->ports[i].name);
	for (size_t i = 0; i < s->n_zones; i++)
		s->zones[i] = block_take_text(b, s->zones[i]);
	for (size_t i = 0; i < s->n_nodes; i++)
		s->nodes[i] = block_take_text(b, s->nodes[i]);
	for (size_t i = 0; i < s->n_sources; i++)
		s->sources[i] = block_take_text(b, s->sources[i]);
	s->namespace = block_take_text(b, s->namespace);
	s->name = block_take_text(b, s->name);
	s->source = block_take_text(b, s->source);
	s->policy = block_take_text(b, s->policy);
}

/* --- etag --------------------------------------------------------------------------------- */

/* Of everything that the canonical JSON is made from, in its order: equal text, equal tag. */
static uint64_t service_hash(const struct service *s)
{
	uint64_t hash = block_hash_text(block_hash_text(1, s->namespace), s->name);

	hash = label_hash(hash, s->labels, s->n_labels);
	hash = text_hash(s->address, s->n_addresses * sizeof(*s->address), hash);
	hash = block_hash_number(hash, s->n_addresses << 1 | s->allocated);
	hash = block_hash_number(hash, s->n_ports);
	for (size_t i = 0; i < s->n_ports; i++)
		hash = block_hash_number(block_hash_text(hash, s->ports[i].name),
					 (uint64_t)s->ports[i].proto << 16 | s->ports[i].port);
	hash = text_hash(s->endpoints, s->n_endpoints * sizeof(*s->endpoints), hash);
	hash = text_hash(s->targets, s->n_endpoints * s->n_ports * sizeof(*s->targets), hash);
	for (size_t i = 0; i < s->n_zones; i++)
		hash = block_hash_text(hash, s->zones[i]);
	hash = block_hash_number(hash, s->n_nodes);
	for (size_t i = 0; i < s->n_nodes; i++)
		hash = block_hash_text(hash, s->nodes[i]);
	hash = block_hash_number(hash, s->n_sources);
	for (size_t i = 0; i < s->n_sources; i++)
		hash = block_hash_text(hash, s->sources[i]);
	hash = block_hash_text(hash, s->policy);
	return hash ? hash : 1;
}

/* --- objects ------------------------------------------------------------------------------ */

int service_new(const struct service *draft, struct service **ret)
{
	size_t bytes = service_bytes(draft);
	struct service *s = malloc(bytes);
	struct block b = {(char *)s + sizeof(*s)};

	if (!s)
		return -ENOMEM;
	*s = *draft;
	service_fill(s, &b);
	assert(b.next == (char *)s + bytes);
	s->refs = 1;
	s->etag = service_hash(s);
	*ret = s;
	return 0;
}

struct service *service_ref(struct service *s)
{
	if (s)
		(void)__atomic_fetch_add(&s->refs, 1, __ATOMIC_RELAXED);
	return s;
}

struct service *service_unref(struct service *s)
{
	if (s && __atomic_fetch_sub(&s->refs, 1, __ATOMIC_ACQ_REL) == 1)
		free(s);
	return NULL;
}

/* --- equality ----------------------------------------------------------------------------- */

static bool bytes_are_equal(const void *a, const void *b, size_t n)
{
	return !n || !memcmp(a, b, n);
}

static bool ports_are_equal(const struct service *a, const struct service *b)
{
	for (size_t i = 0; i < a->n_ports; i++) {
		const struct service_port *p = &a->ports[i], *q = &b->ports[i];

		if (p->port != q->port || p->proto != q->proto || strcmp(p->name, q->name))
			return false;
	}
	return true;
}

static bool texts_are_equal(char *const *a, char *const *b, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (strcmp(a[i], b[i]))
			return false;
	return true;
}

static bool counts_are_equal(const struct service *a, const struct service *b)
{
	return a->n_labels == b->n_labels && a->n_addresses == b->n_addresses &&
	       a->n_ports == b->n_ports && a->n_endpoints == b->n_endpoints &&
	       a->n_zones == b->n_zones && a->n_nodes == b->n_nodes &&
	       a->n_sources == b->n_sources && a->allocated == b->allocated;
}

/* Who named an endpoint; "": nobody said. */
static const char *source_of(const struct service *s, const struct endpoint *e)
{
	return e->source ? s->sources[e->source - 1] : "";
}

bool service_is_other(const struct service *a, size_t i, const struct service *b, size_t k)
{
	const struct endpoint *was = &a->endpoints[i], *is = &b->endpoints[k];

	return was->instance && is->instance && was->instance != is->instance &&
	       !strcmp(source_of(a, was), source_of(b, is)) && !strcmp(a->name, b->name) &&
	       !strcmp(a->namespace, b->namespace);
}

bool service_is_equal(const struct service *a, const struct service *b)
{
	return a->etag == b->etag && counts_are_equal(a, b) && !strcmp(a->name, b->name) &&
	       !strcmp(a->namespace, b->namespace) && !strcmp(a->policy, b->policy) &&
	       bytes_are_equal(a->address, b->address, a->n_addresses * sizeof(*a->address)) &&
	       bytes_are_equal(a->endpoints, b->endpoints,
			       a->n_endpoints * sizeof(*a->endpoints)) &&
	       bytes_are_equal(a->targets, b->targets,
			       a->n_endpoints * a->n_ports * sizeof(*a->targets)) &&
	       ports_are_equal(a, b) && texts_are_equal(a->zones, b->zones, a->n_zones) &&
	       texts_are_equal(a->nodes, b->nodes, a->n_nodes) &&
	       texts_are_equal(a->sources, b->sources, a->n_sources) &&
	       label_is_equal(a->labels, b->labels, a->n_labels);
}
