/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * See policy_field.h. Before: nothing. After: codec_policy*.c read and write by it. Says nothing of
 * defaults (policy.c) nor of contradictions between keys (codec_policy_check.c).
 */
#include "model/policy_field.h"

#include <assert.h>
#include <sinew/health.h>
#include <stddef.h>
#include <string.h>

#define SECOND 1000ull /* in the ms that durations are written in */
#define MINUTE (60 * SECOND)
#define HOUR (60 * MINUTE)
#define DAY (24 * HOUR)
#define NS_PER_MS 1000000u

static const char *const algorithms[] = {[SN_ALGORITHM_RANDOM] = "random",
					 [SN_ALGORITHM_P2C] = "p2c",
					 [SN_ALGORITHM_ROUND_ROBIN] = "roundRobin",
					 [SN_ALGORITHM_HASH] = "consistentHash",
					 NULL};
static const char *const callers[] = {[SN_AFFINITY_OFF] = "off",
				      [SN_AFFINITY_WORKLOAD] = "workload",
				      [SN_AFFINITY_ADDRESS] = "address",
				      NULL};
static const char *const places[] = {[POLICY_PREFER_NONE] = "none",
				     [POLICY_PREFER_ZONE] = "zone",
				     [POLICY_PREFER_NODE] = "node",
				     NULL};
/* The second of each sets its flag. */
static const char *const panics[] = {"all", "none", NULL};
static const char *const budgets[] = {"observe", "enforce", NULL};
static const char *const removals[] = {"drain", "terminate", NULL};
/* In the order of SN_POLICY_FAIL_*. */
static const char *const failures[] = {"refused", "unreachable", "timeout", NULL};

#define AT(member)                                                                                 \
	.offset = offsetof(struct policy, member), .bytes = sizeof(((struct policy *)0)->member)
#define RULE(member) AT(rules.member)
#define NS(member) RULE(member), .scale = NS_PER_MS
#define FLAG(bits) RULE(flags), .flags = (bits)

static const struct policy_field fields[POLICY_KEYS] = {
	[POLICY_ALGORITHM] = {POLICY_IN_BALANCER, "algorithm", POLICY_CHOICE, RULE(algorithm),
			      .words = algorithms},
	[POLICY_AFFINITY_BY] = {POLICY_IN_AFFINITY, "by", POLICY_CHOICE, RULE(affinity),
				.words = callers},
	[POLICY_AFFINITY_TIMEOUT] = {POLICY_IN_AFFINITY, "timeout", POLICY_DURATION,
				     NS(affinity_ns), .min = SECOND, .max = 30 * DAY},
	[POLICY_LOCALITY_PREFER] = {POLICY_IN_LOCALITY, "prefer", POLICY_CHOICE, AT(prefer),
				    .words = places},
	[POLICY_LOCALITY_SPILL] = {POLICY_IN_LOCALITY, "spill", POLICY_BOOL, AT(spill)},
	[POLICY_SLOW_START] = {POLICY_IN_BALANCER, "slowStart", POLICY_DURATION, NS(slow_start_ns),
			       .max = DAY},
	[POLICY_CONSECUTIVE] = {POLICY_IN_OUTLIER, "consecutiveFailures", POLICY_NUMBER,
				RULE(consecutive), .max = 1000000},
	/* Ten buckets, of which each is at least 1 ms. */
	[POLICY_WINDOW] = {POLICY_IN_OUTLIER, "window", POLICY_DURATION, RULE(bucket_ns),
			   .scale = NS_PER_MS / SN_WINDOW_BUCKETS, .min = SN_WINDOW_BUCKETS,
			   .max = HOUR},
	[POLICY_MIN_VOLUME] = {POLICY_IN_OUTLIER, "minVolume", POLICY_NUMBER, RULE(min_volume),
			       .min = 1, .max = 1000000},
	[POLICY_FAILURE_RATIO] = {POLICY_IN_OUTLIER, "failureRatio", POLICY_PERCENT,
				  RULE(failure_percent), .max = 100},
	[POLICY_SLOW_THRESHOLD] = {POLICY_IN_SLOW, "threshold", POLICY_DURATION, NS(slow_ns),
				   .max = HOUR},
	[POLICY_SLOW_RATIO] = {POLICY_IN_SLOW, "ratio", POLICY_PERCENT, RULE(slow_percent),
			       .min = 1, .max = 100},
	[POLICY_BASE_TIME] = {POLICY_IN_OUTLIER, "baseEjectionTime", POLICY_DURATION, NS(base_ns),
			      .min = 1, .max = DAY},
	[POLICY_MAX_TIME] = {POLICY_IN_OUTLIER, "maxEjectionTime", POLICY_DURATION, NS(max_ns),
			     .min = 1, .max = 30 * DAY},
	[POLICY_MAX_PERCENT] = {POLICY_IN_OUTLIER, "maxEjectionPercent", POLICY_PERCENTAGE,
				RULE(max_ejection_percent), .max = 100},
	[POLICY_ENFORCING] = {POLICY_IN_OUTLIER, "enforcing", POLICY_PERCENT,
			      RULE(enforcing_percent), .max = 100},
	[POLICY_SHADOW] = {POLICY_IN_OUTLIER, "shadow", POLICY_BOOL, FLAG(SN_POLICY_SHADOW)},
	[POLICY_PANIC_THRESHOLD] = {POLICY_IN_PANIC, "threshold", POLICY_PERCENT,
				    RULE(panic_percent), .max = 100},
	[POLICY_PANIC_MODE] = {POLICY_IN_PANIC, "mode", POLICY_CHOICE, FLAG(SN_POLICY_PANIC_NONE),
			       .words = panics},
	[POLICY_PROBES] = {POLICY_IN_HALF_OPEN, "probes", POLICY_NUMBER, RULE(probes), .max = 100},
	[POLICY_LIMIT_SERVICE] = {POLICY_IN_LIMITS, "service", POLICY_NUMBER, RULE(limit_service),
				  .max = 100000000},
	[POLICY_LIMIT_BACKEND] = {POLICY_IN_LIMITS, "backend", POLICY_NUMBER, RULE(limit_backend),
				  .max = 100000000},
	[POLICY_LIMIT_PENDING] = {POLICY_IN_LIMITS, "pending", POLICY_NUMBER, RULE(limit_pending),
				  .max = 100000000},
	[POLICY_BUDGET_RATIO] = {POLICY_IN_BUDGET, "ratio", POLICY_PERCENT, RULE(budget_percent),
				 .max = 100},
	[POLICY_BUDGET_MINIMUM] = {POLICY_IN_BUDGET, "minPerSecond", POLICY_NUMBER,
				   RULE(budget_per_second), .max = 100000},
	[POLICY_BUDGET_TTL] = {POLICY_IN_BUDGET, "ttl", POLICY_DURATION, NS(budget_ns),
			       .min = SECOND, .max = MINUTE},
	[POLICY_BUDGET_MODE] = {POLICY_IN_BUDGET, "mode", POLICY_CHOICE,
				FLAG(SN_POLICY_BUDGET_ENFORCE), .words = budgets},
	[POLICY_CONNECT_TIMEOUT] = {POLICY_IN_CONNECT, "timeout", POLICY_DURATION, NS(connect_ns),
				    .min = 10, .max = HOUR, .or_zero = true},
	[POLICY_ATTEMPT_TIMEOUT] = {POLICY_IN_CONNECT, "attemptTimeout", POLICY_DURATION,
				    NS(attempt_ns), .min = 10, .max = 2 * MINUTE, .or_zero = true},
	[POLICY_FAILOVER_ATTEMPTS] = {POLICY_IN_FAILOVER, "attempts", POLICY_NUMBER, RULE(attempts),
				      .max = SN_TRIES - 1},
	[POLICY_FAILOVER_ON] = {POLICY_IN_FAILOVER, "on", POLICY_SET,
				FLAG(SN_POLICY_FAIL_REFUSED | SN_POLICY_FAIL_UNREACHABLE |
				     SN_POLICY_FAIL_TIMEOUT),
				.words = failures},
	[POLICY_FALLBACK] = {POLICY_IN_SPEC, "fallback", POLICY_SERVICES},
	[POLICY_NEGATIVE_AFFINITY] = {POLICY_IN_SPEC, "negativeAffinity", POLICY_DURATION,
				      NS(negative_ns), .max = DAY},
	[POLICY_ON_REMOVE] = {POLICY_IN_SPEC, "onRemove", POLICY_CHOICE, FLAG(SN_POLICY_TERMINATE),
			      .words = removals},
};

static const struct policy_group_row groups[POLICY_GROUPS] = {
	[POLICY_IN_SPEC] = {"spec", POLICY_IN_SPEC},
	[POLICY_IN_BALANCER] = {"loadBalancer", POLICY_IN_SPEC},
	[POLICY_IN_AFFINITY] = {"affinity", POLICY_IN_BALANCER},
	[POLICY_IN_LOCALITY] = {"locality", POLICY_IN_BALANCER},
	[POLICY_IN_OUTLIER] = {"outlierDetection", POLICY_IN_SPEC},
	[POLICY_IN_SLOW] = {"slowConnect", POLICY_IN_OUTLIER},
	[POLICY_IN_PANIC] = {"panic", POLICY_IN_SPEC},
	[POLICY_IN_HALF_OPEN] = {"halfOpen", POLICY_IN_SPEC},
	[POLICY_IN_LIMITS] = {"connectionLimits", POLICY_IN_SPEC},
	[POLICY_IN_BUDGET] = {"retryBudget", POLICY_IN_SPEC},
	[POLICY_IN_CONNECT] = {"connect", POLICY_IN_SPEC},
	[POLICY_IN_FAILOVER] = {"failover", POLICY_IN_SPEC},
};

const struct policy_field *policy_field(enum policy_key key)
{
	assert(key < POLICY_KEYS);
	return &fields[key];
}

const struct policy_group_row *policy_field_group(enum policy_group group)
{
	assert(group < POLICY_GROUPS);
	return &groups[group];
}

static unsigned int shift_of(const struct policy_field *f)
{
	return f->flags ? (unsigned int)__builtin_ctz(f->flags) : 0;
}

static uint64_t load(const void *at, unsigned int bytes)
{
	uint8_t one;
	uint32_t four;
	uint64_t eight;

	switch (bytes) {
	case 1:
		memcpy(&one, at, sizeof(one));
		return one;
	case 4:
		memcpy(&four, at, sizeof(four));
		return four;
	default:
		memcpy(&eight, at, sizeof(eight));
		return eight;
	}
}

static void store(void *at, unsigned int bytes, uint64_t value)
{
	uint8_t one = (uint8_t)value;
	uint32_t four = (uint32_t)value;

	switch (bytes) {
	case 1:
		memcpy(at, &one, sizeof(one));
		break;
	case 4:
		memcpy(at, &four, sizeof(four));
		break;
	default:
		memcpy(at, &value, sizeof(value));
	}
}

uint64_t policy_field_get(const struct policy *p, enum policy_key key)
{
	const struct policy_field *f = policy_field(key);
	uint64_t kept;

	if (f->type == POLICY_SERVICES)
		return 0;
	kept = load((const char *)p + f->offset, f->bytes);
	if (f->flags)
		return (kept & f->flags) >> shift_of(f);
	return f->scale ? kept / f->scale : kept;
}

void policy_field_set(struct policy *draft, enum policy_key key, uint64_t value)
{
	const struct policy_field *f = policy_field(key);
	char *at = (char *)draft + f->offset;

	assert(f->type != POLICY_SERVICES);
	if (f->flags)
		value = (load(at, f->bytes) & ~(uint64_t)f->flags) | value << shift_of(f);
	store(at, f->bytes, value * (f->scale ? f->scale : 1));
}
