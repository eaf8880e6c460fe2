/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * One key below the prefix of etcd, and the endpoint that it names. Pure.
 */
#pragma once

#include "registry/etcd_decode.h"

struct etcd_entry {
	char *key;    /* what follows the prefix, then a NUL, then the zone; owned */
	size_t n;     /* bytes of the key */
	size_t owner; /* of these, the service's name */
	struct sn_addr addr;
	uint16_t port, weight;
	bool usable;
	uint32_t list; /* that had it last */
};

/* The service's name of a key (what follows the prefix) and how many bytes it has there; "" and 0:
 * it belongs to none. */
size_t etcd_entry_name(const char *key, size_t n, char ret[static LIMIT_NAME + 1]);
/* `owner` and `list` are the caller's to set; ret->key to free. -ENOMEM. */
int etcd_entry_make(const struct etcd_kv *kv, const char *key, size_t n, struct etcd_entry *ret);
const char *etcd_entry_zone(const struct etcd_entry *e); /* "": it says none */
/* Whether both name the same endpoint, or neither does. */
bool etcd_entry_is_same(const struct etcd_entry *a, const struct etcd_entry *b);
/* Whether it belongs to the service of that name in etcd; and is an endpoint of it. */
bool etcd_entry_is_below(const struct etcd_entry *e, const char *owner);
bool etcd_entry_is_of(const struct etcd_entry *e, const char *owner);
