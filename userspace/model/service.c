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

#include "base/text.h"

/* --- one block ---------------------------------------------------------------------------- */

/* Hands out the block piece by piece; the widest alignment first, strings last. */
struct block {
	char *next;
};

static void *take_bytes(struct block *b, const void *from, size_t n)
{
	char *at = b->next;

	if (n)
		memcpy(at, from, n);
	b->next += n;
	return at;
}

static char *take_text(struct block *b, const char *text)
{
	return take_bytes(b, text, strlen(text) + 1);
}

static size_t text_bytes(const char *text)
{
	return strlen(text) + 1;
}

static size_t labels_bytes(const struct label *labels, size_t n)
{
	size_t bytes = n * sizeof(*labels);

	for (size_t i = 0; i < n; i++)
		bytes += text_bytes(labels[i].key) + text_bytes(labels[i].value);
	return bytes;
}

static size_t service_bytes(const struct service *s)
{
	size_t bytes = sizeof(*s) + labels_bytes(s->labels, s->n_labels) +
		       s->n_ports * sizeof(*s->ports) + s->n_zones * sizeof(*s->zones) +
		       s->n_endpoints * sizeof(*s->endpoints) +
		       s->n_endpoints * s->n_ports * sizeof(*s->targets);

	for (size_t i = 0; i < s->n_ports; i++)
		bytes += text_bytes(s->ports[i].name);
	for (size_t i = 0; i < s->n_zones; i++)
		bytes += text_bytes(s->zones[i]);
	return bytes + text_bytes(s->namespace) + text_bytes(s->name) + text_bytes(s->source) +
	       text_bytes(s->policy);
}

static void labels_take_text(struct block *b, struct label *labels, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		labels[i].key = take_text(b, labels[i].key);
		labels[i].value = take_text(b, labels[i].value);
	}
}

/* Arrays are copied with the draft's pointers in them, which the second half then replaces. */
static void service_fill(struct service *s, struct block *b)
{
	s->labels = take_bytes(b, s->labels, s->n_labels * sizeof(*s->labels));
	s->ports = take_bytes(b, s->ports, s->n_ports * sizeof(*s->ports));
	s->zones = take_bytes(b, s->zones, s->n_zones * sizeof(*s->zones));
	s->endpoints = take_bytes(b, s->endpoints, s->n_endpoints * sizeof(*s->endpoints));
	s->targets = take_bytes(b, s->targets, s->n_endpoints * s->n_ports * sizeof(*s->targets));
	labels_take_text(b, s->labels, s->n_labels);
	for (size_t i = 0; i < s->n_ports; i++)
		s->ports[i].name = take_text(b, s->ports[i].name);
	for (size_t i = 0; i < s->n_zones; i++)
		s->zones[i] = take_text(b, s->zones[i]);
	s->namespace = take_text(b, s->namespace);
	s->name = take_text(b, s->name);
	s->source = take_text(b, s->source);
	s->policy = take_text(b, s->policy);
}

/* --- etag --------------------------------------------------------------------------------- */

static uint64_t hash_text(uint64_t hash, const char *text)
{
	return text_hash(text, strlen(text), hash);
}

static uint64_t hash_number(uint64_t hash, uint64_t number)
{
	return text_hash(&number, sizeof(number), hash);
}

static uint64_t hash_labels(uint64_t hash, const struct label *labels, size_t n)
{
	hash = hash_number(hash, n);
	for (size_t i = 0; i < n; i++)
		hash = hash_text(hash_text(hash, labels[i].key), labels[i].value);
	return hash;
}

/* Of everything that the canonical JSON is made from, in its order: equal text, equal tag. */
static uint64_t service_hash(const struct service *s)
{
	uint64_t hash = hash_text(hash_text(1, s->namespace), s->name);

	hash = hash_labels(hash, s->labels, s->n_labels);
	hash = text_hash(s->address, s->n_addresses * sizeof(*s->address), hash);
	hash = hash_number(hash, s->n_addresses << 1 | s->allocated);
	hash = hash_number(hash, s->n_ports);
	for (size_t i = 0; i < s->n_ports; i++)
		hash = hash_number(hash_text(hash, s->ports[i].name),
				   (uint64_t)s->ports[i].proto << 16 | s->ports[i].port);
	hash = text_hash(s->endpoints, s->n_endpoints * sizeof(*s->endpoints), hash);
	hash = text_hash(s->targets, s->n_endpoints * s->n_ports * sizeof(*s->targets), hash);
	for (size_t i = 0; i < s->n_zones; i++)
		hash = hash_text(hash, s->zones[i]);
	hash = hash_text(hash, s->policy);
	return hash ? hash : 1;
}

static uint64_t policy_hash(const struct policy *p)
{
	uint64_t hash = hash_text(hash_text(2, p->namespace), p->name);

	hash = hash_number(hash_labels(hash, p->labels, p->n_labels), p->rules.algorithm);
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

int policy_new(const struct policy *draft, struct policy **ret)
{
	size_t bytes = sizeof(*draft) + labels_bytes(draft->labels, draft->n_labels) +
		       text_bytes(draft->namespace) + text_bytes(draft->name) +
		       text_bytes(draft->source);
	struct policy *p = malloc(bytes);
	struct block b = {(char *)p + sizeof(*p)};

	if (!p)
		return -ENOMEM;
	*p = *draft;
	p->labels = take_bytes(&b, p->labels, p->n_labels * sizeof(*p->labels));
	labels_take_text(&b, p->labels, p->n_labels);
	p->namespace = take_text(&b, p->namespace);
	p->name = take_text(&b, p->name);
	p->source = take_text(&b, p->source);
	assert(b.next == (char *)p + bytes);
	p->refs = 1;
	p->etag = policy_hash(p);
	*ret = p;
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

struct policy *policy_ref(struct policy *p)
{
	if (p)
		(void)__atomic_fetch_add(&p->refs, 1, __ATOMIC_RELAXED);
	return p;
}

struct policy *policy_unref(struct policy *p)
{
	if (p && __atomic_fetch_sub(&p->refs, 1, __ATOMIC_ACQ_REL) == 1)
		free(p);
	return NULL;
}

/* --- equality ----------------------------------------------------------------------------- */

static bool bytes_are_equal(const void *a, const void *b, size_t n)
{
	return !n || !memcmp(a, b, n);
}

static bool labels_are_equal(const struct label *a, const struct label *b, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (strcmp(a[i].key, b[i].key) || strcmp(a[i].value, b[i].value))
			return false;
	return true;
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

static bool zones_are_equal(const struct service *a, const struct service *b)
{
	for (size_t i = 0; i < a->n_zones; i++)
		if (strcmp(a->zones[i], b->zones[i]))
			return false;
	return true;
}

static bool counts_are_equal(const struct service *a, const struct service *b)
{
	return a->n_labels == b->n_labels && a->n_addresses == b->n_addresses &&
	       a->n_ports == b->n_ports && a->n_endpoints == b->n_endpoints &&
	       a->n_zones == b->n_zones && a->allocated == b->allocated;
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
	       ports_are_equal(a, b) && zones_are_equal(a, b) &&
	       labels_are_equal(a->labels, b->labels, a->n_labels);
}

bool policy_is_equal(const struct policy *a, const struct policy *b)
{
	return a->etag == b->etag && !memcmp(&a->rules, &b->rules, sizeof(a->rules)) &&
	       a->n_labels == b->n_labels && !strcmp(a->name, b->name) &&
	       !strcmp(a->namespace, b->namespace) &&
	       labels_are_equal(a->labels, b->labels, a->n_labels);
}
