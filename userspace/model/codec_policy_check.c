/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Keys of a TrafficPolicy that contradict each other. Before: codec_policy.c read each by itself.
 * What a default would contradict counts too: a person sees the value that it would have had.
 */
#include <errno.h>

#include "base/text.h"
#include "model/codec_policy.h"

struct check {
	struct codec *c;
	const struct json_at *spec;
	const struct policy *p;
	uint64_t refused;
	int r;
};

/* The place of a key that was written: a group in a group at most. */
struct place {
	struct json_at up[2], at;
};

static const struct json_at *locate(const struct check *k, enum policy_key key, struct place *ret)
{
	const struct policy_field *f = policy_field(key);
	const struct policy_group_row *row = policy_field_group(f->group);
	const struct json_at *up = k->spec;

	if (f->group != POLICY_IN_SPEC && row->up != POLICY_IN_SPEC) {
		ret->up[0] = codec_at_key(up, policy_field_group(row->up)->name);
		up = &ret->up[0];
	}
	if (f->group != POLICY_IN_SPEC) {
		ret->up[1] = codec_at_key(up, row->name);
		up = &ret->up[1];
	}
	ret->at = codec_at_key(up, f->name);
	return &ret->at;
}

static bool is_refused(const struct check *k, enum policy_key a, enum policy_key b)
{
	return (k->refused >> a | k->refused >> b) & 1;
}

/* Two durations in the wrong order: told at the one that was written, the larger one first. */
static void check_order(struct check *k, enum policy_key small, enum policy_key large)
{
	uint64_t a = policy_field_get(k->p, small), b = policy_field_get(k->p, large);
	char text_a[TEXT_DURATION], text_b[TEXT_DURATION];
	struct place place;

	if (a <= b || !b || is_refused(k, small, large))
		return;
	if (policy_has(k->p, large))
		k->r = codec_refuse(k->c, locate(k, large, &place), "%s %s is less than %s %s%s",
				    policy_field(large)->name, text_format_duration(b, text_b),
				    policy_field(small)->name, text_format_duration(a, text_a),
				    policy_has(k->p, small) ? "" : ", its default");
	else
		k->r = codec_refuse(k->c, locate(k, small, &place),
				    "%s %s is more than %s %s, its default",
				    policy_field(small)->name, text_format_duration(a, text_a),
				    policy_field(large)->name, text_format_duration(b, text_b));
}

/* A detail of something that is off. */
static void check_use(struct check *k, enum policy_key detail, enum policy_key main)
{
	const struct policy_field *f = policy_field(detail);
	const char *group = policy_field_group(f->group)->name;
	struct place place;

	if (!policy_has(k->p, detail) || policy_field_get(k->p, main) ||
	    is_refused(k, detail, main))
		return;
	k->r = codec_refuse(k->c, locate(k, detail, &place),
			    "%s.%s says nothing without %s.%s, which is %s", group, f->name, group,
			    policy_field(main)->name,
			    policy_has(k->p, main) ? "off" : "off by default");
}

int codec_policy_check(struct codec *c, const struct json_at *spec, const struct policy *p,
		       uint64_t refused)
{
	struct check k = {.c = c, .spec = spec, .p = p, .refused = refused};

	check_order(&k, POLICY_BASE_TIME, POLICY_MAX_TIME);
	check_order(&k, POLICY_ATTEMPT_TIMEOUT, POLICY_CONNECT_TIMEOUT);
	check_use(&k, POLICY_AFFINITY_TIMEOUT, POLICY_AFFINITY_BY);
	check_use(&k, POLICY_LOCALITY_SPILL, POLICY_LOCALITY_PREFER);
	check_use(&k, POLICY_SLOW_RATIO, POLICY_SLOW_THRESHOLD);
	return k.r;
}
