/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A TrafficPolicy's keys to JSON, by the table of policy_field.h, in its order. Must be read back
 * by codec_policy.c as the same policy.
 */
#include <string.h>

#include "base/text.h"
#include "model/codec.h"
#include "model/policy_field.h"

/* yyjson's calls take NULL and answer NULL or false: what is missing shows in the last result. */
struct encoder {
	yyjson_mut_doc *doc;
	const struct policy *p;
	yyjson_mut_val *groups[POLICY_GROUPS]; /* NULL: nothing of it was written yet */
	bool failed;
};

static yyjson_mut_val *duration_value(yyjson_mut_doc *doc, uint64_t ms)
{
	char text[TEXT_DURATION];

	return yyjson_mut_strcpy(doc, ms ? text_format_duration(ms, text) : "0s");
}

static yyjson_mut_val *percent_value(yyjson_mut_doc *doc, uint64_t percent)
{
	char text[32];

	(void)snprintf(text, sizeof(text), "%llu%%", (unsigned long long)percent);
	return yyjson_mut_strcpy(doc, text);
}

static yyjson_mut_val *set_value(yyjson_mut_doc *doc, const char *const *words, uint64_t set)
{
	yyjson_mut_val *list = yyjson_mut_arr(doc);
	bool ok = true;

	for (size_t i = 0; words[i]; i++)
		if (set & 1ull << i)
			ok = yyjson_mut_arr_add_str(doc, list, words[i]) && ok;
	return ok ? list : NULL;
}

static yyjson_mut_val *services_value(yyjson_mut_doc *doc, const struct policy *p)
{
	yyjson_mut_val *list = yyjson_mut_arr(doc);
	struct text_buffer name = {};
	bool ok = true;

	for (size_t i = 0; i < p->n_fallback; i++) {
		name.n = 0;
		if (strcmp(p->fallback[i].namespace, p->namespace))
			text_append_format(&name, "%s/", p->fallback[i].namespace);
		text_append(&name, p->fallback[i].name);
		ok = !name.no_memory && yyjson_mut_arr_add_strcpy(doc, list, name.data) && ok;
	}
	text_done(&name);
	return ok ? list : NULL;
}

static yyjson_mut_val *value_of(struct encoder *e, enum policy_key key)
{
	const struct policy_field *f = policy_field(key);
	uint64_t value = policy_field_get(e->p, key);

	switch (f->type) {
	case POLICY_DURATION:
		return duration_value(e->doc, value);
	case POLICY_PERCENT:
		return percent_value(e->doc, value);
	case POLICY_BOOL:
		return yyjson_mut_bool(e->doc, value);
	case POLICY_CHOICE:
		return yyjson_mut_str(e->doc, f->words[value]);
	case POLICY_SET:
		return set_value(e->doc, f->words, value);
	case POLICY_SERVICES:
		return services_value(e->doc, e->p);
	default:
		return yyjson_mut_uint(e->doc, value);
	}
}

static yyjson_mut_val *add_group(struct encoder *e, enum policy_group group)
{
	const struct policy_group_row *row = policy_field_group(group);

	if (!e->groups[group])
		e->groups[group] = yyjson_mut_obj_add_obj(e->doc, e->groups[row->up], row->name);
	return e->groups[group];
}

static void add_key(struct encoder *e, enum policy_key key)
{
	const struct policy_field *f = policy_field(key);

	(void)add_group(e, policy_field_group(f->group)->up);
	if (!yyjson_mut_obj_add_val(e->doc, add_group(e, f->group), f->name, value_of(e, key)))
		e->failed = true;
}

yyjson_mut_val *codec_encode_policy_spec(yyjson_mut_doc *doc, const struct policy *p, uint64_t keys)
{
	struct encoder e = {.doc = doc, .p = p};

	e.groups[POLICY_IN_SPEC] = yyjson_mut_obj(doc);
	for (enum policy_key key = 0; key < POLICY_KEYS; key++)
		if (keys >> key & 1)
			add_key(&e, key);
	return e.failed ? NULL : e.groups[POLICY_IN_SPEC];
}
