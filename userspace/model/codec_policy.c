/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A TrafficPolicy's "spec" to struct policy and back. Before: codec.c read kind and metadata. Keys
 * follow Istio's DestinationRule and Envoy, whose users know them.
 */
#include <errno.h>
#include <string.h>

#include "base/cleanup.h"
#include "model/codec_object.h"

#define ALGORITHMS (SN_ALGORITHM_HASH + 1)

/* Names that people know from elsewhere, and what they are called here. */
static const char *const foreign[][2] = {
	{"leastRequest", "p2c"},         {"leastConnection", "p2c"},
	{"LEAST_REQUEST", "p2c"},        {"LEAST_CONN", "p2c"},
	{"least_request", "p2c"},        {"ROUND_ROBIN", "roundRobin"},
	{"round_robin", "roundRobin"},   {"ringHash", "consistentHash"},
	{"RING_HASH", "consistentHash"}, {"maglev", "consistentHash"},
	{"MAGLEV", "consistentHash"},
};

static int read_algorithm(struct codec *c, const struct json_at *up, yyjson_val *json,
			  uint32_t *ret)
{
	struct json_at at = codec_at_key(up, "algorithm");
	const char *text, *known[ALGORITHMS], *meant;

	if (codec_read_text(c, &at, json, LIMIT_NAME, &text) < 0)
		return -EINVAL;
	for (uint32_t i = 0; i < ALGORITHMS; i++) {
		known[i] = policy_algorithm_name((uint8_t)i);
		if (!strcmp(text, known[i])) {
			*ret = i;
			return 0;
		}
	}
	meant = text_suggest(text, known, ALGORITHMS);
	for (size_t i = 0; i < ARRAY_SIZE(foreign); i++)
		if (!strcmp(text, foreign[i][0]))
			meant = foreign[i][1];
	if (meant)
		return codec_refuse(c, &at, "algorithm \"%s\" is not known; did you mean \"%s\"?",
				    text, meant);
	return codec_refuse(
		c, &at,
		"algorithm \"%s\" is not known; use p2c, random, roundRobin or consistentHash",
		text);
}

static int read_balancer(struct codec *c, const struct json_at *up, yyjson_val *json,
			 struct policy *p)
{
	static const struct codec_shape shape = {
		"TrafficPolicy.spec.loadBalancer", {"algorithm"}, 1};
	struct json_at at = codec_at_key(up, "loadBalancer");
	yyjson_val *values[CODEC_KEYS_MAX];
	int r = codec_read_members(c, &at, json, &shape, values);
	uint32_t algorithm = p->rules.algorithm;

	if (values[0] && read_algorithm(c, &at, values[0], &algorithm) < 0)
		r = -EINVAL;
	p->rules.algorithm = (uint8_t)algorithm;
	p->given |= (uint64_t) !!values[0] << POLICY_ALGORITHM;
	return r;
}

int codec_policy_decode(struct codec *c, const struct json_at *at, yyjson_val *spec,
			struct codec_metadata *metadata, struct policy **ret)
{
	static const struct codec_shape shape = {"TrafficPolicy.spec", {"loadBalancer"}, 1};
	struct policy p = {.namespace = (char *)metadata->namespace,
			   .name = (char *)metadata->name,
			   .source = (char *)c->source,
			   .labels = metadata->labels,
			   .n_labels = metadata->n_labels};
	yyjson_val *values[CODEC_KEYS_MAX];
	int r = codec_read_members(c, at, spec, &shape, values);

	policy_defaults(&p);
	if (values[0] && read_balancer(c, at, values[0], &p) < 0)
		r = -EINVAL;
	if (r < 0 || !p.name)
		return -EINVAL;
	return policy_new(&p, ret);
}
