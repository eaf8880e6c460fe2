/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * See consul_service.h. Before: consul_decode.c. After: draft.h, then consul.c says it. It must
 * come to the same service for the same instances in any order.
 */
#include "registry/consul_service.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "model/limits.h"

#define WEIGHT_ONE 100

/* --- what all have in common ------------------------------------------------------------------ */

/* Labels of more instances than a service may have are not worth the time. */
static size_t compared(const struct consul_health *h)
{
	return h->n < LIMIT_ENDPOINTS ? h->n : LIMIT_ENDPOINTS;
}

static bool has_tag(yyjson_val *tags, const char *tag)
{
	size_t i, n;
	yyjson_val *v;

	if (!tags)
		return false;
	yyjson_arr_foreach (tags, i, n, v) {
		if (i == LIMIT_LABELS)
			return false;
		if (yyjson_equals_str(v, tag))
			return true;
	}
	return false;
}

static bool all_have_tag(const struct consul_health *h, const char *tag)
{
	for (size_t i = 1; i < compared(h); i++)
		if (!has_tag(h->instances[i].tags, tag))
			return false;
	return true;
}

static bool all_have_meta(const struct consul_health *h, const char *key, const char *value)
{
	for (size_t i = 1; i < compared(h); i++)
		if (!yyjson_equals_str(yyjson_obj_get(h->instances[i].meta, key), value))
			return false;
	return true;
}

static int add_tag(struct draft_service *d, const char *tag)
{
	const char *equals = strchr(tag, '=');
	_cleanup_free_ char *key = NULL;

	if (!equals)
		return draft_add_label(d, tag, "");
	key = strndup(tag, (size_t)(equals - tag));
	return key ? draft_add_label(d, key, equals + 1) : -ENOMEM;
}

static int add_tags(struct draft_service *d, const struct consul_health *h)
{
	yyjson_val *tags = h->instances[0].tags, *v;
	size_t i, n;
	int r = 0;

	if (!tags)
		return 0;
	yyjson_arr_foreach (tags, i, n, v) {
		const char *tag = yyjson_get_str(v);

		if (i == LIMIT_LABELS || r < 0)
			break;
		if (tag && strlen(tag) == yyjson_get_len(v) && all_have_tag(h, tag))
			r = add_tag(d, tag);
	}
	return r;
}

/* Meta first: of a key that both have, what is said first stays. */
static int add_meta(struct draft_service *d, const struct consul_health *h)
{
	yyjson_val *meta = h->instances[0].meta, *key, *v;
	size_t i, n;
	int r = 0;

	if (!meta)
		return 0;
	yyjson_obj_foreach (meta, i, n, key, v) {
		const char *name = yyjson_get_str(key), *value = yyjson_get_str(v);

		if (i == LIMIT_LABELS || r < 0)
			break;
		if (!value || strlen(value) != yyjson_get_len(v) || !all_have_meta(h, name, value))
			continue;
		if (!strcmp(name, CONSUL_POLICY_KEY))
			draft_set_policy(d, value);
		else
			r = draft_add_label(d, name, value);
	}
	return r;
}

/* --- endpoints -------------------------------------------------------------------------------- */

static unsigned int scale_of(const struct consul_health *h)
{
	for (size_t i = 0; i < h->n; i++)
		if (h->instances[i].weight > LIMIT_WEIGHT / WEIGHT_ONE)
			return 1;
	return WEIGHT_ONE;
}

static int add_endpoint(struct draft_service *d, const struct consul_naming *naming,
			const struct consul_instance *i, unsigned int scale)
{
	char id[2 * LIMIT_INSTANCE_ID + 2];
	struct draft_endpoint e = {
		.addr = i->addr,
		.ports = &i->port,
		.weight = (uint16_t)(i->weight * scale),
		.zone = *i->zone ? i->zone : naming->zone,
		.node = i->node,
		.instance = id,
	};

	(void)snprintf(id, sizeof(id), "%s/%s", i->node, i->id);
	return draft_add_endpoint(d, &e);
}

/* Returns how many have no address that can be used; -ENOMEM. */
static int add_endpoints(struct draft_service *d, const struct consul_naming *naming,
			 const struct consul_health *h)
{
	unsigned int scale = scale_of(h);
	int names = 0;

	for (size_t i = 0; i < h->n; i++) {
		const struct consul_instance *instance = &h->instances[i];
		int r = 0;

		if (instance->state == CONSUL_CRITICAL)
			continue;
		if (instance->has_address)
			r = add_endpoint(d, naming, instance, scale);
		else
			names++;
		if (r == -ENOMEM)
			return r;
	}
	return names;
}

int consul_service_make(struct draft_service *d, const struct consul_naming *naming,
			const struct consul_health *health, struct service **ret,
			size_t *ret_left_out)
{
	int r = draft_init(d, naming->namespace, naming->name, naming->tag), names;

	if (r < 0)
		return r;
	if (!health->n) {
		*ret = NULL;
		*ret_left_out = health->skipped;
		return 0;
	}
	r = draft_add_port(d, NULL, SN_PORT_ANY, SN_PROTO_TCP);
	assert(r >= 0);
	if (add_meta(d, health) < 0 || add_tags(d, health) < 0)
		return -ENOMEM;
	names = add_endpoints(d, naming, health);
	if (names < 0)
		return names;
	r = draft_finish(d, ret);
	if (r >= 0)
		*ret_left_out = health->skipped + (size_t)names + draft_left_out(d);
	return r;
}
