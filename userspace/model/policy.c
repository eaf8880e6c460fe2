/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * See policy.h. Before: the codec describes a policy in a draft. After: store, kernel and views
 * share it by reference. Never changes a policy that was handed out, and reads no text.
 */
#include "model/policy.h"

#include <assert.h>
#include <errno.h>
#include <sinew/health.h>
#include <stdlib.h>
#include <string.h>

#include "model/policy_field.h"

#define MS 1000000ull
#define SECOND (1000 * MS)
#define HOUR (3600 * SECOND)

/* --- defaults ----------------------------------------------------------------------------- */

/* After Envoy's outlier detection (consecutive, base, max, percent), resilience4j (ratio), Linkerd
 * (retry budget) and HAProxy's redispatch (attempts), which have seen the most traffic. */
static const struct sn_policy defaults = {
	.algorithm = SN_ALGORITHM_P2C,
	.affinity = SN_AFFINITY_OFF,
	.affinity_ns = 3 * HOUR,
	.consecutive = 5,
	.bucket_ns = 10 * SECOND / SN_WINDOW_BUCKETS,
	.min_volume = 20,
	.failure_percent = 50,
	.slow_percent = 50,
	.base_ns = 30 * SECOND,
	.max_ns = 300 * SECOND,
	.max_ejection_percent = 10,
	.enforcing_percent = 100,
	.panic_percent = 50,
	.probes = 1,
	.budget_percent = 20,
	.budget_per_second = 10,
	.budget_ns = 10 * SECOND,
	.attempts = 2,
	.negative_ns = 10 * SECOND,
	.flags = SN_POLICY_FAIL_REFUSED | SN_POLICY_FAIL_UNREACHABLE,
};

const struct sn_policy *policy_default_rules(void)
{
	return &defaults;
}

void policy_defaults(struct policy *draft)
{
	draft->rules = defaults;
	draft->prefer = POLICY_PREFER_NONE;
	draft->spill = true;
	draft->fallback = NULL;
	draft->n_fallback = 0;
	draft->given = 0;
}

const char *policy_algorithm_name(uint8_t algorithm)
{
	return algorithm <= SN_ALGORITHM_HASH ? policy_field(POLICY_ALGORITHM)->words[algorithm]
					      : "unknown";
}

/* --- one block ---------------------------------------------------------------------------- */

static size_t policy_bytes(const struct policy *p)
{
	size_t bytes = sizeof(*p) + label_bytes(p->labels, p->n_labels) +
		       p->n_fallback * sizeof(*p->fallback);

	for (size_t i = 0; i < p->n_fallback; i++)
		bytes += block_text_bytes(p->fallback[i].namespace) +
			 block_text_bytes(p->fallback[i].name);
	return bytes + block_text_bytes(p->namespace) + block_text_bytes(p->name) +
	       block_text_bytes(p->source);
}

static void policy_fill(struct policy *p, struct block *b)
{
	p->labels = block_take(b, p->labels, p->n_labels * sizeof(*p->labels));
	p->fallback = block_take(b, p->fallback, p->n_fallback * sizeof(*p->fallback));
	label_take_text(b, p->labels, p->n_labels);
	for (size_t i = 0; i < p->n_fallback; i++) {
		p->fallback[i].namespace = block_take_text(b, p->fallback[i].namespace);
		p->fallback[i].name = block_take_text(b, p->fallback[i].name);
	}
	p->namespace = block_take_text(b, p->namespace);
	p->name = block_take_text(b, p->name);
	p->source = block_take_text(b, p->source);
}

/* Of everything that the canonical JSON is made from: equal text, equal tag. */
static uint64_t policy_hash(const struct policy *p)
{
	uint64_t hash = block_hash_text(block_hash_text(2, p->namespace), p->name);

	hash = label_hash(hash, p->labels, p->n_labels);
	hash = text_hash(&p->rules, sizeof(p->rules), hash);
	hash = block_hash_number(hash, p->given);
	hash = block_hash_number(hash, (uint64_t)p->prefer << 1 | p->spill);
	hash = block_hash_number(hash, p->n_fallback);
	for (size_t i = 0; i < p->n_fallback; i++)
		hash = block_hash_text(block_hash_text(hash, p->fallback[i].namespace),
				       p->fallback[i].name);
	return hash ? hash : 1;
}

/* --- objects ------------------------------------------------------------------------------ */

int policy_new(const struct policy *draft, struct policy **ret)
{
	size_t bytes = policy_bytes(draft);
	struct policy *p = malloc(bytes);
	struct block b = {(char *)p + sizeof(*p)};

	if (!p)
		return -ENOMEM;
	*p = *draft;
	policy_fill(p, &b);
	assert(b.next == (char *)p + bytes);
	p->refs = 1;
	p->etag = policy_hash(p);
	*ret = p;
	return 0;
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

static bool fallback_is_equal(const struct policy *a, const struct policy *b)
{
	if (a->n_fallback != b->n_fallback)
		return false;
	for (size_t i = 0; i < a->n_fallback; i++)
		if (strcmp(a->fallback[i].namespace, b->fallback[i].namespace) ||
		    strcmp(a->fallback[i].name, b->fallback[i].name))
			return false;
	return true;
}

bool policy_is_equal(const struct policy *a, const struct policy *b)
{
	return a->etag == b->etag && !memcmp(&a->rules, &b->rules, sizeof(a->rules)) &&
	       a->given == b->given && a->prefer == b->prefer && a->spill == b->spill &&
	       a->n_labels == b->n_labels && !strcmp(a->name, b->name) &&
	       !strcmp(a->namespace, b->namespace) && fallback_is_equal(a, b) &&
	       label_is_equal(a->labels, b->labels, a->n_labels);
}
