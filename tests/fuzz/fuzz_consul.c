/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Bytes as an answer of a Consul server: as a catalog, as the instances of a service, as keys. What
 * comes out is within its bounds, sorted and unique, and instances make a service or none.
 */
#include <errno.h>

#include "fuzz/require.h"
#include "model/limits.h"
#include "registry/consul_service.h"

static void check_catalog(const char *text, size_t size)
{
	struct consul_catalog c;
	char error[JSON_ERROR] = "";
	int r = consul_decode_catalog(text, size, &c, error);

	REQUIRE(r == 0 || (r == -EBADMSG && *error));
	if (r < 0)
		return;
	for (size_t i = 0; i < c.n; i++) {
		REQUIRE(*c.names[i] && strlen(c.names[i]) <= LIMIT_INSTANCE_ID);
		REQUIRE(!i || strcmp(c.names[i - 1], c.names[i]) < 0);
	}
	consul_catalog_done(&c);
}

static void check_instances(const struct consul_health *h)
{
	for (size_t i = 0; i < h->n; i++) {
		const struct consul_instance *one = &h->instances[i], *before = one - 1;
		int r = i ? strcmp(before->node, one->node) : -1;

		REQUIRE(*one->node && *one->id);
		REQUIRE(r < 0 || (r == 0 && strcmp(before->id, one->id) < 0));
		REQUIRE(one->state <= CONSUL_WARNING || !one->weight);
	}
}

static void check_service(const struct consul_health *h)
{
	const struct consul_naming naming = {"consul/dc1", "default", "pay", NULL};
	_cleanup_(draft_freep) struct draft_service *d = NULL;
	struct service *s = NULL;
	size_t left_out = 0;

	REQUIRE(draft_new(&d) == 0);
	REQUIRE(consul_service_make(d, &naming, h, &s, &left_out) == 0);
	REQUIRE(!s == !h->n);
	if (!s)
		return;
	REQUIRE(s->n_ports == 1 && s->n_endpoints <= h->n);
	REQUIRE(s->n_labels <= LIMIT_LABELS && s->n_zones <= LIMIT_SERVICE_ZONES);
	(void)service_unref(s);
}

static void check_health(const char *text, size_t size)
{
	struct consul_health h;
	char error[JSON_ERROR] = "";
	int r = consul_decode_health(text, size, &h, error);

	REQUIRE(r == 0 || (r == -EBADMSG && *error));
	if (r < 0)
		return;
	check_instances(&h);
	check_service(&h);
	consul_health_done(&h);
}

static void check_keys(const char *text, size_t size)
{
	struct consul_keys k;
	char error[JSON_ERROR] = "";
	int r = consul_decode_keys(text, size, &k, error);

	REQUIRE(r == 0 || (r == -EBADMSG && *error));
	if (r < 0)
		return;
	for (size_t i = 0; i < k.n; i++) {
		REQUIRE(*k.items[i].key && k.items[i].value[k.items[i].length] == '\0');
		REQUIRE(!i || strcmp(k.items[i - 1].key, k.items[i].key) < 0);
	}
	consul_keys_done(&k);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char *text = require_text(data, size);

	check_catalog(text, size);
	check_health(text, size);
	check_keys(text, size);
	free(text);
	return 0;
}
