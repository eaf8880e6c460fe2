/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What people who come from Istio, Envoy, Linkerd or resilience4j would write, and what it is
 * called here. Before: codec_policy.c met a word that it does not know. Only for messages: no
 * foreign word is ever accepted, because its value may mean something else.
 */
#include <string.h>

#include "base/cleanup.h"
#include "model/codec_policy.h"

struct word {
	const char *theirs, *ours;
};

static const struct word keys[] = {
	/* Istio: DestinationRule */
	{"trafficPolicy", "TrafficPolicy.spec itself"},
	{"connectionPool", "connectionLimits, and connect"},
	{"connectTimeout", "connect.timeout"},
	{"maxConnections", "connectionLimits.service or .backend"},
	{"http1MaxPendingRequests", "connectionLimits.pending"},
	{"simple", "loadBalancer.algorithm"},
	{"consistentHash", "loadBalancer.algorithm: consistentHash"},
	{"localityLbSetting", "loadBalancer.locality"},
	{"warmupDurationSecs", "loadBalancer.slowStart"},
	{"warmup", "loadBalancer.slowStart"},
	{"consecutiveErrors", "outlierDetection.consecutiveFailures"},
	{"consecutive5xxErrors", "outlierDetection.consecutiveFailures"},
	{"consecutiveGatewayErrors", "outlierDetection.consecutiveFailures"},
	{"consecutiveLocalOriginFailures", "outlierDetection.consecutiveFailures"},
	{"interval", "outlierDetection.window"},
	{"minHealthPercent", "panic.threshold"},
	/* Envoy: Cluster */
	{"lb_policy", "loadBalancer.algorithm"},
	{"outlier_detection", "outlierDetection"},
	{"consecutive_5xx", "outlierDetection.consecutiveFailures"},
	{"consecutive_gateway_failure", "outlierDetection.consecutiveFailures"},
	{"consecutive_local_origin_failure", "outlierDetection.consecutiveFailures"},
	{"failure_percentage_threshold", "outlierDetection.failureRatio"},
	{"failure_percentage_request_volume", "outlierDetection.minVolume"},
	{"success_rate_request_volume", "outlierDetection.minVolume"},
	{"enforcing_consecutive_5xx", "outlierDetection.enforcing"},
	{"enforcing_failure_percentage", "outlierDetection.enforcing"},
	{"healthy_panic_threshold", "panic.threshold"},
	{"circuit_breakers", "connectionLimits"},
	{"max_connections", "connectionLimits.service or .backend"},
	{"max_pending_requests", "connectionLimits.pending"},
	{"max_retries", "failover.attempts, and retryBudget"},
	{"budget_percent", "retryBudget.ratio"},
	{"min_retry_concurrency", "retryBudget.minPerSecond"},
	{"slow_start_window", "loadBalancer.slowStart"},
	{"connect_timeout", "connect.timeout"},
	/* Linkerd */
	{"retryRatio", "retryBudget.ratio"},
	{"minRetriesPerSecond", "retryBudget.minPerSecond"},
	/* resilience4j */
	{"failureRateThreshold", "outlierDetection.failureRatio"},
	{"slowCallRateThreshold", "outlierDetection.slowConnect.ratio"},
	{"slowCallDurationThreshold", "outlierDetection.slowConnect.threshold"},
	{"slidingWindowSize", "outlierDetection.window"},
	{"minimumNumberOfCalls", "outlierDetection.minVolume"},
	{"waitDurationInOpenState", "outlierDetection.baseEjectionTime"},
	{"permittedNumberOfCallsInHalfOpenState", "halfOpen.probes"},
	/* Kubernetes: Service */
	{"sessionAffinity", "loadBalancer.affinity"},
	{"topologyKeys", "loadBalancer.locality"},
};

static const struct word algorithms[] = {
	{"LEAST_REQUEST", "p2c"},        {"LEAST_CONN", "p2c"},
	{"least_request", "p2c"},        {"leastRequest", "p2c"},
	{"leastConnection", "p2c"},      {"ewma", "p2c"},
	{"ringHash", "consistentHash"},  {"RING_HASH", "consistentHash"},
	{"ring_hash", "consistentHash"}, {"maglev", "consistentHash"},
	{"MAGLEV", "consistentHash"},
};

static const char *find(const struct word *words, size_t n, const char *word)
{
	for (size_t i = 0; i < n; i++)
		if (!strcmp(words[i].theirs, word))
			return words[i].ours;
	return NULL;
}

const char *codec_policy_elsewhere(const char *key)
{
	return find(keys, ARRAY_SIZE(keys), key);
}

const char *codec_policy_algorithm_elsewhere(const char *word)
{
	return find(algorithms, ARRAY_SIZE(algorithms), word);
}
