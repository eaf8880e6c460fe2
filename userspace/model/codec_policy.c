/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A TrafficPolicy's "spec" to struct policy, by the table of policy_field.h. Before: codec.c read
 * kind and metadata. After: codec_policy_check.c looks for contradictions. Whether a fallback
 * service exists is not asked, whether one leads in a circle is the store's.
 */
#include "model/codec_policy.h"

#include <assert.h>
#include <errno.h>
#include <string.h>

/* A policy while it is read; the texts belong to the document but for the namespace. */
struct reading {
	struct codec *c;
	struct policy *p;
	uint64_t refused; /* 1 << enum policy_key */
	struct policy_fallback fallback[LIMIT_FALLBACK];
	char namespaces[LIMIT_FALLBACK][LIMIT_NAME + 1];
};

/* --- values ------------------------------------------------------------------------------- */

static int read_set(struct codec *c, const struct json_at *at, yyjson_val *json,
		    const char *const *words, uint64_t *ret)
{
	const struct codec_words known = {.words = words};
	uint64_t set = 0, which = 0;
	yyjson_val *item;
	size_t i, n;
	int r = 0;

	if (!yyjson_is_arr(json))
		return codec_refuse(c, at, "%s must be a list, not %s", at->key,
				    codec_type_name(json));
	yyjson_arr_foreach (json, i, n, item) {
		struct json_at here = codec_at_index(at, i);

		if (codec_read_word(c, &here, item, &known, &which) < 0)
			r = -EINVAL;
		else if (set & 1ull << which)
			r = codec_refuse(c, &here, "\"%s\" is given twice", words[which]);
		else
			set |= 1ull << which;
	}
	*ret = set;
	return r;
}

static int read_value(struct codec *c, const struct json_at *at, yyjson_val *json,
		      const struct policy_field *f, uint64_t *ret)
{
	struct codec_words words = {f->words, codec_policy_algorithm_elsewhere};
	struct codec_range range = {f->or_zero ? 0 : f->min, f->max};
	bool flag = false;
	int r;

	switch (f->type) {
	case POLICY_DURATION:
		return codec_read_duration(c, at, json, range, ret);
	case POLICY_PERCENT:
	case POLICY_PERCENTAGE:
		return codec_read_percent(c, at, json, range, ret);
	case POLICY_NUMBER:
		return codec_read_number(c, at, json, range, ret);
	case POLICY_SET:
		return read_set(c, at, json, f->words, ret);
	case POLICY_CHOICE:
		return codec_read_word(c, at, json, &words, ret);
	default:
		r = codec_read_bool(c, at, json, &flag);
		*ret = flag;
		return r;
	}
}

/* --- fallback ----------------------------------------------------------------------------- */

static bool is_service_name(const char *text, size_t n)
{
	if (!n || n > LIMIT_NAME || text[0] == '-' || text[n - 1] == '-')
		return false;
	for (size_t i = 0; i < n; i++)
		if (!(text[i] >= 'a' && text[i] <= 'z') && !(text[i] >= '0' && text[i] <= '9') &&
		    text[i] != '-')
			return false;
	return true;
}

/* "maintenance" of the policy's namespace, or "ops/maintenance". */
static int read_service(struct reading *d, const struct json_at *at, yyjson_val *json)
{
	struct policy_fallback *f = &d->fallback[d->p->n_fallback];
	char *namespace = d->namespaces[d->p->n_fallback];
	const char *text, *slash;

	if (codec_read_text(d->c, at, json, 2 * LIMIT_NAME + 1, &text) < 0)
		return -EINVAL;
	slash = strchr(text, '/');
	if (slash && is_service_name(text, (size_t)(slash - text)))
		(void)snprintf(namespace, LIMIT_NAME + 1, "%.*s", (int)(slash - text), text);
	*f = (struct policy_fallback){slash ? namespace : d->p->namespace,
				      (char *)(slash ? slash + 1 : text)};
	if ((slash && !is_service_name(text, (size_t)(slash - text))) ||
	    !is_service_name(f->name, strlen(f->name)))
		return codec_refuse(d->c, at,
				    "fallback \"%.64s\" must be the name of a service, or "
				    "namespace/name",
				    text);
	for (size_t i = 0; i < d->p->n_fallback; i++)
		if (!strcmp(f->name, d->fallback[i].name) &&
		    !strcmp(f->namespace, d->fallback[i].namespace))
			return codec_refuse(d->c, at,
					    "fallback %s/%s is in the list already (number %zu)",
					    f->namespace, f->name, i + 1);
	d->p->n_fallback++;
	return 0;
}

static int read_fallback(struct reading *d, const struct json_at *at, yyjson_val *json)
{
	yyjson_val *item;
	size_t i, n;
	int r = 0;

	if (!yyjson_is_arr(json))
		return codec_refuse(d->c, at, "fallback must be a list of services, not %s",
				    codec_type_name(json));
	if (yyjson_arr_size(json) > LIMIT_FALLBACK)
		return codec_refuse(d->c, at, "%zu services in fallback; at most %d are allowed",
				    yyjson_arr_size(json), LIMIT_FALLBACK);
	d->p->fallback = d->fallback;
	yyjson_arr_foreach (json, i, n, item) {
		struct json_at here = codec_at_index(at, i);

		if (read_service(d, &here, item) < 0)
			r = -EINVAL;
	}
	return r;
}

/* --- keys --------------------------------------------------------------------------------- */

static int read_key(struct reading *d, const struct json_at *up, yyjson_val *json,
		    enum policy_key key)
{
	const struct policy_field *f = policy_field(key);
	struct json_at at = codec_at_key(up, f->name);
	uint64_t value = 0;
	int r;

	if (f->type == POLICY_SERVICES)
		r = read_fallback(d, &at, json);
	else
		r = read_value(d->c, &at, json, f, &value);
	if (r >= 0 && f->or_zero && value && value < f->min)
		r = codec_refuse(d->c, &at, "%s %llums is out of range (%llums or more; 0 is off)",
				 f->name, (unsigned long long)value, (unsigned long long)f->min);
	if (r < 0) {
		d->refused |= 1ull << key;
		return r;
	}
	if (f->type != POLICY_SERVICES)
		policy_field_set(d->p, key, value);
	d->p->given |= 1ull << key;
	return 0;
}

static int read_keys(struct reading *d, const struct json_at *at, yyjson_val *json,
		     enum policy_group group, yyjson_val **values);

/* A mapping's own keys are told from the mappings in it by their names alone. */
static int read_group(struct reading *d, const struct json_at *up, yyjson_val *json,
		      enum policy_group group)
{
	struct json_at at = codec_at_key(up, policy_field_group(group)->name);
	yyjson_val *values[CODEC_KEYS_MAX];

	return read_keys(d, &at, json, group, values);
}

/* "TrafficPolicy.spec.outlierDetection": the longest has three parts. */
static void name_group(enum policy_group group, char *buf, size_t size)
{
	const struct policy_group_row *row = policy_field_group(group);
	const struct policy_group_row *up = policy_field_group(row->up);

	if (group == POLICY_IN_SPEC)
		(void)snprintf(buf, size, "TrafficPolicy.spec");
	else if (row->up == POLICY_IN_SPEC)
		(void)snprintf(buf, size, "TrafficPolicy.spec.%s", row->name);
	else
		(void)snprintf(buf, size, "TrafficPolicy.spec.%s.%s", up->name, row->name);
}

/* The keys of a mapping: first the mappings in it, then the rest, in the order of the tables. */
static void list_keys(enum policy_group group, struct codec_shape *ret)
{
	for (enum policy_group g = POLICY_IN_SPEC + 1; g < POLICY_GROUPS; g++)
		if (policy_field_group(g)->up == group)
			ret->keys[ret->n++] = policy_field_group(g)->name;
	for (enum policy_key key = 0; key < POLICY_KEYS; key++)
		if (policy_field(key)->group == group)
			ret->keys[ret->n++] = policy_field(key)->name;
	assert(ret->n <= CODEC_KEYS_MAX);
}

static int read_keys(struct reading *d, const struct json_at *at, yyjson_val *json,
		     enum policy_group group, yyjson_val **values)
{
	char name[96];
	struct codec_shape shape = {.name = name, .elsewhere = codec_policy_elsewhere};
	size_t next = 0;
	int r;

	name_group(group, name, sizeof(name));
	list_keys(group, &shape);
	r = codec_read_members(d->c, at, json, &shape, values);
	for (enum policy_group g = POLICY_IN_SPEC + 1; g < POLICY_GROUPS; g++) {
		if (policy_field_group(g)->up != group)
			continue;
		if (values[next] && read_group(d, at, values[next], g) < 0)
			r = -EINVAL;
		next++;
	}
	for (enum policy_key key = 0; key < POLICY_KEYS; key++) {
		if (policy_field(key)->group != group)
			continue;
		if (values[next] && read_key(d, at, values[next], key) < 0)
			r = -EINVAL;
		next++;
	}
	return r;
}

int codec_policy_decode(struct codec *c, const struct json_at *at, yyjson_val *spec,
			struct codec_metadata *metadata, struct policy **ret)
{
	struct policy p = {.namespace = (char *)metadata->namespace,
			   .name = (char *)metadata->name,
			   .source = (char *)c->source,
			   .labels = metadata->labels.items,
			   .n_labels = metadata->labels.n};
	struct reading d = {.c = c, .p = &p};
	yyjson_val *values[CODEC_KEYS_MAX];
	int r;

	policy_defaults(&p);
	r = read_keys(&d, at, spec, POLICY_IN_SPEC, values);
	if (codec_policy_check(c, at, &p, d.refused) < 0)
		r = -EINVAL;
	if (r < 0 || !p.name)
		return -EINVAL;
	return policy_new(&p, ret);
}
