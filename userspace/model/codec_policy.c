/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A TrafficPolicy's "spec" to struct policy and back. Before: codec.c read kind and metadata. Keys
 * follow Istio's DestinationRule and Envoy, whose users know them.
 */
#include <errno.h>
#include <string.h>

#include "base/cleanup.h"
#include "model/codec_object.h"

struct algorithm {
	const char *name;
	uint32_t value;
};

static const struct algorithm algorithms[] = {{"random", SN_ALGORITHM_RANDOM}};

/* Names that people know from elsewhere: not a typing error, so there is nothing to suggest. */
static const char *const foreign[] = {
	"p2c",         "roundRobin",   "leastRequest", "leastConnection", "consistentHash",
	"ringHash",    "maglev",       "passthrough",  "ROUND_ROBIN",     "LEAST_REQUEST",
	"LEAST_CONN",  "RING_HASH",    "MAGLEV",       "PASSTHROUGH",     "CLUSTER_PROVIDED",
	"round_robin", "least_request"};

static int read_algorithm(struct codec *c, const struct json_at *up, yyjson_val *json,
			  uint32_t *ret)
{
	struct json_at at = codec_at_key(up, "algorithm");
	const char *text, *known[ARRAY_SIZE(algorithms)], *meant;

	if (codec_read_text(c, &at, json, LIMIT_NAME, &text) < 0)
		return -EINVAL;
	for (size_t i = 0; i < ARRAY_SIZE(algorithms); i++) {
		known[i] = algorithms[i].name;
		if (!strcmp(text, known[i])) {
			*ret = algorithms[i].value;
			return 0;
		}
	}
	for (size_t i = 0; i < ARRAY_SIZE(foreign); i++)
		if (!strcmp(text, foreign[i]))
			return codec_refuse(
				c, &at,
				"algorithm \"%s\" is not available in this version; use random",
				text);
	meant = text_suggest(text, known, ARRAY_SIZE(known));
	if (meant)
		return codec_refuse(c, &at, "algorithm \"%s\" is not known; did you mean \"%s\"?",
				    text, meant);
	return codec_refuse(c, &at, "algorithm \"%s\" is not known; use random", text);
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
			   .n_labels = metadata->n_labels,
			   .rules.algorithm = SN_ALGORITHM_RANDOM};
	yyjson_val *values[CODEC_KEYS_MAX];
	int r = codec_read_members(c, at, spec, &shape, values);

	if (values[0] && read_balancer(c, at, values[0], &p) < 0)
		r = -EINVAL;
	if (r < 0 || !p.name)
		return -EINVAL;
	return policy_new(&p, ret);
}
