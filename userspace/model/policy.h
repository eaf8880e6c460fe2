/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The noun TrafficPolicy: how the connections of the services that name it are spread, judged and
 * limited, as a person declared it. Immutable once built and reference-counted, as services are.
 */
#pragma once

#include <sinew/policy.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/cleanup.h"
#include "model/label.h"

/* The keys of a "spec", in the order in which they are written. */
enum policy_key {
	POLICY_ALGORITHM, /* loadBalancer */
	POLICY_AFFINITY_BY,
	POLICY_AFFINITY_TIMEOUT,
	POLICY_LOCALITY_PREFER,
	POLICY_LOCALITY_SPILL,
	POLICY_SLOW_START,
	POLICY_CONSECUTIVE, /* outlierDetection */
	POLICY_WINDOW,
	POLICY_MIN_VOLUME,
	POLICY_FAILURE_RATIO,
	POLICY_SLOW_THRESHOLD,
	POLICY_SLOW_RATIO,
	POLICY_BASE_TIME,
	POLICY_MAX_TIME,
	POLICY_MAX_PERCENT,
	POLICY_ENFORCING,
	POLICY_SHADOW,
	POLICY_PANIC_THRESHOLD,
	POLICY_PANIC_MODE,
	POLICY_PROBES, /* halfOpen */
	POLICY_LIMIT_SERVICE,
	POLICY_LIMIT_BACKEND,
	POLICY_LIMIT_PENDING,
	POLICY_BUDGET_RATIO,
	POLICY_BUDGET_MINIMUM,
	POLICY_BUDGET_TTL,
	POLICY_BUDGET_MODE,
	POLICY_CONNECT_TIMEOUT,
	POLICY_ATTEMPT_TIMEOUT,
	POLICY_FAILOVER_ATTEMPTS,
	POLICY_FAILOVER_ON,
	POLICY_FALLBACK,
	POLICY_NEGATIVE_AFFINITY,
	POLICY_ON_REMOVE,
	POLICY_KEYS,
};

enum policy_prefer { POLICY_PREFER_NONE, POLICY_PREFER_ZONE, POLICY_PREFER_NODE };

/* Of enum sn_algorithm, as it is written: "p2c". "unknown" for another number. */
const char *policy_algorithm_name(uint8_t algorithm);

/* A service whose backends are the last to be tried. */
struct policy_fallback {
	char *namespace, *name;
};

struct policy {
	unsigned int refs;
	enum policy_prefer prefer;
	uint64_t etag;
	uint64_t given; /* 1 << enum policy_key: what was written; the rest are defaults */
	char *namespace;
	char *name;
	char *source;
	struct sn_policy rules; /* as the kernel will read them, defaults filled in */
	struct label *labels;
	size_t n_labels;
	struct policy_fallback *fallback; /* in the order in which they are tried */
	size_t n_fallback;
	bool spill; /* may leave the preferred zone or node */
};

/*
 * What a service gets whose namespace has no TrafficPolicy "default" and which names none. Each
 * key's default is here and nowhere else.
 */
const struct sn_policy *policy_default_rules(void);
/* Every key of the draft to its default, none given; names, labels and source are left alone. */
void policy_defaults(struct policy *draft);

static inline bool policy_has(const struct policy *p, enum policy_key key)
{
	return p->given >> key & 1;
}

/*
 * A copy of what `draft` describes, in one block of memory, with one reference and its etag; the
 * draft (refs and etag unused) may point anywhere and stays the caller's. Labels must be sorted by
 * key. -ENOMEM.
 */
int policy_new(const struct policy *draft, struct policy **ret);
/* Whether they say the same, sources aside. A default that is written counts as said. */
bool policy_is_equal(const struct policy *a, const struct policy *b);

struct policy *policy_ref(struct policy *p);
struct policy *policy_unref(struct policy *p); /* returns NULL */
DEFINE_CLEANUP(struct policy *, policy_unref);
