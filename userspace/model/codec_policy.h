/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The parts of a TrafficPolicy's codec among themselves. Only they include this.
 */
#pragma once

#include "model/codec_object.h"
#include "model/policy_field.h"

/* What is called otherwise in Istio, Envoy, Linkerd or resilience4j. NULL: not known. */
const char *codec_policy_elsewhere(const char *key);
const char *codec_policy_algorithm_elsewhere(const char *word);

/*
 * Contradictions between keys that are good by themselves, each refused where it was written; of
 * the keys in `refused` (1 << enum policy_key) nothing is said. 0 or -EINVAL.
 */
int codec_policy_check(struct codec *c, const struct json_at *spec, const struct policy *p,
		       uint64_t refused);
