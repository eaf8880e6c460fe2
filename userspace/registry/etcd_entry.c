/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * See etcd_entry.h. Before: etcd_decode.c. After: etcd_table.c. It never says that a key is of no
 * use: it is kept as one, since it counts.
 */
#include "registry/etcd_entry.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "registry/draft.h"

/* The service's name and how many bytes it has in the key; "" and 0: it belongs to none. */
size_t etcd_entry_name(const char *key, size_t n, char ret[static LIMIT_NAME + 1])
{
	const char *slash = memchr(key, '/', n);
	char raw[LIMIT_INSTANCE_ID + 1];
	size_t length = slash ? (size_t)(slash - key) : 0;

	*ret = '\0';
	if (!length || length + 1 == n || n > LIMIT_INSTANCE_ID || memchr(key, '\0', n))
		return 0;
	memcpy(raw, key, length);
	raw[length] = '\0';
	return draft_name(raw, ret) < 0 ? 0 : length;
}

int etcd_entry_make(const struct etcd_kv *kv, const char *key, size_t n, struct etcd_entry *ret)
{
	struct etcd_endpoint e = {};
	size_t zone;
	int r = etcd_decode_endpoint(kv->value, kv->value_length, &e);

	if (r == -ENOMEM)
		return r;
	zone = strlen(e.zone);
	*ret = (struct etcd_entry){.n = n,
				   .addr = e.addr,
				   .port = e.port,
				   .weight = e.weight,
				   .usable = r >= 0,
				   .key = malloc(n + zone + 2)};
	if (!ret->key)
		return -ENOMEM;
	memcpy(ret->key, key, n);
	ret->key[n] = '\0';
	memcpy(ret->key + n + 1, e.zone, zone + 1);
	return 0;
}

const char *etcd_entry_zone(const struct etcd_entry *e)
{
	return e->key + e->n + 1;
}

bool etcd_entry_is_same(const struct etcd_entry *a, const struct etcd_entry *b)
{
	return a->usable == b->usable && !memcmp(&a->addr, &b->addr, sizeof(a->addr)) &&
	       a->port == b->port && a->weight == b->weight &&
	       !strcmp(etcd_entry_zone(a), etcd_entry_zone(b));
}

bool etcd_entry_is_below(const struct etcd_entry *e, const char *owner)
{
	return strlen(owner) == e->owner && !memcmp(e->key, owner, e->owner);
}

bool etcd_entry_is_of(const struct etcd_entry *e, const char *owner)
{
	return e->usable && etcd_entry_is_below(e, owner);
}
